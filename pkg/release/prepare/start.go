package prepare

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/serin-cd/serin/pkg/cluster/autoscaler"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/cluster/workload"
	"github.com/serin-cd/serin/pkg/release"
	"github.com/serin-cd/serin/pkg/task/failure"
	"github.com/serin-cd/serin/pkg/task/run"
)

// start records the run, stamps the target, scales it up and waits until it is ready.
func start(ctx context.Context, r *release.Release, p Preparation, f found, revision string) error {
	store := f.known(r).Inheriting(f.target.Wanted() > 0).Unjudged(p.SkipAnalysis)
	state, err := store.Open(ctx, r.ID, revision, f.primary.Promoted(), r.Cluster)
	if err != nil {
		return fmt.Errorf("preparing %s: %w", r.App, err)
	}
	if state.Record.Phase != run.Preparing {
		return nil // this run was here before
	}
	r.Events.Normalf(ctx, "New revision detected! Scaling up %s", r.App)
	err = failure.Guard(func() error {
		if err := scaleUp(ctx, r, p, f); err != nil {
			return err
		}
		return ready(ctx, r, p, revision)
	})
	if err != nil {
		return r.TakeBack(ctx, err)
	}
	if p.SkipAnalysis != "" {
		r.Events.Warningf(ctx, "Releasing %s without analysis: %s", r.App, p.SkipAnalysis)
		return nil
	}
	r.Events.Normalf(ctx, "Starting canary analysis for %s", r.App)
	return nil
}

// scaleUp stamps the target and gives it pods, once those of a run that was taken back just now are gone.
func scaleUp(ctx context.Context, r *release.Release, p Preparation, f found) error {
	if f.target.Wanted() == 0 && f.target.Status.Replicas > 0 {
		if err := r.Deployments.WaitGone(ctx, r.App.Name, p.Deadline); err != nil {
			return err
		}
	}
	before := autoscaler.Noted(f.target.Autoscaler())
	target, err := stamp(ctx, r, f)
	for _, ref := range slices.Compact([]autoscaler.Reference{before, f.scaled.Reference()}) {
		if err == nil && target != nil {
			err = r.Autoscalers.Wake(ctx, ref, f.scaled, r.ID)
		}
	}
	if err == nil && target != nil {
		target, err = r.Deployments.From(target).Update(ctx, r.App.Name,
			func(d *workload.Deployment) ([]kube.Operation, error) { return scale(d, r, f), nil })
	}
	if err == nil && target == nil {
		return failure.Configf("preparing %s: the target was deleted", r.App)
	}
	return err
}

// stamp stamps the target before KEDA is unpaused, so that whoever settles the run knows to pause it. Without KEDA the
// stamp is written together with the replicas.
func stamp(ctx context.Context, r *release.Release, f found) (*workload.Deployment, error) {
	keda := autoscaler.Noted(f.target.Autoscaler()).Kind == autoscaler.ScaledObject ||
		f.scaled.Reference().Kind == autoscaler.ScaledObject
	if !keda {
		return f.target, nil
	}
	return r.Deployments.From(f.target).Update(ctx, r.App.Name,
		func(d *workload.Deployment) ([]kube.Operation, error) {
			if d.StampedBy(r.ID) && d.Autoscaler() == f.scaled.Note() {
				return nil, nil
			}
			return mark(d, r, f), nil
		})
}

// scale are the operations that give the target the run's stamp and pods: as many as the primary has, within the bounds
// of its autoscaler if it has one, and no fewer than it has already. Without an autoscaler it keeps what it asks for.
func scale(d *workload.Deployment, r *release.Release, f found) []kube.Operation {
	if f.target.StampedBy(r.ID) && d.StampedBy(r.ID) && d.Wanted() > 0 {
		return nil // this run was here before
	}
	replicas := d.Wanted()
	if replicas == 0 || f.scaled.Reference().Kind != "" {
		replicas = max(replicas, f.scaled.Clamp(f.primary.Wanted()))
	}
	// Always written: whoever settles the run before may have scaled down since, under the same stamp.
	return append(mark(d, r, f), workload.Scale(replicas))
}

// ready waits for the canary; a revision that does not start is rejected, one that changes meanwhile was never looked
// at.
func ready(ctx context.Context, r *release.Release, p Preparation, revision string) error {
	_, err := r.Deployments.WaitReady(ctx, r.App.Name, p.Deadline, func(d *workload.Deployment) error {
		if got := d.Revision(); got != revision {
			return failure.Inconclusivef("preparing %s: the target changed from revision %s to %s: start a run for "+
				"the new one", r.App, workload.Short(revision), workload.Short(got))
		}
		if d.Wanted() == 0 {
			return failure.Inconclusivef("preparing %s: its target was scaled to 0: the run was taken back, or %s "+
				"did it", r.App, kube.Writer(d, "spec", "replicas"))
		}
		return nil
	})
	var late *workload.NotReadyError
	if errors.As(err, &late) {
		return failure.Rejectedf("preparing %s: %w: no traffic was shifted", r.App, err)
	}
	return err
}
