package prepare

import (
	"context"
	"errors"
	"fmt"

	"github.com/serin-cd/serin/pkg/release"
	"github.com/serin-cd/serin/pkg/release/lease"
	"github.com/serin-cd/serin/pkg/release/record"
	"github.com/serin-cd/serin/pkg/release/rollback"
	"github.com/serin-cd/serin/pkg/release/weight"
	"github.com/serin-cd/serin/pkg/task/failure"
	"github.com/serin-cd/serin/pkg/task/run"
)

// free makes sure that no other run has the application, and takes back one that was abandoned.
func free(ctx context.Context, r *release.Release, p Preparation, f found) (found, error) {
	if f.state != nil && f.state.Damage() != "" {
		left, err := damaged(ctx, r, p, *f.state)
		if err != nil {
			return f, err
		}
		if left {
			return look(ctx, r, p)
		}
	}
	rec := f.record()
	if !rec.Open() || rec.ID == r.ID {
		return f, nil
	}
	abandoned, err := rollback.Abandoned(ctx, r, *f.state, p.Deadline)
	if err != nil {
		return f, fmt.Errorf("taking back the abandoned run %s: %w", rec.ID.Name, err)
	}
	if !abandoned && p.OnBusy == Supersede && newer(ctx, r, rec.ID) {
		if err := rollback.Supersede(ctx, r, rec, p.Deadline); err != nil {
			return f, fmt.Errorf("superseding run %s: %w", rec.ID.Name, err)
		}
		return look(ctx, r, p)
	}
	if !abandoned {
		return f, fmt.Errorf("preparing %s: %w", r.App, &record.BusyError{Holder: *rec})
	}
	return look(ctx, r, p)
}

// damaged takes back the run that the target's stamp names, where the record is not to be relied upon, and says whether
// it did. Of one that is alive, with traffic, it is an error.
func damaged(ctx context.Context, r *release.Release, p Preparation, state weight.State) (bool, error) {
	owner, err := rollback.Owner(ctx, r.Cluster, r.App, state)
	if errors.Is(err, failure.ErrConfig) || err == nil && owner.ID == r.ID {
		return false, nil // nobody's, or this run was here before
	}
	if err != nil {
		return false, err
	}
	owner.Drain = r.Drain
	if state.Record == nil {
		owner.Fence.Selection = r.Fence.Selection
	}
	left, err := rollback.Left(ctx, owner, state, p.Deadline)
	if err != nil {
		return left, fmt.Errorf("taking back run %s: %w", owner.ID.Name, err)
	}
	if !left && state.Weight() > 0 {
		return false,
			fmt.Errorf("preparing %s: the canary has %d %%, its pods are those of PipelineRun %s/%s, which is "+
				"alive, and %s: wait for it or cancel it",
				r.App, state.Weight(), owner.ID.Namespace, owner.ID.Name, state.Damage())
	}
	return left, nil
}

// newer says whether this run was made after another, as far as can be read.
func newer(ctx context.Context, r *release.Release, other run.ID) bool {
	mine, _ := r.Created(ctx, r.ID)
	theirs, _ := r.Created(ctx, other)
	return lease.Place{Run: r.ID, Created: mine}.Newer(lease.Place{Run: other, Created: theirs})
}
