package prepare

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/cluster/workload"
	"github.com/serin-cd/serin/pkg/release"
)

// rest re-establishes the place of rest: traffic to the primary, and the target at 0 unless a release is due.
func rest(ctx context.Context, r *release.Release, p Preparation, f *found, settle bool) error {
	if err := routing(ctx, r, p, f); err != nil {
		return err
	}
	if err := takeOver(ctx, r, f); err != nil {
		return err
	}
	tell(*f)
	if f.weighted() && !f.record().Open() {
		if _, err := r.Fence.Rest(ctx); err != nil {
			return err
		}
	}
	writer, err := r.Services.Rest(ctx, f.apex, f.target, f.copied.Selector(f.primary), int32(p.Port))
	if err != nil {
		return err
	}
	if writer != "" {
		r.Events.Warningf(ctx, "Service %s pointed at the primary again: %s had changed it", r.App, writer)
	}
	if err := reselect(ctx, r, p, *f); err != nil {
		return err
	}
	if err := r.Autoscalers.Ensure(ctx, f.scaled, f.copied, f.primary); err != nil {
		return fmt.Errorf("preparing %s: %w", r.App, err)
	}
	if !settle {
		return nil
	}
	if f.target.Wanted() == 0 {
		return r.RestAutoscaler(ctx, f.scaled.Reference(), f.target)
	}
	slog.Info("target at work without a run", "deployment", r.App.String(), "replicas", f.target.Wanted(), "writer",
		kube.Writer(f.target, "spec", "replicas"))
	r.Events.Warningf(ctx, "Scaling down %s: %s had scaled it up, and its revision serves already", r.App,
		kube.Writer(f.target, "spec", "replicas"))
	if f.scaled.Note() == f.target.Autoscaler() {
		return r.SettleTarget(ctx, f.target)
	}
	target, err := r.Deployments.From(f.target).Update(ctx, r.App.Name,
		func(d *workload.Deployment) ([]kube.Operation, error) { return mark(d, r, *f), nil })
	if err != nil || target == nil {
		return err
	}
	return r.SettleTarget(ctx, target)
}

// reselect points the canary's Service at the pods of a target that was made anew, which may have another selector. One
// that Serin has known has its stamp, and the selector of then.
func reselect(ctx context.Context, r *release.Release, p Preparation, f found) error {
	if f.target.Stamp() != "" {
		return nil
	}
	shape, err := r.Services.Shape(ctx, f.target, int32(p.Port))
	if err == nil {
		_, err = r.Services.Ensure(ctx, r.App.Canary(), f.target.Spec.Selector.MatchLabels, shape)
	}
	return err
}

// routing makes what is missing of an application that was released before, where its VirtualService is: to ask for the
// DestinationRules at each run would cost two calls.
func routing(ctx context.Context, r *release.Release, p Preparation, f *found) error {
	if f.state != nil {
		return nil
	}
	made, err := r.Routing.EnsureDestinationRules(ctx)
	if err != nil {
		return err
	}
	for _, name := range made {
		r.Events.Warningf(ctx, "DestinationRule %s was missing, and was made again", name)
	}
	shape, err := r.Services.Shape(ctx, f.target, int32(p.Port))
	if err != nil {
		return err
	}
	port, err := shape.Gateway(int64(p.Port))
	if err != nil {
		return err
	}
	if err := r.Routing.CreateVirtualService(ctx, p.Hosts, p.Gateways, port, ""); err != nil {
		return err
	}
	r.Events.Warningf(ctx, "VirtualService %s was missing, and was made again, with all traffic to the primary",
		r.App.Name)
	return nil
}
