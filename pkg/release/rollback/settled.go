package rollback

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/serin-cd/serin/pkg/release"
	"github.com/serin-cd/serin/pkg/task/run"
)

// ReleaseLease gives the Lease up once the run is settled, whatever has become of ctx. settled says that it was seen to
// be a moment ago.
func ReleaseLease(ctx context.Context, r *release.Release, settled bool) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	if !settled {
		if err := Settled(ctx, r); err != nil {
			return err
		}
	}
	return r.Lease.Release(ctx)
}

// Settled is an error while the run still has the application: it is not closed, the canary has traffic, or
// its pods are up.
func Settled(ctx context.Context, r *release.Release) error {
	state, err := r.Fence.Read(ctx)
	if err != nil && !apierrors.IsNotFound(err) {
		return err
	}
	record := state.Record
	if err == nil && record.Open() && record.ID == r.ID {
		return fmt.Errorf("releasing %s: the run is still %s, canary weight %d: run rollback", r.App, record.Phase,
			state.Weight())
	}
	if record != nil && record.ID == r.ID && record.Outcome == run.Unfinished {
		return nil
	}
	target, err := r.Unsettled(ctx, r.ID)
	if err != nil || target == nil || stays(r, target) {
		return err
	}
	return fmt.Errorf("releasing %s: its target still has %d pods: run rollback, which drains them", r.App,
		target.Wanted())
}
