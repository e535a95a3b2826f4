package replay

import (
	"context"
	"errors"
	"time"
)

var errOver = errors.New("the past has ended")

func isOver(err error) bool { return errors.Is(err, errOver) }

// clock is Prometheus's and the judge's at once. It goes on when somebody waits, and stops the judging where
// the past ends.
type clock struct {
	*Past
	now  time.Time
	end  time.Time
	stop context.CancelCauseFunc
}

// hand is what the judge reads the time from.
type hand struct{ *clock }

// Now is the time on Prometheus's clock.
func (c *clock) Now(ctx context.Context) (time.Time, error) { return c.now, ctx.Err() }

// Now is the same time on the step's clock.
func (h hand) Now() time.Time { return h.clock.now }

// After is there at once.
func (h hand) After(d time.Duration) <-chan time.Time {
	if h.now.Add(d).After(h.end) {
		h.stop(errOver)
		return nil
	}
	h.clock.now = h.now.Add(d)
	ready := make(chan time.Time, 1)
	ready <- h.clock.now
	return ready
}
