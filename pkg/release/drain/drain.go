package drain

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"

	"github.com/prometheus/common/model"

	"github.com/serin-cd/serin/pkg/judge/prometheus"
)

// Workload is what is drained: of an application App the canary, which is Deployment App behind Service App-canary.
type Workload struct {
	Namespace, App string
	Primary        bool // is drained in place of the canary: Deployment and Service App-primary
}

// name is the Service that is drained.
func (w Workload) name() string {
	if w.Primary {
		return w.App + "-primary"
	}
	return w.App + "-canary"
}

// deployment is the workload behind it.
func (w Workload) deployment() string {
	if w.Primary {
		return w.name()
	}
	return w.App
}

// state is what is known about the proxies.
type state string

// The states.
const (
	quiet   state = "quiet"   // two scrapes after the change show the same counters
	sending state = "sending" // a counter of the canary still grows
	unknown state = "unknown" // too few scrapes, or nothing that tells
)

const (
	poll = 2 * time.Second
	// before is how far back from the change samples are read: enough for two scrapes a minute apart.
	before = 2*time.Minute + 10*time.Second
	// longest is what slow scraping may stretch the wait to.
	longest = 3 * time.Minute
)

// querier is all that observing asks of Prometheus.
type querier interface {
	Now(context.Context) (time.Time, error)
	Query(context.Context, string, time.Time) (model.Value, error)
}

// clock measures how long something takes; what time it shows does not matter.
type clock interface {
	Now() time.Time
	After(time.Duration) <-chan time.Time
}

// look says what Prometheus knows at a time about requests to the canary since the change. Both times are on
// Prometheus's clock.
func look(ctx context.Context, q querier, w Workload, changed, now time.Time) (observation, error) {
	window := prometheus.Window((now.Sub(changed) + before).Round(time.Second))
	byService := prometheus.Select("istio_requests_total",
		prometheus.Equal("destination_service_namespace", w.Namespace),
		prometheus.OneOf("destination_service_name", w.App, w.App+"-canary", w.App+"-primary")) + window
	byWorkload := prometheus.Select("istio_requests_total",
		prometheus.Equal("destination_workload_namespace", w.Namespace),
		prometheus.OneOf("destination_workload", w.App, w.App+"-primary")) + window
	series := map[model.Fingerprint]*model.SampleStream{}
	for _, promql := range []string{byService, byWorkload} {
		value, err := q.Query(ctx, promql, now)
		if err != nil {
			return observation{state: unknown}, fmt.Errorf("observing %s: %w", w.App, err)
		}
		matrix, ok := value.(model.Matrix)
		if !ok {
			return observation{state: unknown}, fmt.Errorf("observing %s: a %s, want a matrix", w.App, value.Type())
		}
		for _, s := range matrix {
			series[s.Metric.Fingerprint()] = s
		}
	}
	return judge(w, series, changed), nil
}

// Wait returns when the canary may be scaled down: two scrapes after the change show that nobody sends
// to it, and least has passed since the change, which was made since ago. Where nobody can tell (q is nil, Prometheus
// gives no answer, or no calling proxy has counted any request of this application) it waits until most has passed
// since the change. It fails when at the end somebody still sends, or when the scrapes do not say; slow
// scraping gets up to three minutes for its two scrapes. No clock is compared with another: when the change was made
// on Prometheus's clock follows from what that shows now.
func Wait(ctx context.Context, q querier, w Workload, since, least, most time.Duration, clk clock) error {
	begin := clk.Now()
	elapsed := func() time.Duration { return max(since, 0) + clk.Now().Sub(begin) } // since the change
	if q == nil {
		slog.InfoContext(ctx, "drain waits without Prometheus", "app", w.App, "for", (most - elapsed()).String())
		return sleep(ctx, clk, most-elapsed())
	}
	o := observer{q: q, w: w}
	if _, err := o.learn(ctx, elapsed()); err != nil {
		slog.WarnContext(ctx, "drain cannot ask Prometheus", "app", w.App, "error", err.Error())
	}
	if err := sleep(ctx, clk, least-elapsed()); err != nil {
		return err
	}
	for {
		err := o.observe(ctx, elapsed())
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			slog.WarnContext(ctx, "drain cannot ask Prometheus", "app", w.App, "error", err.Error())
		}
		done, failed := o.last.end(elapsed(), max(since, 0), most)
		if failed != nil {
			return fmt.Errorf("draining %s: %w", w.name(), failed)
		}
		if done {
			slog.InfoContext(ctx, "drain is done", "app", w.App, "after", elapsed().String(), "state",
				string(o.last.state), "seen", o.last.text)
			return nil
		}
		if err := sleep(ctx, clk, poll); err != nil {
			return err
		}
	}
}

// observer looks at the present of Prometheus's clock again and again.
type observer struct {
	q       querier
	w       Workload
	changed time.Time // on Prometheus's clock, zero while that is not known
	last    observation
}

// learn asks for the time on Prometheus's clock. That of the change is so long before; the time that the answer takes
// puts it later than it was, if anything, so that no sample from before counts.
func (o *observer) learn(ctx context.Context, elapsed time.Duration) (time.Time, error) {
	at, err := o.q.Now(ctx)
	if err == nil && o.changed.IsZero() {
		o.changed = at.Add(-elapsed)
	}
	return at, err
}

func (o *observer) observe(ctx context.Context, elapsed time.Duration) error {
	at, err := o.learn(ctx, elapsed)
	if err != nil {
		return err
	}
	seen, err := look(ctx, o.q, o.w, o.changed, at)
	if err == nil {
		o.last = seen
	}
	return err
}

// end says whether waiting is over, and how. Times are since the change; begun is that of the wait's begin.
func (o observation) end(elapsed, begun, most time.Duration) (bool, error) {
	if o.state == quiet {
		return true, nil
	}
	if o.state != sending && o.calling == 0 {
		return elapsed >= most, nil // nobody can tell
	}
	needed := propagation + 5*o.gap/2 // two scrapes, and half of one for luck
	if elapsed < begun+most || o.state == unknown && elapsed < min(needed, longest) {
		return false, nil
	}
	return true, errors.New(o.text + fmt.Sprintf(" after %s: its pods stay up", elapsed.Round(time.Second)))
}

func sleep(ctx context.Context, clk clock, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-clk.After(d):
		return nil
	}
}

func amount(v float64) string { return fmt.Sprintf("%d", int64(math.Round(v))) }
