package faults

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serin-cd/serin/e2e/trial"
)

// shape is what an application has beside a Deployment, a Service and a VirtualService of its name.
type shape string

// Shapes of applications.
const (
	plain     shape = ""
	autoscale shape = "autoscaled"
	twoRoutes shape = "two VirtualServices"
)

// shaped are moments of applications of other shapes: those at which what an application has beside is at work.
func shaped() []Moment {
	return []Moment{
		{preparing, 0, autoscale}, {changed, 0, autoscale}, // its two autoscalers
		{shifting, 40, twoRoutes}, {shifted, 60, twoRoutes}, // its two weights
	}
}

// second is the other VirtualService of an application that has two.
const second = "shop-direct"

// hosts are those of the application beside its own.
func (s shape) hosts(app *trial.App) []string {
	if s == twoRoutes {
		return []string{"direct." + app.Host}
	}
	return nil
}

// objects are what the application of a shape has beside.
func (s shape) objects(app *trial.App) string {
	switch s {
	case autoscale:
		return app.Autoscaler(1, 3, "200m")
	case twoRoutes:
		direct := s.hosts(app)[0]
		return fmt.Sprintf(`
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: direct}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: [%s]}]
---`, direct) + route(second, direct, "direct") + route("shop", app.Host, "public")
	}
	return ""
}

// route is a VirtualService that leads a host of a gateway to the application.
func route(name, host, gateway string) string {
	return fmt.Sprintf(`
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: %s}
spec:
  hosts: [%s]
  gateways: [%s]
  http: [{route: [{destination: {host: shop, port: {number: 80}}}]}]
---`, name, host, gateway)
}

// params are those that an application of the shape is released with.
func (s shape) params() map[string]string {
	if s == twoRoutes {
		return map[string]string{"virtual-services": "shop," + second}
	}
	return nil
}

// restored tells what of an application of the shape is not as before the run, when the weight of its first
// VirtualService is 0 and the run is closed.
func (s shape) restored(ctx context.Context, app *trial.App) error {
	switch s {
	case autoscale:
		for _, name := range []string{"shop", "shop-primary"} {
			of := app.Client.AutoscalingV2().HorizontalPodAutoscalers(app.Namespace)
			if _, err := of.Get(ctx, name, metav1.GetOptions{}); err != nil {
				return fmt.Errorf("reading autoscaler %s after the run: %w", name, err)
			}
		}
	case twoRoutes:
		weight, err := app.Share(ctx, second)
		if err != nil {
			return err
		}
		if weight != 0 {
			return fmt.Errorf("VirtualService %s gives the canary %d %% when the run is closed, want 0", second, weight)
		}
	}
	return nil
}
