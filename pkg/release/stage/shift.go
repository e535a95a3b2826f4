package stage

import (
	"context"
	"fmt"
	"time"

	"github.com/serin-cd/serin/pkg/cluster/workload"
	"github.com/serin-cd/serin/pkg/release"
	"github.com/serin-cd/serin/pkg/release/record"
	"github.com/serin-cd/serin/pkg/task/failure"
	"github.com/serin-cd/serin/pkg/task/parameter"
)

// Shift gives the canary a share of the traffic, in percent. It raises the share only of a target that
// holds the recorded revision and is ready, on a route that is as recorded; else it takes the traffic back.
func Shift(ctx context.Context, r *release.Release, weight parameter.Weight) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	go r.Lease.Keep(ctx)
	return r.TakeBack(ctx, shift(ctx, r, weight))
}

func shift(ctx context.Context, r *release.Release, weight parameter.Weight) error {
	target, err := r.Target(ctx)
	if err != nil {
		return err
	}
	r.Events.UID = target.UID
	raised := false
	_, err = r.Fence.Shift(ctx, r.ID, weight, r.Cluster, func(now *record.Record) error {
		raised = weight > now.Weight()
		if !raised {
			return nil
		}
		if got := target.Revision(); got != now.Revision {
			return failure.Inconclusivef("the target is at revision %s, the run releases %s: start a run for the "+
				"new one", workload.Short(got), workload.Short(now.Revision))
		}
		if !target.Ready() {
			return failure.Rejectedf("the canary is not ready: %s", target.Progress())
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("shifting %s to %d %%: %w", r.App, weight, err)
	}
	if raised {
		r.Events.Normalf(ctx, "Advance %s canary weight %d", r.App, weight)
	}
	return nil
}
