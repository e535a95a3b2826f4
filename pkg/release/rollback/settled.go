package rollback

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/serin-cd/serin/pkg/release"
	"github.com/serin-cd/serin/pkg/task/run"
)

// Settled is an error while the run still has the application: it is not closed, the canary has traffic, or
// its pods are up.
func Settled(ctx context.Context, r *release.Release) error {
	state, err := r.Store.Read(ctx)
	if err != nil && !apierrors.IsNotFound(err) {
		return err
	}
	record := state.Record
	if err == nil && record.Open() && record.ID == r.ID {
		return fmt.Errorf("releasing %s: the run is still %s, canary weight %d: run rollback", r.App, record.Phase, state.Weight())
	}
	if record != nil && record.ID == r.ID && record.Outcome == run.Unfinished {
		return nil
	}
	target, err := r.Unsettled(ctx, r.ID.String())
	if err != nil || target == nil {
		return err
	}
	return fmt.Errorf("releasing %s: its target still has %d pods: run rollback, which drains them", r.App, target.Wanted())
}

// Reason is why a run that did not say so itself is taken back, from what became of its tasks.
func Reason(prepare, promote string) string {
	switch {
	case prepare != "Succeeded":
		return "the run ended while it prepared: the task's result reason says why"
	case promote == "Failed":
		return "the promotion failed"
	}
	return "the run ended before a verdict"
}
