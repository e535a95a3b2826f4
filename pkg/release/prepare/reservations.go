package prepare

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/policy"
	"github.com/serin-cd/serin/pkg/release"
)

// Reservation is something with which an application is released, but perhaps not as its owner wants. Without advice it
// is only to be known.
type Reservation struct{ Text, Advice string }

// reservations names the policies that hold for the pods of the target or of the primary alone, which serve from the
// first release on, and the VirtualServices that are not shifted.
func reservations(ctx context.Context, r *release.Release, f found) ([]Reservation, error) {
	var all []Reservation
	add := func(advice, format string, args ...any) {
		all = append(all, Reservation{fmt.Sprintf(format, args...), advice})
	}
	lost, gained, err := policy.Differ(ctx, r.Cluster.Objects, r.App.Namespace, f.target, f.copied)
	if err != nil {
		return nil, err
	}
	for _, name := range lost {
		add("let its selector match both", "%s selects pods of %s, and not those of %s", name, r.App.Name,
			r.App.Primary())
	}
	for _, name := range gained {
		add("let its selector match both or neither", "%s selects pods of %s, and not those of %s", name,
			r.App.Primary(), r.App.Name)
	}
	sized, err := policy.Vertical(ctx, r.Cluster.Objects, r.App.Namespace, r.App.Name)
	if err != nil {
		return nil, err
	}
	for _, name := range sized {
		add("make one for these too", "VerticalPodAutoscaler %s sizes pods of %s, and not those of %s", name,
			r.App.Name, r.App.Primary())
	}
	for _, name := range f.unshifted {
		add("name it in virtual-services", "VirtualService %s leads to %s, and none of its callers gets to a canary",
			name, r.App.Name)
	}
	return all, nil
}

// later are the reservations about what came after the first release, which would have been refused or copied there.
func later(ctx context.Context, r *release.Release, f found) ([]Reservation, error) {
	var all []Reservation
	astray, err := r.Services.Astray(ctx, f.target, f.copied)
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(astray)) {
		all = append(all, Reservation{fmt.Sprintf("Service %s selects pods of %s (%s), and not those of %s, which "+
			"serve: it leads to nobody but a canary", name, r.App.Name, labels.Set(astray[name]), r.App.Primary()),
			"let it select by a label that both have, or delete it"})
	}
	if f.target.Annotations[application.BudgetAnnotation] != "" {
		return all, nil
	}
	budget, err := r.Budgets.Find(ctx, f.target, f.copied)
	if err != nil {
		return nil, err
	}
	if name := budget.Name(); name != "" {
		all = append(all, Reservation{fmt.Sprintf("PodDisruptionBudget %s counts pods of %s, and not those of %s, "+
			"which serve", name, r.App.Name, r.App.Primary()),
			fmt.Sprintf("run kubectl annotate deployment %s -n %s %s=%s: the next promotion copies it", r.App.Name,
				r.App.Namespace, application.BudgetAnnotation, name)})
	}
	return all, nil
}

// shared are those about Services that lead past the weights.
func shared(ctx context.Context, r *release.Release, f found) ([]Reservation, error) {
	both, err := r.Services.Common(ctx, f.target, f.copied)
	if err != nil {
		return nil, err
	}
	var all []Reservation
	for _, name := range slices.Sorted(maps.Keys(both)) {
		all = append(all, Reservation{Text: fmt.Sprintf("Service %s selects pods of both %s and %s: its callers reach "+
			"a canary whatever its weight", name, r.App.Name, r.App.Primary())})
	}
	return all, nil
}
