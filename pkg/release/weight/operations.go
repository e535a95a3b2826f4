package weight

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/release/record"
	"github.com/serin-cd/serin/pkg/task/failure"
	"github.com/serin-cd/serin/pkg/task/parameter"
	"github.com/serin-cd/serin/pkg/task/run"
)

// clock is the API server's.
type clock interface{ Now() time.Time }

// Open records a run, with the canary's share at 0. It fails with a *BusyError while another is open.
func (f Fence) Open(ctx context.Context, id run.ID, revision, previous string, clock clock) (State, error) {
	state, err := f.Update(ctx, func(now State) (*record.Record, parameter.Weight, error) {
		next, err := record.Open(now.Record, id, revision, previous, clock.Now())
		if err == nil && next != now.Record {
			next.Inherited, next.Unjudged = f.inherits, f.unjudged
			if f.since != nil && f.since.VirtualService.ResourceVersion != now.VirtualService.ResourceVersion {
				return nil, now.Weight(), ErrChanged
			}
		}
		if err == nil && next != now.Record && !f.plain() {
			next.App, next.Selection = f.App.Name, f.Selection
		}
		return next, next.Weight(), err
	})
	if err != nil {
		return state, err
	}
	return state, f.open(ctx, state.Record)
}

// ErrChanged is the refusal to open a run on a VirtualService that has changed since it was looked at: another run may
// have promoted meanwhile.
var ErrChanged = errors.New("the VirtualService has changed meanwhile")

// Since is a store that opens a run only on the VirtualService as it was looked at.
func (f Fence) Since(looked State) Fence {
	f.since = &looked
	return f
}

// Inheriting is a store whose runs begin with pods that the target has already.
func (f Fence) Inheriting(pods bool) Fence {
	f.inherits = pods
	return f
}

// Unjudged is a store whose runs promote without a stage; why says who wants that, and why. Empty has them judged.
func (f Fence) Unjudged(why string) Fence {
	f.unjudged = why
	return f
}

// plain says whether the application's routes are where a record without a selection has them.
func (f Fence) plain() bool { return f.Selection.Standard(f.App) && len(f.Selection.Routes) == 0 }

// Shift gives the canary a share, in percent. Raising it needs the fence, weights that are shares, a
// route that is as the record says, and that allowed has nothing against it; at 0 it lowers.
func (f Fence) Shift(ctx context.Context, id run.ID, weight parameter.Weight, clock clock,
	allowed func(*record.Record) error) (State, error) {
	if weight == 0 {
		return f.Lower(ctx, id, clock)
	}
	state, err := f.Update(ctx, func(now State) (*record.Record, parameter.Weight, error) {
		next, err := record.Shift(now.Record, id, weight, clock.Now())
		if err == nil {
			err = shiftable(now)
		}
		if err == nil && weight == 100 && len(now.Left) > 0 && len(now.Record.Routes) == 0 {
			err = failure.Configf("weight 100 would make %s look like %s, which give the canary everything: name the "+
				"routes that are shifted in routes", now.Splits, now.Left)
		}
		if err == nil {
			err = allowed(now.Record)
		}
		return next, weight, err
	})
	if err != nil {
		return state, err
	}
	return state, f.raise(ctx, state.Record)
}

// Unmoved is an error where the route's weights are not those of the record.
func Unmoved(now State) error {
	if err := now.Splits.Check(); err != nil {
		return err
	}
	if route, rec := now.Weight(), now.Record.Weight(); route != rec {
		writer := now.Writer()
		if editor, ok := kube.Other(now.VirtualService, recordPath...); ok {
			writer = editor
		}
		return fmt.Errorf("the route gives the canary %d %%, the run's record says %d: %s wrote it", route, rec, writer)
	}
	return nil
}

// BeginPromotion marks the run as promoting.
func (f Fence) BeginPromotion(ctx context.Context, id run.ID, clock clock) (State, error) {
	return f.Update(ctx, func(now State) (*record.Record, parameter.Weight, error) {
		next, err := record.BeginPromotion(now.Record, id, clock.Now())
		if err == nil {
			err = Unmoved(now)
		}
		return next, now.Weight(), err
	})
}

// BeginUndo marks a promotion as being taken back.
func (f Fence) BeginUndo(ctx context.Context, id run.ID, reason string) (State, error) {
	return f.Update(ctx, func(now State) (*record.Record, parameter.Weight, error) {
		next, err := record.BeginUndo(now.Record, id, reason)
		return next, now.Weight(), err
	})
}

// Lower takes the canary's share to 0 and leaves the run open.
func (f Fence) Lower(ctx context.Context, id run.ID, clock clock) (State, error) {
	state, err := f.Update(ctx, func(now State) (*record.Record, parameter.Weight, error) {
		next, err := record.Lower(now.Record, id, clock.Now())
		return next, 0, err
	})
	if err != nil {
		return state, err
	}
	return state, f.lower(ctx, state.Record)
}

// Close takes the canary's share to 0 and ends the run, in one patch. It needs only that no other run
// is open: without a record, or with one that cannot be read, it lowers all the same.
func (f Fence) Close(ctx context.Context, id run.ID, outcome run.Outcome, reason string, clock clock) (State, error) {
	after, err := f.end(ctx, id, outcome, reason, clock, func(*record.Record) error { return nil })
	if err != nil {
		return after, fmt.Errorf("ending run %s/%s: %w", id.Namespace, id.Name, err)
	}
	return after, nil
}

// TakeBack is Close for who read the record before. A run that has begun to promote since then is refused with
// ErrPromoting, unless its promotion is being undone: the primary may have changed.
func (f Fence) TakeBack(ctx context.Context, id run.ID, outcome run.Outcome, reason string, clock clock) (State,
	error) {
	after, err := f.end(ctx, id, outcome, reason, clock, func(r *record.Record) error {
		if r.Open() && r.ID == id && r.Phase == run.Promoting && r.Outcome != run.RolledBack {
			return ErrPromoting
		}
		return nil
	})
	if err != nil {
		return after, fmt.Errorf("ending run %s/%s: %w", id.Namespace, id.Name, err)
	}
	return after, nil
}

// ErrPromoting is the refusal to end a run whose promotion has to be undone first.
var ErrPromoting = errors.New("the run promotes")

func closed(now State, id run.ID, outcome run.Outcome, reason string, clock clock) (*record.Record, parameter.Weight,
	error) {
	if now.Record == nil && now.Broken == nil && now.Weight() == 0 {
		return nil, 0, nil // a run that never got as far as a record
	}
	if d := now.Damage(); d != "" && !strings.Contains(reason, d) {
		reason += "; " + d
	}
	next, err := record.Close(now.Record, id, outcome, reason, clock.Now())
	return next, 0, err
}

// Rest takes the canary's share to 0, in followers too, where no run is open: somebody raised it by hand.
func (f Fence) Rest(ctx context.Context) (State, error) {
	rest := func(now State) (*record.Record, parameter.Weight, error) {
		if now.Record.Open() {
			return nil, now.Weight(), nil
		}
		return nil, 0, nil
	}
	state, err := f.Update(ctx, rest)
	if err != nil {
		return state, err
	}
	return state, f.each(ctx, state.Record, rest)
}
