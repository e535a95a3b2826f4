package stage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/serin-cd/serin/pkg/judge/verdict"
	"github.com/serin-cd/serin/pkg/release"
	"github.com/serin-cd/serin/pkg/release/record"
	"github.com/serin-cd/serin/pkg/release/weight"
	"github.com/serin-cd/serin/pkg/task/failure"
	"github.com/serin-cd/serin/pkg/task/run"
)

// Judging judges the last of the stages until there is a verdict; onCheck sees each check.
type Judging func(ctx context.Context, stages []run.Stage, onCheck func(verdict.Check)) (verdict.Verdict, error)

// Judge judges the present stage of the run while it watches the target, its pods and the route. On
// anything but a pass it takes the traffic back before it returns. grace is how long fewer pods than
// wanted may be available.
func Judge(ctx context.Context, r *release.Release, j Judging, grace time.Duration) (verdict.Verdict, error) {
	var v verdict.Verdict
	var known weight.State
	err := failure.Guard(func() (err error) {
		v, known, err = watched(ctx, r, j, grace)
		return err
	})
	if errors.Is(err, errNotShifted) {
		return v, err // nothing was changed
	}
	if err == nil {
		err = v.Err()
	}
	if err == nil {
		return v, nil
	}
	return v, takeBack(ctx, r.Knowing(known), v, err)
}

// takeBack ends the run with the verdict's reason; a verdict that the run was ended by another needs none.
func takeBack(ctx context.Context, r *release.Release, v verdict.Verdict, err error) error {
	if v.Decision == verdict.Wait {
		return r.TakeBack(ctx, err)
	}
	event := v.Reason()
	if v.Code == verdict.Threshold {
		event = fmt.Sprintf("failed checks threshold reached %d", v.Threshold)
	}
	if unclosed := r.Judged(v.Decision).Close(ctx, v.Reason(), event); unclosed != nil {
		if _, busy := record.IsBusy(unclosed); !busy && !apierrors.IsNotFound(unclosed) { // no route, no traffic
			return fmt.Errorf("%w; taking the traffic back: %v", err, unclosed) // the verdict decides the exit code
		}
	}
	slog.Info("traffic taken back", "app", r.App.String(), "reason", v.Reason())
	return err
}

// errNotShifted is the refusal to judge a run that has no traffic shifted.
var errNotShifted = failure.Configf("the run has shifted no traffic")

// watched judges until the judge or the watcher has something to say, whichever comes first. It also returns the route
// as it is known, or only its record as it was last to be relied upon.
func watched(ctx context.Context, r *release.Release, j Judging, grace time.Duration) (
	v verdict.Verdict, known weight.State, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	w := newWatcher(r, grace, cancel)
	defer func() {
		cancel(nil)
		w.wait()
		known = w.known
	}()
	rec, err := w.begin(ctx)
	if err == nil {
		v, err = j(ctx, stagesOf(rec), func(c verdict.Check) { halt(ctx, r, c) })
	}
	cause := context.Cause(ctx)
	var s *spoiled
	if errors.As(cause, &s) || errors.As(err, &s) {
		return s.verdict(r, stagesOf(rec)), known, nil
	}
	if err != nil && cause != nil && rec != nil {
		err = cause
	}
	return v, known, err
}

func stagesOf(rec *record.Record) []run.Stage {
	if rec == nil {
		return nil
	}
	return rec.Stages
}

// halt writes the event of a failed check, in the words that Flagger uses.
func halt(ctx context.Context, r *release.Release, c verdict.Check) {
	if c.State != verdict.Passed && !c.Repeated {
		r.Events.Warningf(ctx, "%s", c.Halt())
	}
}
