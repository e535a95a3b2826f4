package prepare

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/release"
	"github.com/serin-cd/serin/pkg/task/failure"
)

// rehearse has the API server check all that a first release is going to make, so that one which cannot be completed is
// refused before anything is made. It tells all that stands against it at once.
func rehearse(ctx context.Context, r *release.Release, p Preparation, f found) error {
	var refusals failure.Refusals
	deployments, services, routing := r.Deployments, r.Services, r.Routing
	deployments.Mode, services.Mode, routing.Mode = kube.Rehearsal, kube.Rehearsal, kube.Rehearsal
	if f.primary == nil {
		_, err := deployments.CreatePrimary(ctx, r.App, f.target, f.copied, r.Metadata, r.ID)
		refusals.Add(against(err))
	}
	shape, err := services.Shape(ctx, f.target, int32(p.Port))
	refusals.Add(err)
	for _, name := range []string{r.App.Primary(), r.App.Canary()} {
		if err == nil {
			refusals.Add(against(services.Rehearse(ctx, name, shape)))
		}
	}
	_, err = routing.EnsureDestinationRules(ctx)
	refusals.Add(against(err))
	gateway, unknown := shape.Gateway(int64(p.Port))
	refusals.Add(unknown)
	if f.state == nil {
		refusals.Add(against(routing.CreateVirtualService(ctx, p.Hosts, p.Gateways, gateway, "")))
	}
	if f.whole() {
		fence := r.Fence
		fence.Mode = kube.Rehearsal
		_, _, err := fence.TakeOver(ctx, f.followers)
		refusals.Add(against(err))
	}
	if err := refusals.Err(); err != nil {
		return fmt.Errorf("releasing %s for the first time: %w; nothing was changed", r.App, err)
	}
	return nil
}

// against is a refusal of the API server's, as configuration where it is of what the object says. A webhook that cannot
// rehearse is none.
func against(err error) error {
	if apierrors.IsBadRequest(err) && strings.Contains(err.Error(), "does not support dry run") {
		slog.Warn("not rehearsed", "error", err.Error())
		return nil
	}
	if apierrors.IsInvalid(err) {
		return failure.As(failure.ErrConfig, err)
	}
	return err
}
