package mesh

import (
	"context"
	"fmt"

	api "istio.io/api/networking/v1alpha3"
	networking "istio.io/client-go/pkg/apis/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/kube"
)

// virtualServices and destinationRules are all that is asked of Istio; the generated clients have it.
type virtualServices interface {
	Create(context.Context, *networking.VirtualService, metav1.CreateOptions) (*networking.VirtualService, error)
}

type destinationRules interface {
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
// hosts are those given and the application's name; without gateways it is for the mesh alone. One that
// exists by now is left as it is.
func (r Routing) CreateVirtualService(ctx context.Context, hosts, gateways []string, record string) error {
	vs := &networking.VirtualService{
		ObjectMeta: r.meta(r.App.Name),
		Spec: api.VirtualService{
			Hosts:    hostsOf(r.App, hosts),
			Gateways: gateways,
			Http: []*api.HTTPRoute{{Route: []*api.HTTPRouteDestination{
				{Destination: &api.Destination{Host: r.App.Primary()}, Weight: 100},
				{Destination: &api.Destination{Host: r.App.Canary()}, Weight: 0},
			}}},
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

// EnsureDestinationRules makes one for each of primary and canary, and names those that were missing; those that exist
// are left as they are.
func (r Routing) EnsureDestinationRules(ctx context.Context) (made []string, err error) {
	for _, host := range []string{r.App.Primary(), r.App.Canary()} {
		rule := &networking.DestinationRule{ObjectMeta: r.meta(host), Spec: api.DestinationRule{Host: host}}
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
