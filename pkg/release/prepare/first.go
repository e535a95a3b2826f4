package prepare

import (
	"context"
	"errors"
	"fmt"

	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/cluster/mesh"
	"github.com/serin-cd/serin/pkg/cluster/workload"
	"github.com/serin-cd/serin/pkg/release"
	"github.com/serin-cd/serin/pkg/release/record"
	"github.com/serin-cd/serin/pkg/task/failure"
	"github.com/serin-cd/serin/pkg/task/run"
)

// first makes the primary and everything around it, without judging, or completes what an earlier run
// began. Every call leaves the application served: by the target until the apex Service changes.
func first(ctx context.Context, r *release.Release, p Preparation, f found) error {
	shape, err := r.Services.Shape(ctx, f.target, int32(p.Port))
	if err != nil {
		return err
	}
	primary, err := makePrimary(ctx, r, p, f)
	if err != nil {
		return err
	}
	if err := surround(ctx, r, f, primary); err != nil {
		return fmt.Errorf("releasing %s for the first time: %w", r.App, err)
	}
	if err := warn(ctx, r, f); err != nil {
		return err
	}
	if err := pair(ctx, r, f, primary, shape); err != nil {
		return err
	}
	if _, err := r.Routing.EnsureDestinationRules(ctx); err != nil {
		return err
	}
	if err := route(ctx, r, p, &f, shape); err != nil {
		return err
	}
	shape.Shared = true
	if _, err := r.Services.Ensure(ctx, r.App.Name, f.copied.Selector(primary), shape); err != nil {
		return err
	}
	if _, err := r.Fence.Close(ctx, r.ID, run.Initialized, "first release", r.Cluster); err != nil {
		return err
	}
	r.Events.Normalf(ctx, "Initialization done! %s", r.App)
	return settleFirst(ctx, r, f)
}

// surround gives the primary an autoscaler and a PodDisruptionBudget, if the target has them.
func surround(ctx context.Context, r *release.Release, f found, primary *workload.Deployment) error {
	if err := r.Autoscalers.Ensure(ctx, f.scaled, f.copied, primary); err != nil {
		return err
	}
	return r.Budgets.Ensure(ctx, f.budget, f.copied, primary)
}

// pair makes the Services of primary and canary, or corrects them.
func pair(ctx context.Context, r *release.Release, f found, primary *workload.Deployment, shape mesh.Shape) error {
	if _, err := r.Services.Ensure(ctx, r.App.Primary(), f.copied.Selector(primary), shape); err != nil {
		return err
	}
	_, err := r.Services.Ensure(ctx, r.App.Canary(), f.target.Spec.Selector.MatchLabels, shape)
	return err
}

// warn tells the reservations.
func warn(ctx context.Context, r *release.Release, f found) error {
	all, err := reservations(ctx, r, f)
	if err != nil {
		return fmt.Errorf("releasing %s for the first time: %w", r.App, err)
	}
	for _, one := range all {
		r.Events.Warningf(ctx, "%s: %s", one.Text, one.Advice)
	}
	return nil
}

// settleFirst stamps the target, which from now on is the canary's, and brings it to rest.
func settleFirst(ctx context.Context, r *release.Release, f found) error {
	target, err := r.Deployments.Update(ctx, r.App.Name, func(d *workload.Deployment) ([]kube.Operation, error) {
		if d.StampedBy(r.ID) {
			return nil, nil
		}
		return settledBy(d, r, f), nil
	})
	if err != nil || target == nil {
		return err
	}
	return r.Settle(ctx, r.ID)
}

// settledBy are the operations of mark, and those that tell the target of its PodDisruptionBudget.
func settledBy(d *workload.Deployment, r *release.Release, f found) []kube.Operation {
	ops := mark(d, r, f)
	if name := f.budget.Name(); name != "" {
		ops = append(ops, kube.Add(kube.Path("metadata", "annotations", application.BudgetAnnotation), name))
	}
	return ops
}

// mark are the operations that give the target the run's stamp and tell it of its autoscaler.
func mark(d *workload.Deployment, r *release.Release, f found) []kube.Operation {
	return append(workload.Stamp(d, r.ID), workload.NoteAutoscaler(d, f.scaled.Note())...)
}

// makePrimary makes the primary, or corrects that of a first release that was given up, and waits for it.
func makePrimary(ctx context.Context, r *release.Release, p Preparation, f found) (*workload.Deployment, error) {
	if f.primary == nil {
		if _, err := r.Deployments.CreatePrimary(ctx, r.App, f.target, f.copied, r.Metadata, r.ID); err != nil {
			return nil, err
		}
	}
	_, err := r.Deployments.Update(ctx, r.App.Primary(), func(d *workload.Deployment) ([]kube.Operation, error) {
		ops := []kube.Operation{}
		if d.Promoted() != f.target.Revision() {
			ops = append(workload.Become(d, f.copied.Template(f.target, d), f.target.Revision(), r.ID),
				f.copied.Follow(f.target, d, r.Metadata)...)
		}
		if d.Wanted() == 0 {
			ops = append(ops, workload.Scale(max(f.target.Wanted(), 1)))
		}
		return ops, nil
	})
	if err != nil {
		return nil, err
	}
	primary, err := r.Deployments.WaitReady(ctx, r.App.Primary(), p.Deadline, nil)
	var late *workload.NotReadyError
	if errors.As(err, &late) {
		return nil, failure.Rejectedf("releasing %s for the first time: %w: the target goes on serving%s", r.App, err,
			rested(ctx, r))
	}
	return primary, err
}

// rested takes its pods from a primary that nobody can be served by, and says what is left and how to remove it. The
// next first release gives it pods again.
func rested(ctx context.Context, r *release.Release) string {
	primary, err := r.Deployments.Update(context.WithoutCancel(ctx), r.App.Primary(),
		func(d *workload.Deployment) ([]kube.Operation, error) {
			if d.Status.AvailableReplicas > 0 || !d.StampedBy(r.ID) {
				return nil, nil
			}
			return []kube.Operation{workload.Scale(0)}, nil
		})
	if err != nil {
		return fmt.Sprintf("; taking its pods from %s: %s", r.App.Primary(), err)
	}
	if primary == nil || primary.Wanted() > 0 {
		return ""
	}
	return fmt.Sprintf("; %s was scaled to 0, and the next run begins anew with it: to remove it run kubectl delete "+
		"deployment %s -n %s", r.App.Primary(), r.App.Primary(), r.App.Namespace)
}

// route makes the VirtualService with the run's record, or opens the run on those that are there, once they have a
// place for the canary.
func route(ctx context.Context, r *release.Release, p Preparation, f *found,
	shape mesh.Shape) error {
	revision := f.target.Revision()
	rec, err := record.Open(nil, r.ID, revision, "", r.Cluster.Now())
	if err != nil {
		return err
	}
	if f.state == nil {
		port, err := shape.Gateway(int64(p.Port))
		if err != nil {
			return err
		}
		if err := r.Routing.CreateVirtualService(ctx, p.Hosts, p.Gateways, port, rec.String()); err != nil {
			return err
		}
	}
	if f.whole() {
		if err := learn(ctx, p); err != nil {
			return err
		}
		if err := takeOver(ctx, r, f); err != nil {
			return err
		}
	}
	tell(*f)
	if _, err := f.known(r).Open(ctx, r.ID, revision, "", r.Cluster); err != nil {
		return fmt.Errorf("releasing %s for the first time: %w", r.App, err)
	}
	return nil
}
