package prepare

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/cluster/workload"
	"github.com/serin-cd/serin/pkg/release"
	"github.com/serin-cd/serin/pkg/task/failure"
)

// Previous is the word for the revision that the primary ran before the one that it runs.
const Previous = "previous"

// earlier finds the template that a run is to go back to, nil where it goes back to none.
func earlier(ctx context.Context, r *release.Release, p Preparation, f found) (*workload.Earlier, error) {
	if p.ToRevision == "" {
		return nil, nil
	}
	if f.first() {
		return nil, unreleased(r, p.ToRevision)
	}
	return find(ctx, r, p.ToRevision, f.target, f.primary)
}

func unreleased(r *release.Release, to string) error {
	return failure.Configf("reading to-revision: %q: %s was never released, so there is nothing to go back to", to,
		r.App)
}

// Earlier finds the template that a run would go back to, for parameter to-revision: previous, or the first digits of a
// revision. It changes nothing.
func Earlier(ctx context.Context, r *release.Release, to string) (*workload.Earlier, error) {
	if err := (Config{ToRevision: to}).Check(); err != nil {
		return nil, err
	}
	target, err := r.Target(ctx)
	if err != nil {
		return nil, err
	}
	primary, err := r.Deployments.Get(ctx, r.App.Primary())
	if err != nil {
		return nil, err
	}
	if primary == nil || primary.Promoted() == "" {
		return nil, unreleased(r, to)
	}
	return find(ctx, r, to, target, primary)
}

func find(ctx context.Context, r *release.Release, to string, target, primary *workload.Deployment) (*workload.Earlier,
	error) {
	digits := to
	if digits == Previous {
		var err error
		if digits, err = workload.Before(ctx, r.Deployments.ReplicaSets, primary); err != nil {
			return nil, err
		}
		if digits == "" {
			return nil, failure.Configf("reading to-revision: %q: Deployment %s does not tell which revision it ran "+
				"before %s: name one by its digits", Previous, primary.Name, workload.Short(primary.Promoted()))
		}
	}
	history, err := workload.History(ctx, r.Deployments.ReplicaSets, target)
	if err != nil {
		return nil, err
	}
	found, err := workload.Named(history, digits)
	if err != nil {
		return nil, fmt.Errorf("reading to-revision: %q: looking in the ReplicaSets of Deployment %s: %w: deploy that "+
			"version again, and release it with skip-analysis", to, target.Name, err)
	}
	return &found, nil
}

// revert gives the target an earlier template, and looks again: its labels may be others.
func revert(ctx context.Context, r *release.Release, p Preparation, f found, to workload.Earlier) (found, error) {
	before := f.target.Revision()
	if before == to.Revision {
		return f, nil
	}
	target, err := edit(ctx, r, r.Deployments.From(f.target),
		func(d *workload.Deployment) ([]kube.Operation, error) { return workload.Return(d, to), nil })
	if err != nil {
		return f, fmt.Errorf("going back to revision %s: %w", workload.Short(to.Revision), err)
	}
	slog.Info("target reverted", "deployment", r.App.String(), "from", workload.Short(before), "to", to.String())
	r.Events.UID = target.UID
	r.Events.Normalf(ctx, "Going back to revision %s", workload.Short(to.Revision))
	return look(ctx, r, p)
}
