package mesh

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	api "istio.io/api/networking/v1alpha3"
	networking "istio.io/client-go/pkg/apis/networking/v1"

	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/task/failure"
	"github.com/serin-cd/serin/pkg/task/parameter"
)

// Split is one route of a VirtualService in which primary and canary share the traffic, or one that sends all of it to
// the application's own Service and can be made into such a route.
type Split struct {
	route           route
	primary, canary destination
	whole           bool // primary is the application's own Service, and there is no canary
}

type destination struct {
	index  int
	host   string
	subset string
	weight int32 // percent as written; Istio leaves out 0
	field  *int32
}

// Splits are the routes of a VirtualService in which primary and canary share the traffic.
type Splits []Split

// ErrNoSplit is the refusal of a VirtualService without a route that primary and canary can share.
var ErrNoSplit = errors.New("no route to share")

// FindSplits returns the routes of a VirtualService, http, tls or tcp, that a run shifts, and the others that have both
// the primary and the canary, which it leaves.
//
// If names are given, these routes are shifted: those of http routes, or kind and index, such as tcp/0. Else each route
// is that has both, and does not pin a canary: one that gives it 100 % is left if another route does not. If there is
// none, each route is that has the application's own Service as its only destination: TakeOver adds the canary to it.
//
// It refuses, as configuration and as ErrNoSplit, a VirtualService without such a route. It refuses a route that has a
// third destination beside the two.
func FindSplits(vs *networking.VirtualService, app application.Application, names ...string) (shifted, left Splits,
	err error) {
	var both, whole Splits
	var seen []string
	for _, r := range routes(&vs.Spec) {
		split, err := r.split(app)
		named := slices.Contains(names, r.name) && r.name != "" || slices.Contains(names, r.key)
		if err != nil && (named || len(names) == 0) {
			return nil, nil, failure.Configf("reading VirtualService %s: %w", vs.Name, err)
		}
		seen = append(seen, r.hosts()...)
		switch {
		case err != nil || split == nil:
		case len(names) > 0 && !named:
			left = append(left, *split)
		case split.whole && len(names) == 0:
			whole = append(whole, *split)
		default:
			both = append(both, *split)
		}
	}
	shifted, pinned := both.unpinned(len(names) == 0)
	if left = append(left.withBoth(), pinned...); len(shifted) == 0 {
		shifted = whole
	}
	if len(shifted) == 0 {
		return nil, left, failure.As(failure.ErrConfig, refused(vs, app, names, seen))
	}
	for _, s := range shifted {
		if s.whole && s.primary.subset != "" {
			return nil, left, failure.Configf("reading VirtualService %s: %s goes to subset %s of %s, want the whole "+
				"Service: %s and %s have no subsets", vs.Name, s.route.path, s.primary.subset, s.primary.host,
				app.Primary(), app.Canary())
		}
	}
	return shifted, left, nil
}

// unpinned separates the routes that give the canary everything while another does not: who pins a canary, as for
// requests with a header, means it.
func (splits Splits) unpinned(byRule bool) (shifted, pinned Splits) {
	pins := func(s Split) bool { return s.primary.weight == 0 && s.canary.weight == 100 }
	if !byRule || !slices.ContainsFunc(splits, func(s Split) bool { return !pins(s) }) {
		return splits, nil
	}
	for _, s := range splits {
		if pins(s) {
			pinned = append(pinned, s)
		} else {
			shifted = append(shifted, s)
		}
	}
	return shifted, pinned
}

func (splits Splits) withBoth() Splits {
	return slices.DeleteFunc(slices.Clone(splits), func(s Split) bool { return s.whole })
}

// refused says why a VirtualService has no route to shift.
func refused(vs *networking.VirtualService, app application.Application, names, seen []string) error {
	if len(names) > 0 {
		return fmt.Errorf("reading VirtualService %s: %w: none of the routes %s has both %s and %s, or %s alone, as "+
			"destinations (found: %s): correct routes, or add\n%s", vs.Name, ErrNoSplit, strings.Join(names, ", "),
			app.Primary(), app.Canary(), app.Name, orNone(seen), wanted(app))
	}
	for i, r := range vs.Spec.Http {
		if d := r.Delegate; d != nil {
			return fmt.Errorf("reading VirtualService %s: %w: http/%d is delegated to VirtualService %s: set "+
				"virtual-services to %s", vs.Name, ErrNoSplit, i, strings.TrimPrefix(d.Namespace+"/"+d.Name, "/"),
				d.Name)
		}
	}
	return fmt.Errorf("reading VirtualService %s: %w: no route has both %s and %s as destinations (found: %s): add\n%s",
		vs.Name, ErrNoSplit, app.Primary(), app.Canary(), orNone(seen), wanted(app))
}

// Whole says whether a route still sends everything to the application's own Service.
func (splits Splits) Whole() bool {
	return slices.ContainsFunc(splits, func(s Split) bool { return s.whole })
}

// TakeOver is the patch that gives each route to the application's own Service the two destinations that share it from
// then on: the primary with everything, and the canary. Both have what the one destination has, such as its port.
func (splits Splits) TakeOver(app application.Application) []kube.Operation {
	var ops []kube.Operation
	for _, s := range splits {
		if !s.whole {
			continue
		}
		first, second := s.route.path+"/0", s.route.path+"/1"
		suffix := strings.TrimPrefix(s.primary.host, app.Name)
		ops = append(ops, kube.Test(first+"/destination/host", s.primary.host), kube.Copy(first, second),
			kube.Replace(first+"/destination/host", app.Primary()+suffix), kube.Add(first+"/weight", 100),
			kube.Replace(second+"/destination/host", app.Canary()+suffix), kube.Add(second+"/weight", 0))
	}
	return ops
}

// Names are those of the routes as people know them: by name, or kind and index.
func (splits Splits) Names() []string {
	var names []string
	for _, s := range splits {
		names = append(names, s.route.title())
	}
	return names
}

// String is the names in one text.
func (splits Splits) String() string { return orNone(splits.Names()) }

// wanted is the route to add, as YAML.
func wanted(app application.Application) string {
	return fmt.Sprintf("  - route:\n    - destination: {host: %s}\n      weight: 100\n    - destination: {host: "+
		"%s}\n      weight: 0", app.Primary(), app.Canary())
}

func orNone(hosts []string) string {
	if len(hosts) == 0 {
		return "none"
	}
	return strings.Join(hosts, ", ")
}

// Weight is the share of the traffic that goes to the canary: the largest over the splits.
func (splits Splits) Weight() parameter.Weight {
	weight := int32(0)
	for _, s := range splits {
		weight = max(weight, s.canary.weight)
	}
	return parameter.Weight(weight)
}

// Check refuses weights that are no shares: outside 0 to 100, or with another sum than 100, and splits
// that differ. Istio's API server takes any number. Only lowering the canary's share to 0 goes without.
func (splits Splits) Check() error {
	for _, s := range splits {
		p, c := s.primary.weight, s.canary.weight
		if p < 0 || c < 0 || p > 100 || c > 100 || p+c != 100 {
			return failure.Configf("%s has weights %d (primary) and %d (canary), want 0 to 100 with sum 100",
				s.route.path, p, c)
		}
		if c != splits[0].canary.weight {
			return failure.Configf("%s gives the canary %d %%, %s %d %%, want the same in each route",
				splits[0].route.path, splits[0].canary.weight, s.route.path, c)
		}
	}
	return nil
}

// Operations is the patch that gives the canary a weight, and the primary the rest. It
// touches nothing but weights, and holds only while the destinations are where they were read. A route without a canary
// stays as it is.
func (splits Splits) Operations(canary parameter.Weight) []kube.Operation {
	var ops []kube.Operation
	for _, s := range splits.withBoth() {
		for _, d := range []struct {
			destination
			weight int32
		}{{s.primary, 100 - int32(canary)}, {s.canary, int32(canary)}} {
			at := s.route.path + "/" + strconv.Itoa(d.index)
			ops = append(ops, kube.Test(at+"/destination/host", d.host), kube.Add(at+"/weight", d.weight))
		}
	}
	return ops
}

// Give gives the canary a weight, and the primary the rest, in the VirtualService itself that the splits were found in.
func (splits Splits) Give(canary parameter.Weight) {
	for _, s := range splits.withBoth() {
		*s.primary.field, *s.canary.field = 100-int32(canary), int32(canary)
	}
}

// route is what http, tls and tcp routes have in common.
type route struct {
	name         string // of http routes alone, may be empty
	key          string // kind and index
	path         string // JSON pointer of the list of destinations
	destinations []destination
}

func routes(spec *api.VirtualService) []route {
	var all []route
	for i, r := range spec.Http {
		all = append(all, newRoute("http", i, r.Route, func(d *api.HTTPRouteDestination) *int32 { return &d.Weight }))
		all[len(all)-1].name = r.Name
	}
	for i, r := range spec.Tls {
		all = append(all, newRoute("tls", i, r.Route, weightOf))
	}
	for i, r := range spec.Tcp {
		all = append(all, newRoute("tcp", i, r.Route, weightOf))
	}
	return all
}

func weightOf(d *api.RouteDestination) *int32 { return &d.Weight }

type weighted interface {
	GetDestination() *api.Destination
	GetWeight() int32
}

func newRoute[D weighted](protocol string, index int, destinations []D, field func(D) *int32) route {
	r := route{key: fmt.Sprintf("%s/%d", protocol, index), path: fmt.Sprintf("/spec/%s/%d/route", protocol, index)}
	for i, d := range destinations {
		weight := d.GetWeight()
		if len(destinations) == 1 && weight == 0 {
			weight = 100
		}
		to := d.GetDestination()
		r.destinations = append(r.destinations, destination{i, to.GetHost(), to.GetSubset(), weight, field(d)})
	}
	return r
}

func (r route) title() string {
	if r.name != "" {
		return r.name
	}
	return r.key
}

func (r route) hosts() []string {
	var hosts []string
	for _, d := range r.destinations {
		hosts = append(hosts, d.host)
	}
	return hosts
}

// split is nil where the route has neither both destinations nor the application's own Service alone.
func (r route) split(app application.Application) (*Split, error) {
	s := Split{route: r, primary: destination{index: -1}, canary: destination{index: -1}}
	for _, d := range r.destinations {
		switch {
		case app.Host(app.Primary()).Matches(d.host) && s.primary.index < 0:
			s.primary = d
		case app.Host(app.Canary()).Matches(d.host) && s.canary.index < 0:
			s.canary = d
		case app.Host(app.Name).Matches(d.host) && len(r.destinations) == 1:
			d.weight = 100 // a sole destination gets everything, whatever is written
			s.primary, s.whole = d, true
			return &s, nil
		}
	}
	if s.primary.index < 0 || s.canary.index < 0 {
		return nil, nil
	}
	if len(r.destinations) > 2 {
		return nil, fmt.Errorf("%s has %d destinations (%s), want two: %s and %s",
			r.path, len(r.destinations), strings.Join(r.hosts(), ", "), app.Primary(), app.Canary())
	}
	return &s, nil
}
