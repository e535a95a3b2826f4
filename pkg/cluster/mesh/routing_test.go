package mesh_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	api "istio.io/api/networking/v1alpha3"
	networking "istio.io/client-go/pkg/apis/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/serin-cd/serin/internal/apitest"
	"github.com/serin-cd/serin/internal/releasetest"
	"github.com/serin-cd/serin/pkg/cluster/mesh"
	"github.com/serin-cd/serin/pkg/task/failure"
)

func (p place) routing(changes ...func(*rest.Config)) mesh.Routing {
	cluster := p.cluster(changes...)
	return mesh.Routing{
		VirtualServices:  cluster.VirtualServices(p.app.Namespace),
		DestinationRules: cluster.DestinationRules(p.app.Namespace),
		App:              p.app,
	}
}

func (p place) virtualService() *networking.VirtualService {
	p.t.Helper()
	vs, err := p.cluster().VirtualServices(p.app.Namespace).Get(p.t.Context(), "podinfo", metav1.GetOptions{})
	must(p.t, err)
	return vs
}

func (p place) destinationRule(name string) *networking.DestinationRule {
	p.t.Helper()
	rule, err := p.cluster().DestinationRules(p.app.Namespace).Get(p.t.Context(), name, metav1.GetOptions{})
	must(p.t, err)
	return rule
}

func TestCreateVirtualService(t *testing.T) {
	type names = []string
	cases := map[string]struct {
		hosts, gateways names
		record          string
		want            names // hosts
	}{
		"of the mesh alone":    {nil, nil, "", names{"podinfo"}},
		"behind a gateway":     {names{"a.test"}, names{"public"}, `{"id":"prod/a/1"}`, names{"a.test", "podinfo"}},
		"with its own name":    {names{"podinfo", "podinfo.test"}, nil, "", names{"podinfo", "podinfo.test"}},
		"of all hosts already": {names{"*"}, names{"public"}, "", names{"*"}}, // Istio refuses a name beside *
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t)
			must(t, p.routing().CreateVirtualService(t.Context(), c.hosts, c.gateways, 0, c.record))
			vs := p.virtualService()
			if diff := cmp.Diff([]names{c.want, c.gateways}, []names{vs.Spec.Hosts, vs.Spec.Gateways}); diff != "" {
				t.Errorf("hosts and gateways (-want +got):\n%s", diff)
			}
			var sent []string
			for _, to := range vs.Spec.Http[0].Route {
				sent = append(sent, fmt.Sprint(to.Destination.Host, " ", to.Weight))
			}
			if diff := cmp.Diff(names{"podinfo-primary 100", "podinfo-canary 0"}, sent); diff != "" {
				t.Errorf("destinations (-want +got):\n%s", diff)
			}
			if got, there := vs.Annotations["serin.dev/run"]; got != c.record || there != (c.record != "") {
				t.Errorf("record %q, want %q", got, c.record)
			}
			if writer := vs.ManagedFields[0].Manager; vs.Labels["serin.dev/app"] != "podinfo" || writer != "serin" {
				t.Errorf("labels %v, written by %s, want Serin's label and name", vs.Labels, writer)
			}
		})
	}
}

// TestVirtualServiceThatExists is left as it is, whoever made it.
func TestVirtualServiceThatExists(t *testing.T) {
	p := newPlace(t)
	must(t, p.routing().CreateVirtualService(t.Context(), []string{"podinfo.test"}, nil, 0, "record"))
	timeout := []byte(`[{"op":"add","path":"/spec/http/0/timeout","value":"15s"}]`)
	services := p.cluster().VirtualServices(p.app.Namespace)
	_, err := services.Patch(t.Context(), "podinfo", types.JSONPatchType, timeout, metav1.PatchOptions{})
	must(t, err)
	want := p.virtualService()
	must(
		t,
		p.routing().CreateVirtualService(t.Context(), []string{"other.test"}, []string{"public"}, 0, "another record"),
	)
	if got := p.virtualService(); got.ResourceVersion != want.ResourceVersion {
		t.Errorf("VirtualService %s, want it as it was: %s", &got.Spec, &want.Spec)
	}
}

func TestEnsureDestinationRules(t *testing.T) {
	p := newPlace(t)
	made, err := p.routing().EnsureDestinationRules(t.Context())
	if diff := cmp.Diff([]string{"podinfo-primary", "podinfo-canary"}, made); err != nil || diff != "" {
		t.Errorf("made (%v, -want +got):\n%s", err, diff)
	}
	for _, host := range made {
		rule := p.destinationRule(host)
		if rule.Spec.Host != host || rule.Spec.TrafficPolicy != nil || rule.Labels["serin.dev/app"] != "podinfo" {
			t.Errorf("DestinationRule %s: %s, labels %v, want its host and label alone", host, &rule.Spec, rule.Labels)
		}
	}

	rules := p.cluster().DestinationRules(p.app.Namespace)
	policy := []byte(`{"spec":{"trafficPolicy":{"connectionPool":{"http":{"maxRetries":3}}}}}`)
	_, err = rules.Patch(t.Context(), "podinfo-primary", types.MergePatchType, policy, metav1.PatchOptions{})
	must(t, err)
	must(t, rules.Delete(t.Context(), "podinfo-canary", metav1.DeleteOptions{}))
	made, err = p.routing().EnsureDestinationRules(t.Context())
	if diff := cmp.Diff([]string{"podinfo-canary"}, made); err != nil || diff != "" {
		t.Errorf("one was missing: made (%v, -want +got):\n%s", err, diff)
	}
	kept := p.destinationRule("podinfo-primary").Spec.TrafficPolicy
	if kept.GetConnectionPool().GetHttp().GetMaxRetries() != 3 {
		t.Errorf("the trafficPolicy that somebody wrote is %v, want it kept", kept)
	}
	if made, err = p.routing().EnsureDestinationRules(t.Context()); err != nil || made != nil {
		t.Errorf("none was missing: made %v (%v), want none", made, err)
	}
}

// TestRoutesOfAServiceWithSeveralPorts has gateways name one, and sidecars send to the one that was called.
func TestRoutesOfAServiceWithSeveralPorts(t *testing.T) {
	for name, c := range map[string]struct {
		gateways []string
		want     string
	}{
		"mesh":         {nil, `[{"route":[{"destination":{"host":"podinfo-primary"},"weight":100},{"destination":{"host":"podinfo-canary"}}]}]`},
		"gateway":      {[]string{"public"}, `[{"route":[{"destination":{"host":"podinfo-primary","port":{"number":80}},"weight":100},{"destination":{"host":"podinfo-canary","port":{"number":80}}}]}]`},
		"mesh as well": {[]string{"public", "mesh"}, `[{"match":[{"gateways":["mesh"]}],"route":[{"destination":{"host":"podinfo-primary"},"weight":100},{"destination":{"host":"podinfo-canary"}}]},{"route":[{"destination":{"host":"podinfo-primary","port":{"number":80}},"weight":100},{"destination":{"host":"podinfo-canary","port":{"number":80}}}]}]`},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t)
			must(t, p.routing().CreateVirtualService(t.Context(), nil, c.gateways, 80, ""))
			vs := p.virtualService()
			got, err := json.Marshal(vs.Spec.Http)
			if string(got) != c.want {
				t.Errorf("routes %s (%v), want %s", got, err, c.want)
			}
			if splits, left, err := mesh.FindSplits(vs, p.app); err != nil || len(left) != 0 ||
				len(splits) != len(vs.Spec.Http) {
				t.Errorf("shifts %s, leaves %s (%v)", splits, left, err)
			}
		})
	}
}

// TestPolicyOfTheApplicationIsKept carries over what holds for the application's own Service.
func TestPolicyOfTheApplicationIsKept(t *testing.T) {
	type rules = map[string]int32 // retries by host
	for name, c := range map[string]struct {
		rules rules
		want  int32 // 0: no policy
	}{
		"its host":      {rules{"podinfo": 3, "*": 9, "other": 8}, 3},
		"its full host": {rules{"podinfo.NS.svc.cluster.local": 3, "*.local": 9}, 3},
		"the longest wildcard": {rules{"*": 1, "*.svc.cluster.local": 2, "*.NS.svc.cluster.local": 3,
			"*.else.svc.cluster.local": 9}, 3},
		"others": {rules{"podinfo.else.svc.cluster.local": 9, "podinfo2": 8}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t)
			made := 0
			for host, retries := range c.rules {
				made++
				rule := &networking.DestinationRule{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("rule-", made)}}
				rule.Spec.Host = strings.ReplaceAll(host, "NS", p.app.Namespace)
				rule.Spec.TrafficPolicy = &api.TrafficPolicy{ConnectionPool: &api.ConnectionPoolSettings{
					Http: &api.ConnectionPoolSettings_HTTPSettings{MaxRetries: retries}}}
				_, err := p.cluster().DestinationRules(
					p.app.Namespace,
				).Create(
					t.Context(),
					rule,
					metav1.CreateOptions{},
				)
				must(t, err)
			}
			_, err := p.routing().EnsureDestinationRules(t.Context())
			must(t, err)
			for _, name := range []string{"podinfo-primary", "podinfo-canary"} {
				policy := p.destinationRule(name).Spec.TrafficPolicy
				if got := policy.GetConnectionPool().GetHttp().GetMaxRetries(); got != c.want ||
					(policy == nil) != (c.want == 0) {
					t.Errorf("DestinationRule %s: policy %v, want %d retries", name, policy, c.want)
				}
			}
		})
	}
}

// TestPolicyBesideSubsets is that of the rule that has one, where two rules are for the host.
func TestPolicyBesideSubsets(t *testing.T) {
	p := newPlace(t)
	apitest.Apply(t, p.app.Namespace, []byte(`
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: a-subsets}
spec: {host: podinfo, subsets: [{name: v1, labels: {version: "1"}}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: policy}
spec: {host: podinfo, trafficPolicy: {tls: {mode: DISABLE}}}
`))
	_, err := p.routing().EnsureDestinationRules(t.Context())
	must(t, err)
	if got := p.destinationRule("podinfo-primary").Spec.TrafficPolicy; got.GetTls() == nil {
		t.Errorf("policy %v, want that of the rule that has one", got)
	}
}

// TestDestinationRuleOfAnotherHost has the name that the primary's gets.
func TestDestinationRuleOfAnotherHost(t *testing.T) {
	p := newPlace(t)
	apitest.Apply(t, p.app.Namespace, []byte(`
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: podinfo-canary}
spec: {host: web}
`))
	made, err := p.routing().EnsureDestinationRules(t.Context())
	if want := "reading DestinationRule podinfo-canary: it is for host web"; failure.Code(err) != failure.ExitConfig ||
		!strings.Contains(fmt.Sprint(err), want) || made != nil {
		t.Errorf("made %v, error %v (exit %d), want %s (exit 2)", made, err, failure.Code(err), want)
	}
}

// TestRoutingWhoseAnswersAreLost finds made what it has made itself.
func TestRoutingWhoseAnswersAreLost(t *testing.T) {
	p := newPlace(t)
	r := p.routing(through(releasetest.Losing()))
	must(t, r.CreateVirtualService(t.Context(), nil, nil, 0, "record"))
	_, err := r.EnsureDestinationRules(t.Context())
	must(t, err)
	if got := p.virtualService().Annotations["serin.dev/run"]; got != "record" {
		t.Errorf("record %q, want that of the first try", got)
	}
	for _, host := range []string{"podinfo-primary", "podinfo-canary"} {
		p.destinationRule(host)
	}
}

func TestRoutingThatIsRefused(t *testing.T) {
	p := newPlace(t)
	r := p.routing(nobody)
	err := r.CreateVirtualService(t.Context(), nil, nil, 0, "")
	text := fmt.Sprint(err)
	if !strings.HasPrefix(text, "making VirtualService podinfo: ") || !strings.Contains(text, "forbidden") {
		t.Errorf("error %v, want the VirtualService named, and why", err)
	}
	made, err := r.EnsureDestinationRules(t.Context())
	if !strings.HasPrefix(fmt.Sprint(err), "making DestinationRule podinfo-primary: ") || made != nil {
		t.Errorf("made %v, error %v, want none, and the DestinationRule named", made, err)
	}
}
