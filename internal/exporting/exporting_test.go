package exporting_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/serin-cd/serin/internal/apitest"
	"github.com/serin-cd/serin/internal/exporting"
	"github.com/serin-cd/serin/internal/importing"
	"github.com/serin-cd/serin/internal/importing/flagger"
	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/release/handover"
	"github.com/serin-cd/serin/pkg/task/failure"
)

func TestMain(m *testing.M) { apitest.Main(m, apitest.Controllers) }

const (
	service = `{metadata: {name: shop}, spec: {ports: [{name: http, port: 80, targetPort: web, protocol: TCP}]}}`
	route   = `
metadata: {name: shop}
spec:
  hosts: [shop.test, shop]
  gateways: [public, mesh]
  http:
  - name: all
    timeout: 10s
    retries: {attempts: 2, perTryTimeout: 3s, retryOn: connect-failure}
    match: [{uri: {prefix: /}}]
    route: [{destination: {host: shop-primary}, weight: 100}, {destination: {host: shop-canary}, weight: 0}]
`
	rule = `{metadata: {name: shop-primary}, spec: {host: shop-primary, exportTo: ["."], trafficPolicy: {tls: {mode: DISABLE}}}}`
)

func object(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	o := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(text), &o.Object); err != nil {
		t.Fatal(err)
	}
	return o
}

func source(t *testing.T) exporting.Source {
	t.Helper()
	return exporting.Source{
		App: application.Application{Namespace: "production", Name: "shop"},
		Parameters: map[string]string{"app": "shop", "judge": "classic", "interval": "30s", "threshold": "3",
			"success-rate": "99.5", "request-duration": "500", "progress-deadline": "2m",
			"prometheus-url": "http://prometheus:9090", "primary-min-replicas": "3"},
		Weights: []int{10, 30, 70}, Service: object(t, service), Route: object(t, route), Rule: object(t, rule),
		Autoscaler: "HorizontalPodAutoscaler/shop",
	}
}

// TestImportedAgain turns what is written into parameters again: they are those that it came from.
func TestImportedAgain(t *testing.T) {
	s := source(t)
	written, err := exporting.Flagger(s)
	if err != nil {
		t.Fatal(err)
	}
	text, err := yaml.Marshal(written.Canary.Object)
	if err != nil {
		t.Fatal(err)
	}
	documents, err := importing.Read("canary.yaml", strings.NewReader(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	all, err := flagger.Import(documents, "")
	if err != nil || len(all) != 1 {
		t.Fatalf("imported again: %d releases, %v\n%s", len(all), err, text)
	}
	if got := all[0].Plan.Weights; !slices.Equal(got, s.Weights) || all[0].App != s.App {
		t.Errorf("application %s, weights %v, want %s, %v", all[0].App, got, s.App, s.Weights)
	}
	want := map[string]string{"hosts": "shop.test,shop", "gateways": "public,mesh", "port": "80",
		"autoscaler": s.Autoscaler}
	for _, name := range []string{"app", "interval", "threshold", "success-rate", "request-duration",
		"progress-deadline", "prometheus-url", "primary-min-replicas"} {
		want[name] = s.Parameters[name]
	}
	got := map[string]string{}
	for name := range want {
		got[name] = all[0].Parameters[name]
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("parameters (-want +got):\n%s\n%s", diff, text)
	}
	if want := []string{"DestinationRule shop-primary has exportTo, which Flagger takes away",
		"the route loses its name, all"}; !slices.Equal(sorted(written.Notes), want) {
		t.Errorf("notes %q, want %q", written.Notes, want)
	}
}

func sorted(all []string) []string { return slices.Sorted(slices.Values(all)) }

// TestTaken has the API server take the Canary, with no field that Flagger does not know.
func TestTaken(t *testing.T) {
	cluster, err := kube.New(apitest.Config(t))
	if err != nil {
		t.Fatal(err)
	}
	namespace := apitest.Namespace(t)
	changes := map[string]func(*exporting.Source){
		"all":      func(*exporting.Source) {},
		"defaults": func(s *exporting.Source) { s.Parameters, s.Autoscaler, s.Rule = nil, "", nil },
		"metrics": func(s *exporting.Source) {
			s.Parameters["metrics"] = `[{"name":"request-success-rate","min":99},{"name":"errors","max":0.5,"interval":"30s","query":"sum(rate(errors[{{ interval }}]))"}]`
		},
		"a delegate": func(s *exporting.Source) {
			unstructured.RemoveNestedField(s.Route.Object, "spec", "hosts")
			unstructured.RemoveNestedField(s.Route.Object, "spec", "gateways")
		},
	}
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			s := source(t)
			change(&s)
			s.App.Namespace = namespace
			written, err := exporting.Flagger(s)
			if err != nil {
				t.Fatal(err)
			}
			_, err = cluster.Objects(handover.Canaries, namespace).Create(t.Context(), written.Canary,
				metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}, FieldValidation: metav1.FieldValidationStrict})
			if err != nil {
				t.Errorf("%v\n%v", err, written.Canary.Object)
			}
		})
	}
}

func TestRefused(t *testing.T) {
	cases := map[string]struct{ from, to, in, want string }{
		"two ports": {"ports: [", "ports: [{name: admin, port: 81}, ", service,
			"Service shop: it has 2 ports, and Flagger gives it one"},
		"two routes": {"  http:\n", "  http:\n  - route: [{destination: {host: other}}]\n", route,
			"it has 2 http routes"},
		"a fault": {"timeout: 10s", "fault: {delay: {}}", route, "Flagger would take fault of its route away"},
		"tcp":     {"  http:\n", "  tcp: []\n  http:\n", route, "Flagger would take tcp away"},
		"a subset": {"host: shop-primary}", "host: shop-primary, subset: v1}", route,
			"take subset v1 of a destination"},
		"headers": {"weight: 100", "weight: 100, headers: {}", route,
			"Flagger would take headers of a destination away"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s := source(t)
			changed := object(t, strings.Replace(c.in, c.from, c.to, 1))
			if c.in == service {
				s.Service = changed
			} else {
				s.Route = changed
			}
			_, err := exporting.Flagger(s)
			if failure.Code(err) != failure.ExitConfig || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v (exit %d), want %q", err, failure.Code(err), c.want)
			}
		})
	}
}
