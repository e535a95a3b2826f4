package prometheus

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/prometheus/common/model"
)

const (
	longestWait  = 15 * time.Second
	longestAfter = time.Minute // how far Retry-After is honoured
	mostPartial  = 3           // partial answers in a row
)

// asker asks once.
type asker interface {
	Now(context.Context) (time.Time, error)
	Query(context.Context, string, time.Time) (model.Value, error)
}

// clock is the step's own clock.
type clock interface {
	Now() time.Time
	After(time.Duration) <-chan time.Time
}

// Retrying asks again where an answer is worth it: after 1, 2, 4, 8 and then each 15 seconds, give or take a fifth.
type Retrying struct {
	asker
	until time.Time
	clock clock
}

// Retrying is the client with patience up to a time on the step's clock; a zero time has no end but the context's.
func (c *Client) Retrying(until time.Time, clk clock) *Retrying { return &Retrying{c, until, clk} }

// Now is the time on Prometheus's clock.
func (r *Retrying) Now(ctx context.Context) (now time.Time, err error) {
	err = r.try(ctx, func() error {
		now, err = r.asker.Now(ctx)
		return err
	})
	return now, err
}

// Query evaluates an expression at an instant.
func (r *Retrying) Query(ctx context.Context, promql string, at time.Time) (value model.Value, err error) {
	err = r.try(ctx, func() error {
		value, err = r.asker.Query(ctx, promql, at)
		return err
	})
	return value, err
}

func (r *Retrying) try(ctx context.Context, ask func() error) error {
	start, wait, partial := r.clock.Now(), time.Second, 0
	for {
		err := ask()
		var t *trouble
		if !errors.As(err, &t) {
			return err
		}
		if partial++; !errors.Is(err, ErrPartial) {
			partial = 0
		}
		now := r.clock.Now()
		pause := max(spread(wait), min(t.after, longestAfter))
		if partial == mostPartial || !r.until.IsZero() && now.Add(pause).After(r.until) {
			return exhausted{t, now.Sub(start)}
		}
		slog.WarnContext(ctx, "prometheus is asked again", "error", t.Error(), "in",
			pause.Round(time.Millisecond).String())
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-r.clock.After(pause):
		}
		wait = min(2*wait, longestWait)
	}
}

// spread moves a pause by up to a fifth, so that many steps do not come at once.
func spread(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.8 + 0.4*rand.Float64()))
}

// exhausted is the last of many failed tries.
type exhausted struct {
	*trouble
	spent time.Duration
}

// Error implements error.
func (e exhausted) Error() string { return e.text(" for " + e.spent.Round(time.Second).String()) }
