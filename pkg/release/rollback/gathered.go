package rollback

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/cluster/workload"
	"github.com/serin-cd/serin/pkg/release"
	"github.com/serin-cd/serin/pkg/release/record"
	"github.com/serin-cd/serin/pkg/task/run"
)

// gathered is a run's record as target and primary tell it, where the VirtualService has none to rely upon, and the
// outcome that the run then ends with: of one whose promotion, or first release, had done all but close the record,
// that it did. It begins with what can be read of the record, nil for nothing. It is nil where the run never had the
// application.
func gathered(ctx context.Context, by *release.Release, of run.ID, readable *record.Record,
	outcome run.Outcome) (*record.Record, run.Outcome, error) {
	target, err := by.Deployments.Get(ctx, by.App.Name)
	if err != nil {
		return nil, outcome, err
	}
	primary, err := by.Deployments.Get(ctx, by.App.Primary())
	if err != nil || primary == nil {
		return nil, outcome, err
	}
	mine := primary.StampedBy(of)
	promoting := mine && primary.Previous() != ""
	if !promoting && (target == nil || !target.StampedBy(of)) {
		return nil, outcome, nil
	}
	rec := &record.Record{ID: of, Created: by.Cluster.Now(), Phase: run.Shifting, Previous: primary.Promoted()}
	if target != nil {
		rec.Revision = target.Revision()
	}
	if readable != nil && readable.ID == of {
		if !readable.Open() && readable.Outcome != run.Unfinished {
			return readable, outcome, nil // whatever was written into it, it has ended
		}
		read := *readable
		read.Phase = run.Shifting
		rec = &read
	}
	switch {
	case promoting:
		rec.Phase, rec.Revision, rec.Previous = run.Promoting, primary.Promoted(), primary.Previous()
		if primary.RolledOut() && rec.Outcome != run.RolledBack {
			outcome = run.Promoted
		}
	case mine && primary.Promoted() == rec.Revision:
		rec.Previous, outcome = "", run.Initialized
	case !mine:
		err = fence(ctx, by, primary, of)
	}
	return rec, outcome, err
}

// done is the reason of a run that had done all but close its record.
const done = "the primary runs the revision"

// fence gives the primary the run's stamp, so that the step which promotes can no longer change it, late as it may be.
func fence(ctx context.Context, by *release.Release, primary *workload.Deployment, of run.ID) error {
	before := primary.Stamp()
	_, err := by.Deployments.From(primary).Update(ctx, primary.Name,
		func(d *workload.Deployment) ([]kube.Operation, error) {
			if d.Stamp() != before {
				return nil, fmt.Errorf("Deployment %s was changed by run %q meanwhile", d.Name, d.Stamp())
			}
			return workload.Restamp(d, of), nil
		})
	return err
}

// withoutRoute brings what a run has left to rest where there is no VirtualService: the primary as the run had found
// it, or promoted and ready, and the target without pods. The record that it returns is kept nowhere; it is nil where
// the run never had the application.
func withoutRoute(ctx context.Context, by *release.Release, of run.ID, outcome run.Outcome, reason string,
	deadline time.Duration) (*record.Record, error) {
	slog.Warn("no VirtualService: settling by stamp", "virtualService", by.Fence.String())
	if err := by.Fence.EndFollowers(ctx, nil, of, outcome, reason, by.Cluster); err != nil {
		return nil, err
	}
	rec, outcome, err := gathered(ctx, by, of, nil, outcome)
	if err != nil || rec == nil {
		return nil, err
	}
	if rec.Phase == run.Promoting && outcome != run.Promoted {
		if err := restore(ctx, by, rec, deadline); err != nil {
			return nil, fmt.Errorf("undoing the promotion of %s: %w", by.App, err)
		}
	}
	if outcome == run.Promoted || outcome == run.Initialized {
		reason = done
	}
	by.Events.Warningf(ctx, "VirtualService %s is gone: bringing run %s to its end by the Deployments' annotations",
		by.Fence, of.Name)
	rec.Phase, rec.Outcome, rec.Ended = run.Closed, outcome, by.Cluster.Now()
	rec.Reason = fmt.Sprintf("%s; VirtualService %s is gone: start a run, whose prepare makes it, or apply it again "+
		"where it is yours", reason, by.Fence.Selection.First(by.App))
	return rec, settle(ctx, by, of, rec)
}
