package prepare

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/cluster/workload"
	"github.com/serin-cd/serin/pkg/release"
	"github.com/serin-cd/serin/pkg/release/record"
	"github.com/serin-cd/serin/pkg/task/failure"
)

// rehearse has the API server check all that the run is going to make besides pods, so that what cannot be made is told
// before anything is changed. After the first release that is the primary's autoscaler alone, if it is missing.
func rehearse(ctx context.Context, r *release.Release, p Preparation, f found) error {
	autoscalers := r.Autoscalers
	autoscalers.Mode = kube.Rehearsal
	unscalable := against(autoscalers.Ensure(ctx, f.scaled, f.copied, nil))
	if f.first() {
		return rehearseFirst(ctx, r, p, f, unscalable)
	}
	if unscalable != nil {
		return fmt.Errorf("preparing %s: %w; nothing was changed", r.App, unscalable)
	}
	return nil
}

// rehearseFirst tells all that stands against a first release at once.
func rehearseFirst(ctx context.Context, r *release.Release, p Preparation, f found, unscalable error) error {
	var refusals failure.Refusals
	deployments, services, routing := r.Deployments, r.Services, r.Routing
	deployments.Mode, services.Mode, routing.Mode = kube.Rehearsal, kube.Rehearsal, kube.Rehearsal
	if f.primary == nil {
		_, err := deployments.CreatePrimary(ctx, r.App, f.target, f.copied, r.Metadata, r.ID)
		refusals.Add(against(err))
	}
	shape, err := services.Shape(ctx, f.target, int32(p.Port))
	refusals.Add(err)
	gateway := int64(0)
	if err == nil {
		for _, name := range []string{r.App.Primary(), r.App.Canary()} {
			refusals.Add(against(services.Rehearse(ctx, name, shape)))
		}
		gateway, err = shape.Gateway(int64(p.Port))
		refusals.Add(err)
	}
	_, err = routing.EnsureDestinationRules(ctx)
	refusals.Add(against(err))
	if f.state == nil {
		refusals.Add(against(routing.CreateVirtualService(ctx, p.Hosts, p.Gateways, gateway, "")))
	}
	refusals.Add(workload.AdmitPods(ctx, r.Cluster.Objects(kube.Pods, r.App.Namespace), f.target))
	refusals.Add(services.AdmitFirst(ctx, f.apex, f.target, f.copied, f.copied.Selector(f.primary)))
	refusals.Add(against(services.RehearseApex(ctx, f.apex, f.copied.Selector(f.primary))))
	if f.state != nil {
		rec, err := record.Open(nil, r.ID, f.target.Revision(), "", r.Cluster.Now())
		if err == nil {
			err = r.Fence.Rehearse(ctx, rec, f.followers)
		}
		refusals.Add(against(err))
	} else {
		refusals.Add(r.Fence.RehearseMade(ctx))
	}
	refusals.Add(against(rehearseRest(ctx, r, f)))
	refusals.Add(unscalable)
	budgets := r.Budgets
	budgets.Mode = kube.Rehearsal
	refusals.Add(against(budgets.Ensure(ctx, f.budget, f.copied, nil)))
	if err := refusals.Err(); err != nil {
		return fmt.Errorf("releasing %s for the first time: %w; nothing was changed", r.App, err)
	}
	return nil
}

// rehearseRest is an error where the primary could not be waited for, or the target not be brought to rest.
func rehearseRest(ctx context.Context, r *release.Release, f found) error {
	deployments, autoscalers := r.Deployments, r.Autoscalers
	deployments.Mode, autoscalers.Mode = kube.Rehearsal, kube.Rehearsal
	if err := deployments.RehearseWait(ctx, r.App.Primary()); err != nil {
		return err
	}
	err := autoscalers.Rest(ctx, f.scaled.Reference(), f.target.Stamp(), r.ID,
		func(context.Context) (bool, error) { return true, nil })
	if err != nil {
		return err
	}
	_, err = deployments.From(f.target).Update(ctx, r.App.Name,
		func(d *workload.Deployment) ([]kube.Operation, error) {
			return append(settledBy(d, r, f), workload.Scale(0)), nil
		})
	return err
}

// against is a refusal of the API server's, as configuration where it is of what the object says, or a policy's or a
// quota's. A webhook that cannot rehearse is none.
func against(err error) error {
	if apierrors.IsBadRequest(err) && strings.Contains(err.Error(), "does not support dry run") {
		slog.Warn("not rehearsed", "error", err.Error())
		return nil
	}
	if apierrors.IsInvalid(err) || refused(err) {
		return failure.As(failure.ErrConfig, err)
	}
	return err
}

// refused says whether a policy, a webhook or a quota has refused an object, with whatever code.
func refused(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return false
	}
	for _, words := range []string{"denied the request", "denied request", "exceeded quota"} {
		if strings.Contains(status.Status().Message, words) {
			return true
		}
	}
	return false
}
