package mesh

import (
	"fmt"
	"strconv"
	"strings"

	api "istio.io/api/networking/v1alpha3"
	networking "istio.io/client-go/pkg/apis/networking/v1"

	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/task/failure"
	"github.com/serin-cd/serin/pkg/task/parameter"
)

// Split is one route of a VirtualService in which primary and canary share the traffic.
type Split struct {
	path            string // JSON pointer of the list of destinations
	primary, canary destination
}

type destination struct {
	index  int
	host   string
	weight int32 // percent as written; Istio leaves out 0
	field  *int32
}

// Splits are all routes of a VirtualService in which primary and canary share the traffic.
type Splits []Split

// FindSplits returns the splits of a VirtualService: each route, http, tls or tcp, that has both the primary
// and the canary. Other routes are no concern of it. It refuses, as configuration, a VirtualService
// without such a route and one where a third destination stands beside the two.
func FindSplits(vs *networking.VirtualService, app application.Application) (Splits, error) {
	var splits Splits
	var seen []string
	for _, r := range routes(&vs.Spec) {
		split, hosts, err := r.split(app)
		if err != nil {
			return nil, failure.Configf("reading VirtualService %s: %w", vs.Name, err)
		}
		if split != nil {
			splits = append(splits, *split)
		}
		seen = append(seen, hosts...)
	}
	if len(splits) == 0 {
		return nil,
			failure.Configf("reading VirtualService %s: no route has both %s and %s as destinations (found: %s): "+
				"add\n%s",
				vs.Name, app.Primary(), app.Canary(), orNone(seen), wanted(app))
	}
	return splits, nil
}

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
			return failure.Configf("%s has weights %d (primary) and %d (canary), want 0 to 100 with sum 100", s.path, p,
				c)
		}
		if c != splits[0].canary.weight {
			return failure.Configf("%s gives the canary %d %%, %s %d %%, want the same in each route", splits[0].path,
				splits[0].canary.weight, s.path, c)
		}
	}
	return nil
}

// Operations is the patch that gives the canary a weight, and the primary the rest. It
// touches nothing but weights, and holds only while the destinations are where they were read.
func (splits Splits) Operations(canary parameter.Weight) []kube.Operation {
	var ops []kube.Operation
	for _, s := range splits {
		for _, d := range []struct {
			destination
			weight int32
		}{{s.primary, 100 - int32(canary)}, {s.canary, int32(canary)}} {
			at := s.path + "/" + strconv.Itoa(d.index)
			ops = append(ops, kube.Test(at+"/destination/host", d.host), kube.Add(at+"/weight", d.weight))
		}
	}
	return ops
}

// Give gives the canary a weight, and the primary the rest, in the VirtualService itself that the splits were found in.
func (splits Splits) Give(canary parameter.Weight) {
	for _, s := range splits {
		*s.primary.field, *s.canary.field = 100-int32(canary), int32(canary)
	}
}

// route is what http, tls and tcp routes have in common.
type route struct {
	path         string
	destinations []destination
}

func routes(spec *api.VirtualService) []route {
	var all []route
	for i, r := range spec.Http {
		all = append(all, newRoute("http", i, r.Route, func(d *api.HTTPRouteDestination) *int32 { return &d.Weight }))
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
	r := route{path: fmt.Sprintf("/spec/%s/%d/route", protocol, index)}
	for i, d := range destinations {
		weight := d.GetWeight()
		if len(destinations) == 1 && weight == 0 {
			weight = 100
		}
		r.destinations = append(r.destinations, destination{i, d.GetDestination().GetHost(), weight, field(d)})
	}
	return r
}

// split is nil where the route has not both destinations; hosts are those that it has.
func (r route) split(app application.Application) (split *Split, hosts []string, err error) {
	s := Split{path: r.path, primary: destination{index: -1}, canary: destination{index: -1}}
	for _, d := range r.destinations {
		hosts = append(hosts, d.host)
		switch {
		case app.Host(app.Primary()).Matches(d.host) && s.primary.index < 0:
			s.primary = d
		case app.Host(app.Canary()).Matches(d.host) && s.canary.index < 0:
			s.canary = d
		}
	}
	if s.primary.index < 0 || s.canary.index < 0 {
		return nil, hosts, nil
	}
	if len(r.destinations) > 2 {
		return nil, hosts, fmt.Errorf("%s has %d destinations (%s), want two: %s and %s",
			r.path, len(r.destinations), strings.Join(hosts, ", "), app.Primary(), app.Canary())
	}
	return &s, hosts, nil
}
