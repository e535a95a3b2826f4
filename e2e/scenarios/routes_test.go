package scenarios

import (
	"context"
	"fmt"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/serin-cd/serin/e2e/load"
	"github.com/serin-cd/serin/e2e/trial"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/task/run"
)

// TestLiveRoutesAreTakenOver has an application that runs already: its Service has two ports, and two VirtualServices
// lead to it. Both are in use from before the first release until after a promotion, and nobody notices.
func TestLiveRoutesAreTakenOver(t *testing.T) {
	p := deploy(t)
	second := "direct." + p.app.Host
	gateways := schema.GroupVersionResource{Group: "networking.istio.io", Version: "v1", Resource: "gateways"}
	for _, patch := range []struct {
		of         schema.GroupVersionResource
		name, text string
	}{
		{gateways, "public", fmt.Sprintf(`[{"op":"add","path":"/spec/servers/0/hosts/-","value":%q}]`, second)},
		{kube.Services, "shop", `[{"op":"add","path":"/spec/ports/-","value":{"name":"admin","port":8081,"targetPort":"http"}}]`},
	} {
		if err := p.app.Patch(t.Context(), patch.of, patch.name, types.JSONPatchType, patch.text); err != nil {
			t.Fatal(err)
		}
	}
	route := func(name, host, service string) string {
		return fmt.Sprintf(`
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: %s}
spec:
  hosts: [%s]
  gateways: [public]
  http:
  - {timeout: 10s, route: [{destination: {host: %s, port: {number: 80}}}]}
---`, name, host, service)
	}
	if err := p.app.Apply(t.Context(), route("shop", p.app.Host, "shop")+
		route("shop-direct", second, "shop."+p.app.Namespace+".svc.cluster.local")); err != nil {
		t.Fatal(err)
	}
	p.eventually("the gateway knows both routes", func(trial.State) bool {
		direct := *p.app
		direct.Host = second
		return p.app.Reached(p.Context()) && direct.Reached(p.Context())
	})
	p.load(40)
	stop := p.direct(second)

	both := map[string]string{"virtual-services": "shop,shop-direct"}
	p.ends(p.start("first", both), run.Initialized, true)
	p.push(trial.V2)
	p.ends(p.start("second", both), run.Promoted, true)
	p.serves(trial.V2)
	p.shares(20, 40, 60)
	p.nothingLost()
	report := stop()
	if report.Total.Failed > 0 || report.Total.Versions[string(trial.V2)].Requests == 0 {
		t.Errorf(
			"through the second VirtualService %d of %d requests failed, by version %v: want none, and some of both",
			report.Total.Failed,
			report.Total.Requests,
			report.Total.Versions,
		)
	}
	direct, err := p.app.Kubectl(t.Context(), "", "get", "virtualservice", "shop-direct", "-o",
		"jsonpath={.spec.http[0].route[*].destination.host} {.spec.http[0].route[*].weight} {.spec.http[0].timeout}")
	if want := fmt.Sprintf("shop-primary.%[1]s.svc.cluster.local shop-canary.%[1]s.svc.cluster.local 100 0 10s",
		p.app.Namespace); err != nil || direct != want {
		t.Errorf("the second VirtualService has %q (%v), want %q", direct, err, want)
	}
}

// direct sends requests for another host.
func (p *play) direct(host string) (stop func() *load.Report) {
	return p.send(load.Options{Host: host, Rate: 40})
}

// send sends requests through the gateway until the scenario ends or they are stopped.
func (p *play) send(o load.Options) (stop func() *load.Report) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(p.Context()))
	p.Cleanup(cancel)
	o.URL = p.app.Sandbox.Gateway
	done := make(chan *load.Report, 1)
	go func() {
		report, err := load.Run(ctx, o)
		if err != nil {
			p.Error(err)
		}
		done <- report
	}()
	return func() *load.Report { cancel(); return <-done }
}
