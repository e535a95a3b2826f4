// Package rollback takes a run back, from any point it has reached, on behalf of anyone.
package rollback

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/cluster/workload"
	"github.com/serin-cd/serin/pkg/release"
	"github.com/serin-cd/serin/pkg/release/lease"
	"github.com/serin-cd/serin/pkg/release/record"
	"github.com/serin-cd/serin/pkg/release/weight"
	"github.com/serin-cd/serin/pkg/task/run"
)

// Run ends a run that is still open and settles one that has ended. Two runs have a part in it: by takes back, of is
// taken back. They are one where a run undoes itself, as its finish does. It returns the record of of, nil if that
// never had the application. reason is recorded if of has none of its own.
func Run(ctx context.Context, by *release.Release, of run.ID, reason string, deadline time.Duration) (*record.Record,
	error) {
	return takeBack(ctx, by, of, run.RolledBack, reason, deadline)
}

func takeBack(ctx context.Context, by *release.Release, of run.ID, outcome run.Outcome, reason string,
	deadline time.Duration) (*record.Record, error) {
	state, err := by.Fence.Read(ctx)
	if apierrors.IsNotFound(err) {
		return withoutRoute(ctx, by, of, outcome, reason, deadline)
	}
	if err != nil {
		return nil, err
	}
	untouched := state.Damage() == "" && state.Weight() == 0 && state.Record.Untouched() && state.Record.Previous != ""
	if state.Damage() != "" {
		slog.Warn("the record is not to be relied upon", "damage", state.Damage())
		known, end, err := gathered(ctx, by, of, state.Record, outcome)
		if err != nil {
			return nil, err
		}
		if known != nil {
			by, outcome, reason = by.Remembering(known), end, reason+"; "+state.Damage()
			state = by.Fence.Recall(state)
		}
	}
	if state.Record != nil && state.Record.ID != of {
		slog.Info("the record is another run's", "holder", state.Record.ID.String())
		return nil, nil
	}
	if state.Record == nil { // the copies of one that is lost may be open
		if err := by.Fence.EndFollowers(ctx, nil, of, outcome, reason, by.Cluster); err != nil {
			return nil, err
		}
	}
	if state.Record.Open() || state.Weight() > 0 {
		state, err = end(ctx, by, of, state, outcome, reason, deadline)
		if errors.Is(err, weight.ErrPromoting) { // it was shifting a moment ago
			return takeBack(ctx, by, of, outcome, reason, deadline)
		}
		if err != nil {
			return state.Record, err
		}
	}
	if state.Record != nil && state.Record.Outcome == run.Unfinished && state.Broken == nil {
		return state.Record, nil // a first release that was given up: the target goes on serving
	}
	if untouched && state.Record.Untouched() {
		by = by.Undrained()
	}
	return state.Record, settle(ctx, by, of, state.Record)
}

// Undo ends the run of r as Run does, and leaves the canary's pods to who settles.
func Undo(ctx context.Context, by *release.Release, reason string, deadline time.Duration) error {
	state, err := by.Fence.Read(ctx)
	if err == nil && state.Record.Open() && state.Record.ID == by.ID {
		_, err = end(ctx, by, by.ID, state, run.RolledBack, reason, deadline)
	}
	return err
}

// end undoes a promotion that was under way, then takes the traffic back and closes the record. One that is known to
// have ended well is only closed.
func end(ctx context.Context, by *release.Release, of run.ID, state weight.State, outcome run.Outcome, reason string,
	deadline time.Duration) (weight.State, error) {
	if outcome == run.Promoted || outcome == run.Initialized {
		return by.Fence.From(state).Close(ctx, of, outcome, done, by.Cluster)
	}
	if rec := state.Record; rec != nil {
		if rec.Phase == run.Promoting {
			undoing, err := by.Fence.From(state).BeginUndo(ctx, of, reason)
			if errors.Is(err, record.ErrFenced) {
				return by.Fence.Read(ctx) // it was completed meanwhile
			}
			if err != nil {
				return state, err
			}
			state = undoing
			if err := restore(ctx, by, state.Record, deadline); err != nil {
				return state, fmt.Errorf("undoing the promotion of %s: %w", by.App, err)
			}
		}
		if rec.Previous == "" {
			outcome = run.Unfinished
		}
	}
	by.Events.Warningf(ctx, "Rolling back %s %s", by.App, reason)
	return by.Fence.From(state).TakeBack(ctx, of, outcome, reason, by.Cluster)
}

// restore gives the primary its previous revision back and waits until it is ready. The stamp is
// rewritten in any case, so that a late patch of the step that promoted no longer holds.
func restore(ctx context.Context, by *release.Release, rec *record.Record, deadline time.Duration) error {
	primary, err := by.Deployments.Update(ctx, by.App.Primary(),
		func(d *workload.Deployment) ([]kube.Operation, error) {
			if d.Promoted() != rec.Revision {
				return workload.Restamp(d, rec.ID), nil
			}
			template, err := workload.TemplateOf(ctx, by.Cluster.Objects(kube.ReplicaSets, by.App.Namespace), d,
				rec.Previous)
			if err != nil {
				return nil, err
			}
			if template == nil {
				return nil, fmt.Errorf("revision %s is neither kept on Deployment %s nor in a ReplicaSet of it any "+
					"more: give it that template by hand", workload.Short(rec.Previous), d.Name)
			}
			slog.Info("primary restored", "deployment", d.Name, "revision", workload.Short(rec.Previous))
			return workload.Become(d, template, rec.Previous, rec.ID), nil
		})
	if err != nil {
		return err
	}
	if primary == nil {
		return fmt.Errorf("Deployment %s is gone", by.App.Primary())
	}
	_, err = by.Deployments.WaitReady(ctx, by.App.Primary(), deadline, nil)
	return err
}

func settle(ctx context.Context, by *release.Release, of run.ID, rec *record.Record) error {
	target, err := by.Unsettled(ctx, of)
	if err != nil || target == nil {
		return err
	}
	if stay, err := kept(ctx, by, target, rec); err != nil || stay {
		return err
	}
	switch {
	case rec == nil:
	case rec.Outcome == run.Promoted || rec.Outcome == run.Initialized:
		by.Events.Normalf(ctx, "Scaling down %s", by.App)
	default:
		by.Events.Warningf(ctx, "Canary failed! Scaling down %s", by.App)
	}
	return by.SettleTarget(ctx, target)
}

// Abandoned ends the run of the record, where nobody works on it any more, and says whether it was so. The Lease
// decides where its PipelineRun cannot be read.
func Abandoned(ctx context.Context, by *release.Release, state weight.State, deadline time.Duration) (bool, error) {
	rec := state.Record
	if !rec.Open() {
		return false, nil
	}
	share, liveness := max(state.Weight(), rec.Weight()), by.Liveness(ctx, rec.ID)
	expired := share > 0 && unattended(ctx, by, rec.ID, liveness)
	if !record.Abandoned(rec, share, liveness, expired) {
		return false, nil
	}
	slog.Info("taking back an abandoned run", "run", rec.ID.String(), "phase", rec.Phase, "canaryWeight", share)
	_, err := Run(ctx, by, rec.ID, "the run was abandoned", deadline)
	return true, err
}

// Supersede ends another run in favour of that of r, whether it is alive or not.
func Supersede(ctx context.Context, by *release.Release, rec *record.Record, deadline time.Duration) error {
	slog.Info("superseding a run", "run", rec.ID.String(), "phase", rec.Phase, "canaryWeight", rec.Weight())
	_, err := takeBack(ctx, by, rec.ID, run.Superseded, fmt.Sprintf("superseded by run %s", by.ID.Name), deadline)
	return err
}

// unattended says whether a run no longer renews its Lease. One that is missing says nothing, and is made; one that
// another run holds says so only of a PipelineRun that cannot be read: that run may have found none.
func unattended(ctx context.Context, by *release.Release, of run.ID, liveness record.Liveness) bool {
	if liveness != record.Live && liveness != record.Unknown {
		return false
	}
	kept := by.Lease
	kept.Holder = of
	standing, err := kept.Standing(ctx)
	if err != nil {
		slog.Warn("not known whether a run renews its Lease", "run", of.String(), "error", err.Error())
	}
	return standing == lease.Expired || standing == lease.Anothers && liveness == record.Unknown
}
