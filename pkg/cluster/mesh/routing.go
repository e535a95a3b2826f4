package mesh

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	api "istio.io/api/networking/v1alpha3"
	networking "istio.io/client-go/pkg/apis/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/task/failure"
)

// virtualServices and destinationRules are all that is asked of Istio; the generated clients have it.
type virtualServices interface {
	Create(context.Context, *networking.VirtualService, metav1.CreateOptions) (*networking.VirtualService, error)
}

type destinationRules interface {
	List(context.Context, metav1.ListOptions) (*networking.DestinationRuleList, error)
	Create(context.Context, *networking.DestinationRule, metav1.CreateOptions) (*networking.DestinationRule, error)
}

// Routing are an application's VirtualService and DestinationRules.
type Routing struct {
	VirtualServices  virtualServices
	DestinationRules destinationRules
	App              application.Application
	Mode             kube.Mode // whether writes count
}

// CreateVirtualService makes the VirtualService, with all traffic to the primary and a record, if one is given. Its
// hosts are those given and the application's name; without gateways it is for the mesh alone. Gateways need to know
// the port of a Service that has several: those send to the port given, sidecars to the one that was called. One that
// exists by now is left as it is.
func (r Routing) CreateVirtualService(ctx context.Context, hosts, gateways []string, port int64, record string) error {
	vs := &networking.VirtualService{
		ObjectMeta: r.meta(r.App.Name),
		Spec: api.VirtualService{
			Hosts:    hostsOf(r.App, hosts),
			Gateways: gateways,
			Http:     r.routes(gateways, port),
		},
	}
	if record != "" {
		vs.Annotations = map[string]string{application.RunAnnotation: record}
	}
	_, err := r.created(ctx, "VirtualService "+r.App.Name, func(ctx context.Context) error {
		_, err := r.VirtualServices.Create(ctx, vs, r.Mode.Create())
		return err
	})
	return err
}

// routes are the routes of a VirtualService for these gateways; port is 0 for a Service that has only one.
func (r Routing) routes(gateways []string, port int64) []*api.HTTPRoute {
	route := func(port int64) *api.HTTPRoute {
		to := func(host string, weight int32) *api.HTTPRouteDestination {
			d := &api.HTTPRouteDestination{Destination: &api.Destination{Host: host}, Weight: weight}
			if port != 0 {
				d.Destination.Port = &api.PortSelector{Number: uint32(port)}
			}
			return d
		}
		return &api.HTTPRoute{Route: []*api.HTTPRouteDestination{to(r.App.Primary(), 100), to(r.App.Canary(), 0)}}
	}
	if places := placed(r.App.Namespace, gateways); port == 0 || !slices.Contains(places, allSidecars) {
		return []*api.HTTPRoute{route(port)}
	} else if len(places) == 1 {
		return []*api.HTTPRoute{route(0)}
	}
	called := route(0)
	called.Match = []*api.HTTPMatchRequest{{Gateways: []string{allSidecars}}}
	return []*api.HTTPRoute{called, route(port)}
}

// EnsureDestinationRules makes one for each of primary and canary, and names those that were missing; those that exist
// are left as they are. What is made has the traffic policy that holds for the application's own Service by the
// DestinationRules of its namespace: theirs would hide it. It refuses one of their names that is for another host.
func (r Routing) EnsureDestinationRules(ctx context.Context) (made []string, err error) {
	all, err := r.rules(ctx)
	if err != nil {
		return nil, err
	}
	for _, rule := range all {
		if name := rule.Name; (name == r.App.Primary() || name == r.App.Canary()) &&
			!r.App.Host(name).Matches(rule.Spec.Host) {
			return nil, failure.Configf("reading DestinationRule %s: it is for host %s, and the host %s gets one of "+
				"that name: rename it", name, rule.Spec.Host, name)
		}
	}
	held := r.policy(all)
	for _, host := range []string{r.App.Primary(), r.App.Canary()} {
		rule := &networking.DestinationRule{ObjectMeta: r.meta(host), Spec: api.DestinationRule{Host: host}}
		if held != nil {
			rule.Spec.TrafficPolicy, rule.Spec.ExportTo = held.TrafficPolicy, held.ExportTo
			rule.Spec.WorkloadSelector = held.WorkloadSelector
		}
		missing, err := r.created(ctx, "DestinationRule "+host, func(ctx context.Context) error {
			_, err := r.DestinationRules.Create(ctx, rule, r.Mode.Create())
			return err
		})
		if err != nil {
			return made, err
		}
		if missing {
			made = append(made, host)
		}
	}
	return made, nil
}

// rules are the DestinationRules of the namespace, none where they may not be listed.
func (r Routing) rules(ctx context.Context) ([]*networking.DestinationRule, error) {
	all, err := kube.List(ctx, r.DestinationRules, metav1.ListOptions{})
	if apierrors.IsForbidden(err) {
		slog.Warn("not known which DestinationRule holds for the Service: give the account the rule of "+
			"config/rbac.yaml", "error", err.Error())
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing the DestinationRules of %s: %w", r.App.Namespace, err)
	}
	return all.Items, nil
}

// policy is the DestinationRule that holds for the application's own Service, as Istio finds it: that of its host, and
// of several the first with a traffic policy, or else the one whose wildcard is the longest. It is nil where there is
// none.
func (r Routing) policy(all []*networking.DestinationRule) (held *api.DestinationRule) {
	var exact *api.DestinationRule
	longest := 0
	for _, rule := range all {
		host := rule.Spec.Host
		if r.App.Host(r.App.Name).Matches(host) && (exact == nil || exact.TrafficPolicy == nil) {
			exact = &rule.Spec
		}
		suffix, wildcard := strings.CutPrefix(host, "*")
		service := r.App.Name + "." + r.App.Namespace + ".svc." + clusterDomain
		if wildcard && strings.HasSuffix(service, suffix) && len(host) > longest {
			held, longest = &rule.Spec, len(host)
		}
	}
	if exact != nil {
		return exact
	}
	return held
}

// clusterDomain is that of Services in Istio's registry, unless a cluster is set up with another.
const clusterDomain = "cluster.local"

func (r Routing) meta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: name, Labels: map[string]string{application.Label: r.App.Name}}
}

// created says whether there was none.
func (r Routing) created(ctx context.Context, what string, create func(context.Context) error) (bool, error) {
	err := kube.Retry(ctx, create)
	if apierrors.IsAlreadyExists(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("making %s: %w", what, err)
	}
	return true, nil
}
