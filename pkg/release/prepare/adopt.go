package prepare

import (
	"context"
	"fmt"

	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/cluster/workload"
	"github.com/serin-cd/serin/pkg/release"
	"github.com/serin-cd/serin/pkg/release/record"
	"github.com/serin-cd/serin/pkg/task/failure"
	"github.com/serin-cd/serin/pkg/task/run"
)

// Adopt takes over an application whose primary serves already, as somebody else has made it: no pod is replaced, and
// no request goes elsewhere. The next run then judges what the target holds, unless the primary runs just that. edit
// takes out of a pod template what the other has put in.
func Adopt(ctx context.Context, r *release.Release, p Preparation, reason string,
	edit func(template map[string]any)) error {
	f, err := look(ctx, r, p)
	if err != nil {
		return err
	}
	if f.primary == nil || f.state == nil {
		return failure.Configf("taking over %s: there is no %s, or no VirtualService that leads to it", r.App,
			r.App.Primary())
	}
	if f.budget, err = r.Budgets.Find(ctx, f.target, f.copied); err != nil {
		return err
	}
	r.Events.UID = f.target.UID
	// The target first: a run refuses a primary that has no label yet, and judges what a target with a stamp holds.
	if err := adoptTarget(ctx, r, f); err != nil {
		return err
	}
	primary, err := adoptPrimary(ctx, r, f, edit)
	if err != nil {
		return err
	}
	if err := surround(ctx, r, f, primary); err != nil {
		return fmt.Errorf("taking over %s: %w", r.App, err)
	}
	if err := warn(ctx, r, f); err != nil {
		return err
	}
	if err := reselected(ctx, r, p, f, primary); err != nil {
		return err
	}
	now := r.Cluster.Now()
	return r.Fence.Adopt(ctx, &record.Record{ID: r.ID, Created: now, Ended: now, Phase: run.Closed,
		Outcome: run.Initialized, Reason: reason, Revision: primary.Promoted()})
}

// adoptTarget gives the target the stamp of the adoption, and tells it of its autoscaler and its PodDisruptionBudget.
func adoptTarget(ctx context.Context, r *release.Release, f found) error {
	_, err := r.Deployments.Update(ctx, r.App.Name, func(d *workload.Deployment) ([]kube.Operation, error) {
		if d.Stamp() != "" {
			return nil, nil
		}
		return settledBy(d, r, f), nil
	})
	return err
}

// adoptPrimary gives the primary Serin's label, and says which revision it runs: that of the target, or its own if the
// target holds another.
func adoptPrimary(ctx context.Context, r *release.Release, f found,
	edit func(map[string]any)) (*workload.Deployment, error) {
	primary, err := r.Deployments.Update(ctx, r.App.Primary(),
		func(d *workload.Deployment) ([]kube.Operation, error) {
			if d.Promoted() != "" {
				return nil, nil
			}
			revision := d.Revision()
			if f.copied.Runs(f.target, d, edit) {
				revision = f.target.Revision()
			}
			return append(workload.Stamp(d, r.ID),
				kube.Add(kube.Path("metadata", "annotations", application.RevisionAnnotation), revision),
				kube.Add(kube.Path("metadata", "labels", application.Label), r.App.Name)), nil
		})
	if err == nil && primary == nil {
		err = failure.Configf("taking over %s: Deployment %s was deleted", r.App, r.App.Primary())
	}
	return primary, err
}

// reselected lets the Services of all three select their pods as Serin has it, and makes what is missing.
func reselected(ctx context.Context, r *release.Release, p Preparation, f found, primary *workload.Deployment) error {
	shape, err := r.Services.Shape(ctx, f.target, int32(p.Port))
	if err != nil {
		return err
	}
	if err := pair(ctx, r, f, primary, shape); err != nil {
		return err
	}
	if _, err := r.Services.Ensure(ctx, r.App.Name, f.copied.Selector(primary), shape); err != nil {
		return err
	}
	_, err = r.Routing.EnsureDestinationRules(ctx)
	return err
}
