// Package rollback takes a run back, from whatever point it has reached, by whoever comes.
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
	"github.com/serin-cd/serin/pkg/release/lease"
	"github.com/serin-cd/serin/pkg/release/record"
	"github.com/serin-cd/serin/pkg/release/weight"
	"github.com/serin-cd/serin/pkg/task/run"

	"github.com/serin-cd/serin/pkg/release"
)

// Run ends a run that is still open and settles one that has ended. It returns the run's record; nil
// where the run never had the application. reason is recorded where the run has none of its own.
func Run(ctx context.Context, r *release.Release, id run.ID, reason string, deadline time.Duration) (*record.Record, error) {
	return takeBack(ctx, r, id, run.RolledBack, reason, deadline)
}

func takeBack(ctx context.Context, r *release.Release, id run.ID, outcome run.Outcome, reason string, deadline time.Duration) (*record.Record, error) {
	state, err := r.Store.Read(ctx)
	if apierrors.IsNotFound(err) {
		return withoutRoute(ctx, r, id, outcome, reason, deadline)
	}
	if err != nil {
		return nil, err
	}
	if state.Damage() != "" {
		slog.Warn("the record is not to be relied upon", "damage", state.Damage())
		known, end, err := gathered(ctx, r, id, state.Record, outcome)
		if err != nil {
			return nil, err
		}
		if known != nil {
			r, outcome, reason = r.Remembering(known), end, reason+"; "+state.Damage()
			state = r.Store.Recall(state)
		}
	}
	if state.Record != nil && state.Record.ID != id {
		slog.Info("the record is another run's", "holder", state.Record.ID.String())
		return nil, nil
	}
	if state.Record.Open() || state.Weight() > 0 {
		state, err = end(ctx, r, id, state, outcome, reason, deadline)
		if errors.Is(err, weight.ErrPromoting) { // it was shifting a moment ago
			return takeBack(ctx, r, id, outcome, reason, deadline)
		}
		if err != nil {
			return state.Record, err
		}
	}
	if state.Record != nil && state.Record.Outcome == run.Unfinished && state.Broken == nil {
		return state.Record, nil // a first release that was given up: the target goes on serving
	}
	return state.Record, settle(ctx, r, id, state.Record)
}

// Undo ends the run of r as Run does, and leaves the canary's pods to who settles.
func Undo(ctx context.Context, r *release.Release, reason string, deadline time.Duration) error {
	state, err := r.Store.Read(ctx)
	if err == nil && state.Record.Open() && state.Record.ID == r.ID {
		_, err = end(ctx, r, r.ID, state, run.RolledBack, reason, deadline)
	}
	return err
}

// end undoes a promotion that was under way, then takes the traffic back and closes the record. One that is known to have ended
// well is only closed.
func end(ctx context.Context, r *release.Release, id run.ID, state weight.State, outcome run.Outcome, reason string, deadline time.Duration) (weight.State, error) {
	if outcome == run.Promoted || outcome == run.Initialized {
		return r.Store.From(state).Close(ctx, id, outcome, done, r.Cluster)
	}
	if rec := state.Record; rec != nil {
		if rec.Phase == run.Promoting {
			undoing, err := r.Store.From(state).BeginUndo(ctx, id, reason)
			if errors.Is(err, record.ErrFenced) {
				return r.Store.Read(ctx) // it was completed meanwhile
			}
			if err != nil {
				return state, err
			}
			state = undoing
			if err := restore(ctx, r, state.Record, deadline); err != nil {
				return state, fmt.Errorf("undoing the promotion of %s: %w", r.App, err)
			}
		}
		if rec.Previous == "" {
			outcome = run.Unfinished
		}
	}
	r.Events.Warningf(ctx, "Rolling back %s %s", r.App, reason)
	return r.Store.From(state).TakeBack(ctx, id, outcome, reason, r.Cluster)
}

// restore gives the primary its previous revision back and waits until it is ready. The stamp is
// rewritten in any case, so that a late patch of the step that promoted no longer holds.
func restore(ctx context.Context, r *release.Release, rec *record.Record, deadline time.Duration) error {
	primary, err := r.Deployments.Update(ctx, r.App.Primary(), func(d *workload.Deployment) ([]kube.Operation, error) {
		stamp := rec.ID.String()
		if d.Promoted() != rec.Revision {
			return workload.Restamp(d, stamp), nil
		}
		template, err := workload.TemplateOf(ctx, r.Cluster.Objects(kube.ReplicaSets, r.App.Namespace), d, rec.Previous)
		if err != nil {
			return nil, err
		}
		if template == nil {
			return nil, fmt.Errorf("no ReplicaSet of %s has revision %s any more: give it that template by hand", d.Name, workload.Short(rec.Previous))
		}
		slog.Info("primary restored", "deployment", d.Name, "revision", workload.Short(rec.Previous))
		return workload.Become(d, template, rec.Previous, stamp), nil
	})
	if err != nil {
		return err
	}
	if primary == nil {
		return fmt.Errorf("Deployment %s is gone", r.App.Primary())
	}
	_, err = r.Deployments.WaitReady(ctx, r.App.Primary(), deadline, nil)
	return err
}

func settle(ctx context.Context, r *release.Release, id run.ID, rec *record.Record) error {
	target, err := r.Unsettled(ctx, id.String())
	if err != nil || target == nil {
		return err
	}
	switch {
	case rec == nil:
	case rec.Outcome == run.Promoted || rec.Outcome == run.Initialized:
		r.Events.Normalf(ctx, "Scaling down %s", r.App)
	default:
		r.Events.Warningf(ctx, "Canary failed! Scaling down %s", r.App)
	}
	return r.SettleTarget(ctx, target)
}

// Abandoned ends the run of the record, where nobody works on it any more, and says whether it was so. The Lease decides
// where its PipelineRun cannot be read.
func Abandoned(ctx context.Context, r *release.Release, state weight.State, deadline time.Duration) (bool, error) {
	rec := state.Record
	if !rec.Open() {
		return false, nil
	}
	share, liveness := max(state.Weight(), rec.Weight()), r.Liveness(ctx, rec.ID)
	expired := share > 0 && unattended(ctx, r, rec.ID, liveness)
	if !record.Abandoned(rec, share, liveness, expired) {
		return false, nil
	}
	slog.Info("taking back an abandoned run", "run", rec.ID.String(), "phase", rec.Phase, "canaryWeight", share)
	_, err := Run(ctx, r, rec.ID, "the run was abandoned", deadline)
	return true, err
}

// Supersede ends another run in favour of that of r, whether it is alive or not.
func Supersede(ctx context.Context, r *release.Release, rec *record.Record, deadline time.Duration) error {
	slog.Info("superseding a run", "run", rec.ID.String(), "phase", rec.Phase, "canaryWeight", rec.Weight())
	_, err := takeBack(ctx, r, rec.ID, run.Superseded, fmt.Sprintf("superseded by run %s", r.ID.Name), deadline)
	return err
}

// unattended says whether a run no longer renews its Lease. One that is missing says nothing, and is made; one that another run
// holds says so only of a PipelineRun that cannot be read: that run may have found none.
func unattended(ctx context.Context, r *release.Release, id run.ID, liveness record.Liveness) bool {
	if liveness != record.Live && liveness != record.Unknown {
		return false
	}
	kept := r.Lease
	kept.Holder = id.String()
	standing, err := kept.Standing(ctx)
	if err != nil {
		slog.Warn("not known whether a run renews its Lease", "run", id.String(), "error", err.Error())
	}
	return standing == lease.Expired || standing == lease.Anothers && liveness == record.Unknown
}

// Outcome is what a run ended as, for people: a first release that was given up counts as rolled back, a run whose turn never
// came as superseded, and one that has prepared and left no record found the application as it wants it.
func Outcome(ctx context.Context, r *release.Release, rec *record.Record, prepared bool) (run.Outcome, string) {
	switch {
	case rec == nil && prepared && !holds(ctx, r):
		return run.Superseded, "a newer run has the application, or waits for it"
	case rec == nil && prepared:
		return run.Unchanged, "the primary runs this revision already"
	case rec == nil:
		return run.RolledBack, "the run ended before it had the application: the result reason of the task prepare says why"
	case rec.Outcome == run.Unfinished:
		return run.RolledBack, rec.Reason
	}
	return rec.Outcome, rec.Reason
}

// holds says whether the run has the Lease, as each has that was not superseded until its own finish gives it up.
func holds(ctx context.Context, r *release.Release) bool {
	now, err := r.Lease.Get(ctx)
	return err != nil || lease.Holder(now) == r.ID.String()
}
