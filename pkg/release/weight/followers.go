package weight

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/serin-cd/serin/pkg/cluster/mesh"
	"github.com/serin-cd/serin/pkg/release/record"
	"github.com/serin-cd/serin/pkg/task/failure"
	"github.com/serin-cd/serin/pkg/task/parameter"
	"github.com/serin-cd/serin/pkg/task/run"
)

// An application may have several VirtualServices. The first has the record, and the fence; the others are followers.
// Each follower has a copy of the record, which changes in the same patch as its weights, and each such patch tests the
// version that was read. The order of writes keeps one rule: a follower gives the canary a share only while the record
// is open.
//
//   - Opening a run writes the record first, then the copies. Raising a share is the same, and needs a copy of the same
//     run that is open and not newer than the record.
//   - Ending a run takes the canary's share in the first VirtualService, then closes each copy with its share at 0, and
//     closes the record last. Each copy is written, even where its share is 0 already, so that a patch of a late step
//     holds no more.
//
// So whoever finds the record open undoes all of it, wherever the run died, and whoever finds it closed has nothing to
// look for.

// on is the fence at a follower.
func (f Fence) on(follower string) Fence {
	other := Fence{App: f.App, VirtualServices: f.VirtualServices, Selection: f.Selection, Mode: f.Mode,
		follower: follower}
	if state, ok := f.seen[follower]; ok {
		other.known = &state
	}
	return other
}

// Seen is a store that knows followers as they were read a moment ago, which saves a call for each.
func (f Fence) Seen(followers map[string]State) Fence {
	f.seen = followers
	return f
}

// All are the states of all the application's VirtualServices that exist, read in one call; that of the first is the
// first, and must exist.
func (f Fence) All(ctx context.Context) ([]State, error) {
	if len(f.Selection.Others()) == 0 {
		first, err := f.Read(ctx)
		return []State{first}, err
	}
	all, err := List(ctx, f.VirtualServices, f.App.Namespace)
	if err != nil {
		return nil, err
	}
	var states []State
	for i, name := range f.Selection.VirtualServices {
		if all.VirtualServices[name] == nil && i == 0 {
			first, err := f.Read(ctx) // for its error
			return []State{first}, err
		}
		if all.VirtualServices[name] == nil {
			continue
		}
		state, err := Observe(all.VirtualServices[name], f.App, f.Selection)
		if err != nil {
			return nil, err
		}
		states = append(states, state)
	}
	return states, nil
}

// followers are those of the selection, and of the record if it is of another.
func (f Fence) followers(rec *record.Record) []string {
	all := slices.Clone(f.Selection.Others())
	if rec != nil {
		for _, name := range rec.VirtualServices {
			if name != f.Selection.First(f.App) && !slices.Contains(all, name) {
				all = append(all, name)
			}
		}
	}
	return all
}

// open gives each follower a copy of the record of a run that begins.
func (f Fence) open(ctx context.Context, rec *record.Record) error {
	for _, name := range f.followers(rec) {
		_, err := f.on(name).Update(ctx, func(now State) (*record.Record, parameter.Weight, error) {
			switch {
			case now.Record.Open() && now.Record.ID != rec.ID:
				return nil, 0, &record.BusyError{Holder: *now.Record}
			case now.Record.Open():
				return nil, now.Weight(), nil
			case now.Record != nil && now.Record.ID == rec.ID:
				return nil, 0, fmt.Errorf("%w: run %s has ended as %q", record.ErrFenced, rec.ID.Name,
					now.Record.Outcome)
			}
			return rec, 0, nil
		})
		if err != nil {
			return fmt.Errorf("opening the run in VirtualService %s: %w", name, err)
		}
	}
	return nil
}

// raise gives the canary in each follower the share that the record says.
func (f Fence) raise(ctx context.Context, rec *record.Record) error {
	for _, name := range f.followers(rec) {
		_, err := f.on(name).Update(ctx, func(now State) (*record.Record, parameter.Weight, error) {
			switch {
			case !now.Record.Open() || now.Record.ID != rec.ID:
				return nil, 0, fmt.Errorf("%w: its copy of the record is not that of this run: %s wrote it",
					record.ErrFenced, now.Writer())
			case len(now.Record.Stages) > len(rec.Stages):
				return nil, 0, fmt.Errorf("%w: its copy of the record is newer", record.ErrFenced)
			}
			return rec, rec.Weight(), shiftable(now)
		})
		if err != nil {
			return fmt.Errorf("VirtualService %s: %w", name, err)
		}
	}
	return nil
}

// lower takes the canary's share in each follower and leaves the run open.
func (f Fence) lower(ctx context.Context, rec *record.Record) error {
	return f.each(ctx, rec, func(now State) (*record.Record, parameter.Weight, error) {
		if now.Record.Open() && now.Record.ID == rec.ID && len(now.Record.Stages) <= len(rec.Stages) {
			return rec, 0, nil
		}
		return nil, now.Weight(), nil
	})
}

// EndFollowers takes the canary's share in each follower and closes its copy of the record of a run.
func (f Fence) EndFollowers(ctx context.Context, rec *record.Record, id run.ID, outcome run.Outcome, reason string,
	clock clock) error {
	return f.each(ctx, rec, func(now State) (*record.Record, parameter.Weight, error) {
		copied := now.Record
		switch {
		case copied.Open() && copied.ID != id:
			return nil, now.Weight(), nil // another run has it
		case !copied.Open() && copied != nil && copied.ID == id:
			return nil, 0, nil
		case !copied.Open() && rec != nil && rec.ID == id:
			begun := *rec
			begun.Phase = run.Preparing
			copied = &begun
		case !copied.Open():
			return nil, 0, nil
		}
		next, err := record.Close(copied, id, outcome, reason, clock.Now())
		return next, 0, err
	})
}

// each changes all followers that exist. One without a route to share gives the canary nothing that could be taken.
func (f Fence) each(ctx context.Context, rec *record.Record,
	decide func(State) (*record.Record, parameter.Weight, error)) error {
	var failed []error
	for _, name := range f.followers(rec) {
		_, err := f.on(name).Update(ctx, decide)
		switch {
		case apierrors.IsNotFound(err), errors.Is(err, mesh.ErrNoSplit):
			slog.Warn("nothing to lower", "virtualService", name, "because", err.Error())
		case err != nil:
			failed = append(failed, fmt.Errorf("VirtualService %s: %w", name, err))
		}
	}
	return errors.Join(failed...)
}

// end ends a run: see the order above. refuse is asked of the record as it is, before anything is written.
func (f Fence) end(ctx context.Context, id run.ID, outcome run.Outcome, reason string, clock clock,
	refuse func(*record.Record) error) (State, error) {
	before, err := f.latest(ctx)
	if err != nil {
		return before, err
	}
	rec := before.Record
	if others := f.followers(rec); len(others) > 0 && (!rec.Open() || rec.ID == id) {
		before, err = f.From(before).Update(ctx, func(now State) (*record.Record, parameter.Weight, error) {
			if now.Record.Open() && now.Record.ID != id {
				return nil, 0, &record.BusyError{Holder: *now.Record}
			}
			return nil, 0, refuse(now.Record)
		})
		if err == nil {
			err = f.EndFollowers(ctx, rec, id, outcome, reason, clock)
		}
		if err != nil {
			return before, err
		}
	}
	return f.From(before).Update(ctx, func(now State) (*record.Record, parameter.Weight, error) {
		if err := refuse(now.Record); err != nil {
			return nil, 0, err
		}
		next, share, err := closed(now, id, outcome, reason, clock)
		return record.Judged(now.Record, next, f.decision), share, err
	})
}

// shiftable is an error where the canary's share must not be raised: the weights are not those of the record, or there
// is no canary in the route.
func shiftable(now State) error {
	if now.Splits.Whole() {
		return failure.Configf("reading VirtualService %s: %s goes to the Service of the application itself (%s "+
			"wrote it), want primary and canary: start a run, whose prepare takes it over", now.VirtualService.Name,
			now.Splits, now.Writer())
	}
	return Unmoved(now)
}
