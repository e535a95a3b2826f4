package prepare

import (
	"context"
	"errors"
	"fmt"

	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/cluster/workload"
	"github.com/serin-cd/serin/pkg/release"
	"github.com/serin-cd/serin/pkg/task/failure"
	"github.com/serin-cd/serin/pkg/task/run"
)

// start records the run, stamps the target, scales it up and waits until it is ready.
func start(ctx context.Context, r *release.Release, p Preparation, f found, revision string) error {
	state, err := f.known(r).Inheriting(f.target.Wanted() > 0).Open(ctx, r.ID, revision, f.primary.Promoted(), r.Cluster)
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
	target, err := r.Deployments.From(f.target).Update(ctx, r.App.Name,
		func(d *workload.Deployment) ([]kube.Operation, error) {
			if d.StampedBy(r.ID) && d.Wanted() > 0 {
				return nil, nil
			}
			replicas := d.Wanted()
			if replicas == 0 {
				replicas = max(f.primary.Wanted(), 1)
			}
			// Always written: whoever settles the run before may have scaled down since, under the same stamp.
			return append(workload.Stamp(d, r.ID), workload.Scale(replicas)), nil
		})
	if err == nil && target == nil {
		return failure.Configf("preparing %s: the target was deleted", r.App)
	}
	return err
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
