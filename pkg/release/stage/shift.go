package stage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/serin-cd/serin/pkg/cluster/workload"
	"github.com/serin-cd/serin/pkg/release"
	"github.com/serin-cd/serin/pkg/release/record"
	"github.com/serin-cd/serin/pkg/task/failure"
	"github.com/serin-cd/serin/pkg/task/parameter"
)

// Shift gives the canary a share of the traffic, in percent. It raises the share only of a target that holds the
// recorded revision and has all its pods, for which it waits up to the deadline, and on a route that is as recorded;
// else it takes the traffic back.
func Shift(ctx context.Context, r *release.Release, weight parameter.Weight, deadline time.Duration) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go r.Lease.Keep(ctx)
	return r.TakeBack(ctx, failure.Guard(func() error { return shift(ctx, r, weight, deadline) }))
}

func shift(ctx context.Context, r *release.Release, weight parameter.Weight, deadline time.Duration) error {
	target, err := r.Target(ctx)
	if err != nil {
		return err
	}
	r.Events.UID = target.UID
	raised, err := give(ctx, r, weight, target)
	var short *shortError
	for errors.As(err, &short) {
		slog.Info("waiting for the canary's pods", "target", target.Progress())
		if target, err = r.WholeCanary(ctx, target, short.revision, deadline); err == nil {
			raised, err = give(ctx, r, weight, target)
		}
	}
	if err != nil {
		return fmt.Errorf("shifting %s to %d %%: %w", r.App, weight, err)
	}
	if raised {
		r.Events.Normalf(ctx, "Advance %s canary weight %d", r.App, weight)
	}
	return nil
}

// give writes the share, and says whether it is more than before. A target that lacks pods gets no more.
func give(ctx context.Context, r *release.Release, weight parameter.Weight, target *workload.Deployment) (raised bool,
	err error) {
	_, err = r.Fence.Shift(ctx, r.ID, weight, r.Cluster, func(now *record.Record) error {
		if raised = weight > now.Weight(); raised && (target.Revision() != now.Revision || !target.Ready()) {
			return &shortError{now.Revision}
		}
		return nil
	})
	return raised, err
}

// shortError says that the target is not, or not whole, what the run releases.
type shortError struct{ revision string }

func (e *shortError) Error() string {
	return "the canary lacks pods of revision " + workload.Short(e.revision)
}
