package prepare

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/serin-cd/serin/pkg/release"
	"github.com/serin-cd/serin/pkg/release/lease"
	"github.com/serin-cd/serin/pkg/release/record"
	"github.com/serin-cd/serin/pkg/task/parameter"
	"github.com/serin-cd/serin/pkg/task/run"
)

// Busy is what a run does where another has the application.
type Busy string

// The ways to be busy.
const (
	Fail      Busy = "fail"      // and name the other
	Wait      Busy = "wait"      // until it has ended
	Supersede Busy = "supersede" // end it, and take over
)

// EnvDecode reads one of the ways.
func (b *Busy) EnvDecode(text string) error {
	*b = Busy(text)
	if *b != Fail && *b != Wait && *b != Supersede {
		return fmt.Errorf("%q, want fail, wait or supersede", text)
	}
	return nil
}

// Queue says what becomes of a run while another has the application.
type Queue struct {
	// What the run does if another run has the application: fail at once, wait until the other has ended, or supersede,
	// which ends it. Of several runs that wait, the newest stays. Use wait or supersede if pushes come faster than
	// releases.
	OnBusy Busy `env:"ON_BUSY, default=fail"`
	// How long the run waits for another one, with on-busy wait. For more than 1m, render a Pipeline with
	// --busy-timeout: its task prepare has the time.
	BusyTimeout parameter.Duration `env:"BUSY_TIMEOUT, default=1m"`
}

// Turn is what a run has been told in the queue.
type Turn string

// The turns.
const (
	Taken      Turn = "taken"
	Superseded Turn = "superseded" // a newer run has the application, or waits for it: this one is not needed any more
)

// Acquire takes the application's Lease for the run: from nobody, or from a run whose PipelineRun is
// finished or gone, or cannot be read while its Lease has expired. From a run that is alive it takes it, or waits for
// it, as the queue says.
func Acquire(ctx context.Context, r *release.Release, q Queue) (Turn, error) {
	limit := time.Minute // for an API server that does not answer
	if q.OnBusy == Wait {
		limit = time.Duration(q.BusyTimeout)
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	superseded, err := acquire(ctx, r, q.OnBusy)
	if superseded {
		return Superseded, nil
	}
	return Taken, err
}

func acquire(ctx context.Context, r *release.Release, on Busy) (superseded bool, err error) {
	if on == Fail {
		return false, named(r, r.Lease.Acquire(ctx, abandoned(ctx, r, nil)))
	}
	created, _ := r.Created(ctx, r.ID)
	if created.IsZero() {
		return false, fmt.Errorf("acquiring %s: PipelineRun %s cannot be read: which run is the newer one is not known",
			r.App, r.ID.Name)
	}
	mine := lease.Place{Run: r.ID, Created: created}
	if on == Supersede {
		err = r.Lease.Acquire(ctx, abandoned(ctx, r,
			func(other lease.Place) (bool, error) { return !other.Newer(mine), overtaken(other, mine) }))
	} else {
		begin := time.Now()
		err = r.Lease.Wait(ctx, mine, waits(ctx, r),
			abandoned(ctx, r, func(other lease.Place) (bool, error) { return false, overtaken(other, mine) }))
		if err != nil && ctx.Err() != nil {
			err = fmt.Errorf("waited %s: %w", time.Since(begin).Round(time.Second), err)
		}
	}
	if errors.Is(err, lease.ErrOvertaken) {
		slog.Info("superseded", "app", r.App.String(), "error", err.Error())
		return true, nil
	}
	return false, named(r, err)
}

func named(r *release.Release, err error) error {
	var held *lease.HeldError
	if errors.As(err, &held) {
		return fmt.Errorf("acquiring %s: %w", r.App, err)
	}
	return err
}

func overtaken(other, mine lease.Place) error {
	if other.Newer(mine) {
		return fmt.Errorf("%w: %s, made %s", lease.ErrOvertaken, other.Run, other.Created.Format(time.RFC3339))
	}
	return nil
}

// abandoned says whether the Lease may be taken from its holder. Of one that is alive live decides, if it is given.
func abandoned(ctx context.Context, r *release.Release, live func(lease.Place) (bool, error)) func(string, bool) (bool,
	error) {
	return func(holder string, expired bool) (bool, error) {
		id, err := run.ParseID(holder)
		if err != nil {
			return expired, nil // not written by a run; whoever it is has stopped renewing it, or not
		}
		created, liveness := r.Created(ctx, id)
		switch {
		case liveness == record.Finished || liveness == record.Gone:
			return true, nil
		case liveness == record.Unknown && expired:
			return true, nil
		case live == nil || created.IsZero():
			return false, nil
		}
		return live(lease.Place{Run: id, Created: created})
	}
}

// waits says whether a run that had queued is still there.
func waits(ctx context.Context, r *release.Release) func(run.ID) bool {
	return func(other run.ID) bool {
		liveness := r.Liveness(ctx, other)
		return liveness == record.Live || liveness == record.Unknown
	}
}
