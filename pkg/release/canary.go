package release

import (
	"context"
	"errors"
	"time"

	"github.com/serin-cd/serin/pkg/cluster/workload"
	"github.com/serin-cd/serin/pkg/task/failure"
)

// WholeCanary returns the target, which was read a moment ago, once it has all the pods that it wants: an autoscaler
// may have asked for more, or a node be replaced. Those that are available serve meanwhile. It fails at once if none
// is, and if the target is no longer at the revision. The deadline begins anew with each progress.
func (r *Release) WholeCanary(ctx context.Context, target *workload.Deployment, revision string,
	deadline time.Duration) (*workload.Deployment, error) {
	check := func(d *workload.Deployment) error { return serving(d, revision) }
	if err := check(target); err != nil || target.Ready() {
		return target, err
	}
	whole, err := r.Deployments.WaitReady(ctx, r.App.Name, deadline, check)
	var late *workload.NotReadyError
	if errors.As(err, &late) {
		return target, failure.Rejectedf("the canary is not ready: %w", err)
	}
	return whole, err
}

// serving refuses a target that is not of the revision, or has no pod that is available.
func serving(target *workload.Deployment, revision string) error {
	if got := target.Revision(); got != revision {
		return failure.Inconclusivef("the target is at revision %s, the run releases %s: start a run for the new one",
			workload.Short(got), workload.Short(revision))
	}
	if target.Status.AvailableReplicas == 0 {
		return failure.Rejectedf("no pod of the canary is available: %s", target.Progress())
	}
	return nil
}
