package prepare

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/serin-cd/serin/pkg/cluster/mesh"
	"github.com/serin-cd/serin/pkg/release"
	"github.com/serin-cd/serin/pkg/release/record"
	"github.com/serin-cd/serin/pkg/release/weight"
	"github.com/serin-cd/serin/pkg/task/failure"
)

// lookAtRoutes reads all VirtualServices of the namespace in one call and finds the application's among them. It
// refuses those that cannot be shifted, and to make one for a host that another has.
func lookAtRoutes(ctx context.Context, r *release.Release, p Preparation, f *found) error {
	selection, virtualServices := r.Fence.Selection, r.Cluster.VirtualServices(r.App.Namespace)
	all, err := weight.List(ctx, virtualServices, r.App.Namespace)
	if apierrors.IsForbidden(err) {
		slog.Warn("not known which other VirtualServices there are: give the account the rule of config/rbac.yaml",
			"error", err.Error())
		all, err = weight.Named(ctx, virtualServices, r.App.Namespace,
			append([]string{selection.First(r.App)}, selection.Others()...))
	}
	if err != nil {
		return err
	}
	first := all.VirtualServices[selection.First(r.App)]
	f.unshifted = unshifted(r, all)
	for on, rec := range all.Records(r.App) {
		if rec.Open() && !rec.Copied(on) && on != selection.First(r.App) {
			return fmt.Errorf("preparing %s: on VirtualService %s, which is not the first of virtual-services: %w",
				r.App, on, &record.BusyError{Holder: *rec})
		}
	}
	if first == nil && selection.Standard(r.App) {
		f.taken = mesh.Taken(all.VirtualServices, r.App, p.Hosts, p.Gateways)
		return nil
	}
	var refusals failure.Refusals
	if first == nil {
		refusals.Add(absent(r, selection.First(r.App)))
	} else {
		state, err := weight.Observe(first, r.App, selection)
		refusals.Add(err)
		refusals.Add(anothers(r, state))
		f.state = &state
	}
	f.followers = map[string]weight.State{}
	for _, name := range selection.Others() {
		vs := all.VirtualServices[name]
		if vs == nil {
			refusals.Add(absent(r, name))
			continue
		}
		state, err := weight.Observe(vs, r.App, selection)
		refusals.Add(err)
		f.followers[name] = state
	}
	return refusals.Err()
}

// unshifted are the VirtualServices that lead to the application and are not selected, in order.
func unshifted(r *release.Release, all weight.Routes) (names []string) {
	selection := r.Fence.Selection
	for _, name := range slices.Sorted(maps.Keys(all.VirtualServices)) {
		if name == selection.First(r.App) || slices.Contains(selection.Others(), name) {
			continue
		}
		if splits, _, err := mesh.FindSplits(all.VirtualServices[name], r.App); err == nil && splits.Whole() {
			names = append(names, name)
		}
	}
	return names
}

// anothers refuses a VirtualService with the record of a run of another application: what undoes a run goes by its
// record, and there is place for one. A record that was made where one was lost tells no revision, and no application.
func anothers(r *release.Release, first weight.State) error {
	rec, name := first.Record, first.VirtualService.Name
	if rec == nil || rec.Revision == "" || rec.Of(name) == r.App.Name {
		return nil
	}
	return failure.Configf("reading VirtualService %s: it has the record of application %s, and has place for one: "+
		"let it delegate to a VirtualService for each application, and name these in virtual-services", name,
		rec.Of(name))
}

func absent(r *release.Release, name string) error {
	return failure.Configf("reading VirtualService %s: there is none in namespace %s: apply it, or correct "+
		"virtual-services", name, r.App.Namespace)
}

// states are those of all the application's VirtualServices that exist.
func (f found) states() []weight.State {
	var all []weight.State
	if f.state != nil {
		all = append(all, *f.state)
	}
	for _, state := range f.followers {
		all = append(all, state)
	}
	return all
}

// whole says whether a route goes to the application's own Service, and has to be taken over.
func (f found) whole() bool {
	for _, state := range f.states() {
		if state.Splits.Whole() {
			return true
		}
	}
	return false
}

// weighted says whether a canary has a share in any of the routes.
func (f found) weighted() bool {
	for _, state := range f.states() {
		if state.Weight() > 0 {
			return true
		}
	}
	return false
}

// takeOver gives the canary a place beside the primary, with nothing of the traffic, in each route that goes to the
// application's own Service. The Services of both must be known to the proxies by then.
func takeOver(ctx context.Context, r *release.Release, f *found) error {
	if !f.whole() {
		return nil
	}
	slog.Info("taking over the routes to the application's own Service", "app", r.App.String())
	state, followers, err := r.Fence.TakeOver(ctx, f.followers)
	if err != nil {
		return err
	}
	f.state, f.followers = &state, followers
	return nil
}

// learn waits until proxies know the Services that were made a moment ago, for as long as they are given to forget one.
func learn(ctx context.Context, p Preparation) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(p.Learn):
		return nil
	}
}

// tell says which routes are shifted, and which are left that have the canary too.
func tell(f found) {
	for _, state := range f.states() {
		slog.Info("routes", "virtualService", state.VirtualService.Name, "shifted", state.Splits.String(), "left",
			state.Left.String())
	}
}

// known is the store with all that was read of the VirtualServices.
func (f found) known(r *release.Release) weight.Fence {
	store := r.Fence.Seen(f.followers)
	if f.state != nil && f.state.Weight() == 0 {
		store = store.From(*f.state).Since(*f.state)
	}
	return store
}
