package weight_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"

	"github.com/serin-cd/serin/internal/apitest"
	"github.com/serin-cd/serin/internal/releasetest"
	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/release/record"
	"github.com/serin-cd/serin/pkg/release/weight"
	"github.com/serin-cd/serin/pkg/task/failure"
	"github.com/serin-cd/serin/pkg/task/parameter"
	"github.com/serin-cd/serin/pkg/task/run"
)

func TestMain(m *testing.M) { apitest.Main(m) }

// routes is a namespace with a VirtualService, as a test reads and writes it beside the store.
type routes struct {
	t         *testing.T
	namespace string
	services  dynamic.ResourceInterface
}

const small = `
metadata: {name: podinfo, annotations: {a: b}}
spec:
  hosts: [podinfo]
  http:
  - route:
    - destination: {host: podinfo-primary}
      weight: 100
    - destination: {host: podinfo-canary}
`

func newRoutes(t *testing.T, manifest string) *routes {
	t.Helper()
	client, err := dynamic.NewForConfig(apitest.Config(t))
	if err != nil {
		t.Fatal(err)
	}
	r := &routes{t: t, namespace: apitest.Namespace(t)}
	r.services = client.Resource(schema.GroupVersionResource{Group: "networking.istio.io", Version: "v1",
		Resource: "virtualservices"}).Namespace(r.namespace)
	object := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(manifest), &object.Object); err != nil {
		t.Fatal(err)
	}
	object.SetAPIVersion("networking.istio.io/v1")
	object.SetKind("VirtualService")
	if _, err := r.services.Create(t.Context(), object, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	return r
}

// store is one that reaches the server through these transports.
func (r *routes) store(through ...func(http.RoundTripper) http.RoundTripper) (weight.Fence, *kube.Cluster) {
	r.t.Helper()
	config := apitest.Config(r.t)
	for _, wrap := range through {
		config.Wrap(wrap)
	}
	cluster, err := kube.New(config)
	if err != nil {
		r.t.Fatal(err)
	}
	return weight.Fence{App: application.Application{Namespace: r.namespace, Name: "podinfo"},
		VirtualServices: cluster.VirtualServices(r.namespace)}, cluster
}

func (r *routes) get() *unstructured.Unstructured {
	r.t.Helper()
	object, err := r.services.Get(r.t.Context(), "podinfo", metav1.GetOptions{})
	if err != nil {
		r.t.Fatal(err)
	}
	return object
}

func (r *routes) patch(operations string) {
	r.t.Helper()
	if _, err := r.services.Patch(r.t.Context(), "podinfo", types.JSONPatchType, []byte(operations),
		metav1.PatchOptions{}); err != nil {
		r.t.Fatal(err)
	}
}

// rest is the object without what a run may change: the record, the weights of the route that it shifts,
// and what the server keeps by itself.
func (r *routes) rest(weights ...string) string {
	r.t.Helper()
	object := r.get()
	for _, field := range []string{"resourceVersion", "generation", "managedFields"} {
		unstructured.RemoveNestedField(object.Object, "metadata", field)
	}
	unstructured.RemoveNestedField(object.Object, "metadata", "annotations", application.RunAnnotation)
	text, err := json.Marshal(object)
	if err != nil {
		r.t.Fatal(err)
	}
	rest := string(text)
	for _, w := range weights {
		rest = strings.ReplaceAll(rest, w, "")
	}
	return rest
}

func id(r *routes, name string) run.ID {
	return run.ID{Namespace: r.namespace, Name: name, UID: "uid-" + name}
}

// whole is a VirtualService with everything that could be lost on the way.
const whole = `
metadata:
  name: podinfo
  labels: {app: podinfo, team: web, app.kubernetes.io/managed-by: Helm}
  annotations: {meta.helm.sh/release-name: podinfo, "a.test/b_c": "~1 / ~0", kubectl.kubernetes.io/last-applied-configuration: "{\"weight\":7}\n"}
  finalizers: [example.test/keep]
spec:
  hosts: [podinfo.test, podinfo, "*.podinfo.test"]
  gateways: [istio-system/public, mesh]
  exportTo: ["."]
  http:
  - name: docs
    match:
    - uri: {prefix: /docs}
      headers: {x-canary: {exact: "insider"}, cookie: {regex: "^(.*?;)?(type=insider)(;.*)?$"}}
      withoutHeaders: {x-no: {}}
    redirect: {uri: /documents, redirectCode: 308}
  - match: [{uri: {exact: /admin}, sourceLabels: {app: admin}}]
    route:
    - destination: {host: admin.tools.svc.cluster.local, port: {number: 8080}}
      weight: 75
    - destination: {host: admin-next.tools.svc.cluster.local, subset: v2}
      weight: 25
    fault: {delay: {percentage: {value: 0.1}, fixedDelay: 5s}}
  - name: primary
    match: [{uri: {prefix: /}, port: 443, queryParams: {v: {exact: "1"}}}]
    route:
    - destination: {host: podinfo-primary, port: {number: 9898}}
      weight: 100
      headers: {request: {set: {x-served-by: primary}, remove: [x-debug]}}
    - headers: {response: {add: {x-served-by: canary}}}
      destination: {host: podinfo-canary.NAMESPACE.svc.cluster.local, port: {number: 9898}}
    timeout: 15.5s
    retries: {attempts: 3, perTryTimeout: 2s, retryOn: "gateway-error,connect-failure", retryRemoteLocalities: true}
    corsPolicy: {allowOrigins: [{exact: "https://example.test"}, {regex: ".*"}], allowMethods: [GET, POST], maxAge: 24h, allowCredentials: false}
    headers: {response: {add: {x-a: "1"}, set: {x-b: ""}}}
    mirror: {host: shadow}
    mirrorPercentage: {value: 12.5}
    rewrite: {uriRegexRewrite: {match: "^/v(\\d+)", rewrite: "/\\1"}}
  - route: [{destination: {host: podinfo-canary}, weight: 100}]
    match: [{headers: {x-canary: {exact: always}}}]
  tcp:
  - match: [{port: 5432}]
    route: [{destination: {host: db}}]
`

func TestWholeRunLeavesTheRestAsItIs(t *testing.T) {
	r := newRoutes(t, whole)
	r.patch(`[{"op":"replace","path":"/spec/http/2/route/1/destination/host","value":"podinfo-canary.` + r.namespace +
		`.svc.cluster.local"}]`)
	t.Cleanup(func() { // the finalizer would keep the namespace
		_, _ = r.services.Patch(context.Background(), "podinfo", types.JSONPatchType,
			[]byte(`[{"op":"remove","path":"/metadata/finalizers"}]`), metav1.PatchOptions{})
	})
	store, cluster := r.store()
	before := r.rest(`,"weight":100`)
	none := func(*record.Record) error { return nil }
	me := id(r, "me")
	steps := []struct {
		name   string
		weight string // in JSON, of primary and canary
		do     func() (weight.State, error)
	}{
		{"open", `100 <nil>`, func() (weight.State,
			error) {
			return store.Open(t.Context(), me, "new", "old", cluster)
		}},
		{"20", `80 20`, func() (weight.State, error) { return store.Shift(t.Context(), me, 20, cluster, none) }},
		{"60", `40 60`, func() (weight.State, error) { return store.Shift(t.Context(), me, 60, cluster, none) }},
		{"0", `100 0`, func() (weight.State, error) { return store.Shift(t.Context(), me, 0, cluster, none) }},
		{"100", `0 100`, func() (weight.State, error) { return store.Shift(t.Context(), me, 100, cluster, none) }},
		{"promoting", `0 100`, func() (weight.State, error) { return store.BeginPromotion(t.Context(), me, cluster) }},
		{"closed", `100 0`, func() (weight.State, error) {
			return store.Close(t.Context(), me, run.Promoted, "every stage passed", cluster)
		}},
		{"at rest", `100 0`, func() (weight.State, error) { return store.Rest(t.Context()) }},
	}
	for _, s := range steps {
		state, err := s.do()
		if err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
		version := r.get().GetResourceVersion()
		if again, err := s.do(); err != nil || r.get().GetResourceVersion() != version {
			t.Errorf("%s: twice is not once: %v, %s", s.name, err, again.Record)
		}
		after := r.get()
		if got, _, _ := unstructured.NestedString(after.Object, "metadata", "annotations",
			application.RunAnnotation); got != state.Record.String() {
			t.Errorf("%s: the annotation is %s, the state says %s", s.name, got, state.Record)
		}
		http, _, _ := unstructured.NestedSlice(after.Object, "spec", "http")
		route := http[2].(map[string]any)["route"].([]any)
		primary, canary := route[0].(map[string]any), route[1].(map[string]any)
		if got := fmt.Sprint(primary["weight"], " ", canary["weight"]); got != s.weight {
			t.Errorf("%s: weights %s, want %s", s.name, got, s.weight)
		}
	}
	if diff := cmp.Diff(before, r.rest(`,"weight":100`, `,"weight":0`)); diff != "" {
		t.Errorf("a run changed something else (-before +after):\n%s", diff)
	}
}

func TestOpenWithoutAnnotations(t *testing.T) {
	r := newRoutes(t, strings.Replace(small, ", annotations: {a: b}", "", 1))
	store, cluster := r.store()
	state, err := store.Open(t.Context(), id(r, "me"), "new", "", cluster)
	if err != nil || state.Record.ID.Name != "me" {
		t.Errorf("record %s (%v), want one of run me", state.Record, err)
	}
}

func TestLostRacesAreRunAgain(t *testing.T) {
	r := newRoutes(t, small)
	bumps := 0
	store, cluster := r.store(releasetest.Before(func(request *http.Request) error {
		if releasetest.Writes(request) && bumps < 3 {
			bumps++
			r.patch(fmt.Sprintf(`[{"op":"add","path":"/metadata/annotations/bump","value":"%d"}]`, bumps))
		}
		return nil
	}))
	if _, err := store.Open(t.Context(), id(r, "me"), "new", "old", cluster); err != nil {
		t.Fatal(err)
	}
	state, err := store.Read(t.Context())
	if err != nil || bumps != 3 || state.VirtualService.Annotations["bump"] != "3" || state.Record.ID.Name != "me" {
		t.Errorf("after %d bumps (%v): annotations %v, want the record beside bump 3", bumps, err,
			state.VirtualService.Annotations)
	}
}

func TestRoutesThatMoveBetweenReadAndWrite(t *testing.T) {
	r := newRoutes(t, small)
	once := sync.OnceFunc(func() {
		r.patch(`[{"op":"add","path":"/spec/http/0","value":{"match":[{"uri":{"prefix":"/docs"}}],"route":[{"destination":{"host":"docs"},"weight":100}]}}]`)
	})
	store, cluster := r.store(releasetest.Before(func(request *http.Request) error {
		if releasetest.Writes(request) {
			once()
		}
		return nil
	}))
	me := id(r, "me")
	if _, err := store.Open(t.Context(), me, "new", "old", cluster); err != nil {
		t.Fatal(err)
	}
	state, err := store.Shift(t.Context(), me, 20, cluster, func(*record.Record) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	http := state.VirtualService.Spec.Http
	if got := fmt.Sprint(http[0].Route[0].Weight, http[1].Route[0].Weight,
		http[1].Route[1].Weight); got != "100 80 20" {
		t.Errorf("weights %s, want 100 on the route that came and 80 20 behind it", got)
	}
}

func TestRefusedPatchIsNotTriedForEver(t *testing.T) {
	r := newRoutes(t, small)
	r.patch(`[{"op":"add","path":"/metadata/annotations/full","value":"` + strings.Repeat("x", 256<<10-20) + `"}]`)
	writes := 0
	store, cluster := r.store(releasetest.Before(func(request *http.Request) error {
		if releasetest.Writes(request) {
			writes++
		}
		return nil
	}))
	_, err := store.Open(t.Context(), id(r, "me"), "new", "old", cluster)
	if err == nil || writes != 1 || !strings.Contains(err.Error(), "writing VirtualService podinfo."+r.namespace) ||
		!strings.Contains(err.Error(), "Too long") {
		t.Errorf("%d writes, error %v, want one and what it was refused for", writes, err)
	}
	if failure.Code(err) != failure.ExitError {
		t.Errorf("exit code %d, want %d", failure.Code(err), failure.ExitError)
	}
}

func TestTwoRunsRaceForTheRecord(t *testing.T) {
	for range 5 {
		r := newRoutes(t, small)
		errs := make(chan error, 2)
		gate := make(chan struct{})
		var reached sync.WaitGroup
		reached.Add(2)
		for _, name := range []string{"a", "b"} {
			var first sync.Once
			store, cluster := r.store(releasetest.Before(func(request *http.Request) error {
				if releasetest.Writes(request) { // both have read that nobody has it
					first.Do(func() { reached.Done(); <-gate })
				}
				return nil
			}))
			go func() {
				_, err := store.Open(t.Context(), id(r, name), "new", "old", cluster)
				errs <- err
			}()
		}
		reached.Wait()
		close(gate)
		lost := errors.Join(<-errs, <-errs)
		holder, busy := record.IsBusy(lost)
		store, _ := r.store()
		state, err := store.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !busy || holder.ID != state.Record.ID || strings.Count(lost.Error(), "has been at it") != 1 {
			t.Errorf("errors %v, record %s, want one run refused in favour of the other", lost, state.Record)
		}
	}
}

func TestLostAnswersHaveNoSecondEffect(t *testing.T) {
	r := newRoutes(t, small)
	store, cluster := r.store(releasetest.Losing())
	me := id(r, "me")
	steps := []func() (weight.State, error){
		func() (weight.State, error) { return store.Open(t.Context(), me, "new", "old", cluster) },
		func() (weight.State, error) {
			return store.Shift(t.Context(), me, 20, cluster, func(*record.Record) error { return nil })
		},
		func() (weight.State, error) { return store.Lower(t.Context(), me, cluster) },
		func() (weight.State, error) {
			return store.Shift(t.Context(), me, 40, cluster, func(*record.Record) error { return nil })
		},
		func() (weight.State, error) { return store.BeginPromotion(t.Context(), me, cluster) },
		func() (weight.State, error) { return store.Close(t.Context(), me, run.Promoted, "done", cluster) },
	}
	for i, do := range steps {
		generation := r.get().GetResourceVersion()
		if _, err := do(); err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
		if r.get().GetResourceVersion() == generation {
			t.Errorf("step %d wrote nothing", i)
		}
	}
	state, err := store.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var weights []parameter.Weight
	for _, s := range state.Record.Stages {
		weights = append(weights, s.Weight)
	}
	if diff := cmp.Diff([]parameter.Weight{20, 0, 40}, weights); diff != "" || state.Record.Outcome != run.Promoted ||
		state.Weight() != 0 {
		t.Errorf("record %s, weight %d (-want +got stages):\n%s", state.Record, state.Weight(), diff)
	}
}

// TestTakingBackWhateverTheRouteIs closes a run over weights and records that no run has written.
func TestTakingBackWhateverTheRouteIs(t *testing.T) {
	weights := func(primary, canary string) string {
		return fmt.Sprintf(`{"op":"add","path":"/spec/http/0/route/0/weight","value":%s},{"op":"add","path":"/spec/http/0/route/1/weight","value":%s}`, primary, canary)
	}
	annotation := func(text string) string {
		value, _ := json.Marshal(text)
		return `{"op":"add","path":"/metadata/annotations/serin.dev~1run","value":` + string(value) + `}`
	}
	promoted := recorded(theirs, run.Closed, 20)
	promoted.Outcome, promoted.Reason = run.Promoted, "because"
	cases := map[string]struct {
		patch string
		busy  bool
		want  run.Outcome // of the record; empty for no record
	}{
		"130 and -5": {patch: weights("-5", "130"), want: run.RolledBack},
		"turned":     {patch: weights("130", "-5"), want: run.RolledBack},
		"70 and 20":  {patch: weights("70", "20"), want: run.RolledBack},
		"0 and 0":    {patch: weights("0", "0"), want: run.RolledBack},
		"no record": {patch: weights("50", "50") +
			`,{"op":"remove","path":"/metadata/annotations/serin.dev~1run"}`, want: run.RolledBack},
		"no record, no traffic": {patch: weights("100", "0") +
			`,{"op":"remove","path":"/metadata/annotations/serin.dev~1run"}`},
		"broken record": {patch: weights("50", "50") + "," + annotation("nonsense"), want: run.RolledBack},
		"another's, ended": {patch: weights("50", "50") + "," + annotation(promoted.String()),
			want: run.Promoted},
		"another's, still going": {patch: weights("50", "50") + "," +
			annotation(recorded(theirs, run.Shifting, 50).String()), busy: true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			r := newRoutes(t, small)
			store, cluster := r.store()
			me := id(r, "me")
			if _, err := store.Open(t.Context(), me, "new", "old", cluster); err != nil {
				t.Fatal(err)
			}
			r.patch("[" + c.patch + "]")
			_, err := store.Close(t.Context(), me, run.RolledBack, "bad", cluster)
			if _, busy := record.IsBusy(err); busy != c.busy || err != nil && !busy {
				t.Fatalf("error %v, want busy: %v", err, c.busy)
			}
			state, err := store.Read(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			route := state.VirtualService.Spec.Http[0].Route
			if got, want := fmt.Sprint(route[0].Weight, route[1].Weight), "100 0"; got != want && !c.busy {
				t.Errorf("weights %s, want %s", got, want)
			}
			if c.busy && state.Weight() != 50 {
				t.Errorf("another run's canary has %d %%, want its 50", state.Weight())
			}
			var outcome run.Outcome
			if state.Record != nil {
				outcome = state.Record.Outcome
			}
			if outcome != c.want {
				t.Errorf("outcome %q, want %q", outcome, c.want)
			}
		})
	}
}

func TestRaisingNeedsTheRouteAsRecorded(t *testing.T) {
	cases := map[string]struct {
		patch, want string
		code        int
	}{
		"edited": {`[{"op":"add","path":"/spec/http/0/route/0/weight","value":45},{"op":"add","path":"/spec/http/0/route/1/weight","value":55}]`, "the route gives the canary 55 %, the run's record says 20: somebody-else wrote it", 1},
		"no shares": {`[{"op":"add","path":"/spec/http/0/route/0/weight","value":70}]`,
			"/spec/http/0/route has weights 70 (primary) and 20 (canary), want 0 to 100 with sum 100", 2},
		"third": {`[{"op":"add","path":"/spec/http/0/route/-","value":{"destination":{"host":"beta"},"weight":5}}]`,
			"has 3 destinations (podinfo-primary, podinfo-canary, beta)", 2},
		"deleted": {`[{"op":"remove","path":"/spec/http"}]`, "no route has both podinfo-primary and podinfo-canary",
			2},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			r := newRoutes(t, small)
			store, cluster := r.store()
			me, none := id(r, "me"), func(*record.Record) error { return nil }
			if _, err := store.Open(t.Context(), me, "new", "old", cluster); err != nil {
				t.Fatal(err)
			}
			if _, err := store.Shift(t.Context(), me, 20, cluster, none); err != nil {
				t.Fatal(err)
			}
			if _, err := r.services.Patch(t.Context(), "podinfo", types.JSONPatchType, []byte(c.patch),
				metav1.PatchOptions{FieldManager: "somebody-else"}); err != nil {
				t.Fatal(err)
			}
			version := r.get().GetResourceVersion()
			_, err := store.Shift(t.Context(), me, 40, cluster, none)
			if err == nil || !strings.Contains(err.Error(), c.want) || failure.Code(err) != c.code {
				t.Errorf("error %v (exit %d), want %q in it (exit %d)", err, failure.Code(err), c.want, c.code)
			}
			if r.get().GetResourceVersion() != version {
				t.Error("the refusal wrote something")
			}
		})
	}
}

func TestMissingVirtualServiceIsConfiguration(t *testing.T) {
	r := newRoutes(t, small)
	store, _ := r.store()
	store.App.Name = "other"
	_, err := store.Read(t.Context())
	if failure.Code(err) != failure.ExitConfig || !strings.Contains(err.Error(), "VirtualService other."+r.namespace) {
		t.Errorf("error %v (exit %d), want it named and exit %d", err, failure.Code(err), failure.ExitConfig)
	}
}

func TestUpdateEndsWithItsContext(t *testing.T) {
	r := newRoutes(t, small)
	store, cluster := r.store(releasetest.Before(func(*http.Request) error { return &unreachable{} }))
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err := store.Open(ctx, id(r, "me"), "new", "old", cluster)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "no route to host") {
		t.Errorf("error %v, want the deadline and what kept it from being met", err)
	}
}

// unreachable is what a dial fails with.
type unreachable struct{}

func (*unreachable) Error() string   { return "no route to host" }
func (*unreachable) Timeout() bool   { return false }
func (*unreachable) Temporary() bool { return true }
