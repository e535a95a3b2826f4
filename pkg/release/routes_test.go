package release_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	networking "istio.io/client-go/pkg/apis/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/serin-cd/serin/internal/releasetest"
	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/mesh"
	"github.com/serin-cd/serin/pkg/judge/verdict"
	"github.com/serin-cd/serin/pkg/release"
	"github.com/serin-cd/serin/pkg/release/janitor"
	"github.com/serin-cd/serin/pkg/release/prepare"
	"github.com/serin-cd/serin/pkg/release/record"
	"github.com/serin-cd/serin/pkg/release/rollback"
	"github.com/serin-cd/serin/pkg/release/stage"
	"github.com/serin-cd/serin/pkg/release/weight"
	"github.com/serin-cd/serin/pkg/task/failure"
	"github.com/serin-cd/serin/pkg/task/run"
)

// Two VirtualServices as a team has them: one of another name at a gateway, with a route of its own besides, and one
// for the mesh.
const (
	atGateway = `
metadata: {name: front}
spec:
  hosts: [shop.test]
  gateways: [public]
  http:
  - {name: docs, match: [{uri: {prefix: /docs}}], route: [{destination: {host: docs}}]}
  - {name: app, timeout: 3s, route: [{destination: {host: podinfo, port: {number: 80}}, headers: {request: {set: {a: b}}}}]}
`
	inMesh = `
metadata: {name: podinfo}
spec:
  hosts: [podinfo]
  http:
  - name: beta
    match: [{headers: {x-beta: {exact: "1"}}}]
    route: [{destination: {host: podinfo-primary}}, {destination: {host: podinfo-canary}, weight: 100}]
  - route: [{destination: {host: podinfo-primary}, weight: 100}, {destination: {host: podinfo-canary}}]
`
)

var both = mesh.Selection{VirtualServices: []string{"front", "podinfo"}}

// routed is an application with a Service and both VirtualServices.
func routed(t *testing.T) *releasetest.App {
	t.Helper()
	a := releasetest.New(t, onePod)
	a.ApexService()
	for _, text := range []string{atGateway, inMesh} {
		var vs networking.VirtualService
		must(t, yaml.Unmarshal([]byte(text), &vs))
		_, err := a.Cluster.VirtualServices(
			a.Namespace,
		).Create(
			t.Context(),
			&vs,
			metav1.CreateOptions{FieldManager: "chart"},
		)
		must(t, err)
	}
	return a
}

// selecting is a run that shifts both.
func selecting(t *testing.T, r *release.Release) *release.Release {
	t.Helper()
	must(t, r.Select(both))
	return r
}

// states are both VirtualServices as they are.
func states(t *testing.T, a *releasetest.App) (first, second weight.State) {
	t.Helper()
	all, err := weight.List(context.Background(), a.Cluster.VirtualServices(a.Namespace), a.Namespace)
	must(t, err)
	app := application.Application{Namespace: a.Namespace, Name: "podinfo"}
	first, err = weight.Observe(all.VirtualServices["front"], app, both)
	must(t, err)
	second, err = weight.Observe(all.VirtualServices["podinfo"], app, both)
	must(t, err)
	return first, second
}

// inStep checks after each write that the application is served, and that the second VirtualService gives the canary a
// share only while the record on the first is open.
func inStep(t *testing.T, a *releasetest.App, writes int) *releasetest.Process {
	return &releasetest.Process{Writes: writes, After: func() {
		a.MustBeServed()
		if first, second := states(t, a); second.Weight() > 0 && !first.Record.Open() {
			t.Errorf(
				"the second VirtualService gives the canary %d %%, and the record is %v",
				second.Weight(),
				first.Record,
			)
		}
	}}
}

// TestRoutesTakenOverKilledAnywhere wants a live route to the application's own Service taken over, and nothing else
// touched, by as many tries as it takes.
func TestRoutesTakenOverKilledAnywhere(t *testing.T) {
	everywhere(t, func(t *testing.T, writes int) bool {
		a := routed(t)
		p := inStep(t, a, writes)
		if _, err := a.Prepare(selecting(t, a.Run("killed", p.Through))); (err != nil) != p.Died() {
			t.Fatalf("died %v, but: %v", p.Died(), err)
		}
		_, err := a.Prepare(selecting(t, a.Run("next")))
		must(t, err)
		first, second := states(t, a)
		for _, s := range []weight.State{first, second} {
			if s.Record.Open() || s.Weight() != 0 || s.Splits.Whole() {
				t.Errorf("VirtualService %s: %d %%, record %v", s.VirtualService.Name, s.Weight(), s.Record)
			}
		}
		want, err := yaml.YAMLToJSON([]byte(`
- {destination: {host: podinfo-primary, port: {number: 80}}, headers: {request: {set: {a: b}}}, weight: 100}
- {destination: {host: podinfo-canary, port: {number: 80}}, headers: {request: {set: {a: b}}}}
`))
		must(t, err)
		app := first.VirtualService.Spec.Http[1]
		got, err := yaml.Marshal(app.Route)
		must(t, err)
		if got, err = yaml.YAMLToJSON(got); string(got) != string(want) || app.Timeout.Seconds != 3 {
			t.Errorf("route app became %s (%v), want %s", got, err, want)
		}
		if docs := first.VirtualService.Spec.Http[0].Route; len(docs) != 1 || docs[0].Destination.Host != "docs" {
			t.Errorf("route docs became %v", docs)
		}
		if second.Left.String() != "beta" || second.Splits.String() != "http/1" {
			t.Errorf("shifts %s, leaves %s, want http/1 and beta", second.Splits, second.Left)
		}
		return p.Died()
	})
}

// TestRoutesInStepKilledAnywhere has finish undo, or a run complete, what was killed between two patches.
func TestRoutesInStepKilledAnywhere(t *testing.T) {
	everywhere(t, func(t *testing.T, writes int) bool {
		a := routed(t)
		_, err := a.Prepare(selecting(t, a.Run("first")))
		must(t, err)
		a.Push("2")
		p := inStep(t, a, writes)
		if err := whole(t.Context(), selecting(t, a.Run("killed", p.Through))); (err != nil) != p.Died() {
			t.Fatalf("died %v, but: %v", p.Died(), err)
		}
		by := a.Run("killed") // who knows no parameter goes by the record
		first, _ := states(t, a)
		must(t, by.Select(first.Record.Selection))
		for range 2 {
			_, err := rollback.Run(t.Context(), by, a.ID("killed"), "killed", time.Minute)
			must(t, err)
			rested(t, a)
		}
		if a.Deployment("podinfo-primary").Spec.Template.Spec.Containers[0].Image == releasetest.Image("1") {
			must(t, whole(t.Context(), selecting(t, a.Run("next"))))
		}
		if got := rested(t, a); got != run.Promoted {
			t.Errorf("outcome %q, want %q", got, run.Promoted)
		}
		return p.Died()
	})
}

// rested wants no canary in any route, and returns the outcome that both records have.
func rested(t *testing.T, a *releasetest.App) run.Outcome {
	t.Helper()
	must(t, a.Served(t.Context()))
	first, second := states(t, a)
	if first.Record.Open() || second.Record.Open() || first.Weight()+second.Weight() != 0 {
		t.Errorf("at rest: %d %% and %d %%, %v and %v", first.Weight(), second.Weight(), first.Record, second.Record)
	}
	if n := *a.Deployment("podinfo").Spec.Replicas; n != 0 {
		t.Errorf("the target has %d replicas, want 0", n)
	}
	if beta := second.VirtualService.Spec.Http[0].Route; beta[1].Weight != 100 || beta[0].Weight != 0 {
		t.Errorf("route beta became %v", beta)
	}
	return first.Record.Outcome
}

// shifted is version 2 at 40 % in both.
func shifted(t *testing.T) (*releasetest.App, *release.Release) {
	t.Helper()
	a := routed(t)
	_, err := a.Prepare(selecting(t, a.Run("first")))
	must(t, err)
	a.Push("2")
	r := selecting(t, a.Run("second"))
	_, err = a.Prepare(r)
	must(t, err)
	must(t, stage.Shift(t.Context(), r, 40, time.Minute))
	if first, second := states(t, a); first.Weight() != 40 || second.Weight() != 40 {
		t.Fatalf("%d %% and %d %%, want 40 %% in both", first.Weight(), second.Weight())
	}
	return a, r
}

// edit writes the second VirtualService as somebody else.
func edit(t *testing.T, a *releasetest.App, operations string) {
	t.Helper()
	_, err := a.Cluster.VirtualServices(
		a.Namespace,
	).Patch(
		t.Context(),
		"podinfo",
		types.JSONPatchType,
		[]byte(operations),
		metav1.PatchOptions{FieldManager: "argocd"},
	)
	must(t, err)
}

const hand = `[{"op":"replace","path":"/spec/http/1/route/0/weight","value":50},{"op":"replace","path":"/spec/http/1/route/1/weight","value":50}]`

// TestSecondRouteEditedInAStage ends the stage and names who did it.
func TestSecondRouteEditedInAStage(t *testing.T) {
	for name, do := range map[string]func(*testing.T, *releasetest.App){
		"weights": func(t *testing.T, a *releasetest.App) { edit(t, a, hand) },
		"deleted": func(t *testing.T, a *releasetest.App) {
			must(t, a.Cluster.VirtualServices(a.Namespace).Delete(t.Context(), "podinfo", metav1.DeleteOptions{}))
		},
		"replaced": func(t *testing.T, a *releasetest.App) { edit(t, a, `[{"op":"remove","path":"/metadata/annotations"}]`) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, r := shifted(t)
			v, err := stage.Judge(t.Context(), r, func(ctx context.Context, _ []run.Stage,
				_ func(verdict.Check)) (verdict.Verdict, error) {
				do(t, a)
				<-ctx.Done()
				return verdict.Verdict{}, ctx.Err()
			}, time.Minute)
			if err == nil || v.Code != "route-changed" || !strings.Contains(v.Text, "podinfo") {
				t.Errorf("verdict %s: %s (%v), want route-changed", v.Code, v.Text, err)
			}
			all, err := weight.List(t.Context(), a.Cluster.VirtualServices(a.Namespace), a.Namespace)
			must(t, err)
			for _, vs := range all.VirtualServices {
				s, err := weight.Observe(vs, r.App, both)
				must(t, err)
				if s.Weight() > 0 {
					t.Errorf("VirtualService %s still gives the canary %d %%", vs.Name, s.Weight())
				}
			}
		})
	}
}

// TestSecondRouteEditedBetweenStages refuses to raise.
func TestSecondRouteEditedBetweenStages(t *testing.T) {
	a, r := shifted(t)
	edit(t, a, hand)
	err := stage.Shift(t.Context(), r, 60, time.Minute)
	if err == nil || !strings.Contains(err.Error(),
		"VirtualService podinfo: the route gives the canary 50 %, the run's record says 40: argocd wrote it") {
		t.Errorf("error %v", err)
	}
	if first, second := states(t, a); first.Record.Open() || first.Weight()+second.Weight() != 0 {
		t.Errorf("%d %% and %d %%, want the traffic taken back", first.Weight(), second.Weight())
	}
}

// TestLateRaiseOfTheSecondRoute has the run taken back between its patches of the first and of the second.
func TestLateRaiseOfTheSecondRoute(t *testing.T) {
	a, r := shifted(t)
	late := selecting(t, a.Run("second", releasetest.OnWrite("/virtualservices/podinfo", func() {
		_, err := rollback.Run(t.Context(), r, r.ID, "aborted", time.Minute)
		if err != nil {
			t.Error(err)
		}
	})))
	if err := stage.Shift(t.Context(), late, 60, time.Minute); !errors.Is(err, record.ErrFenced) {
		t.Errorf("error %v, want %v", err, record.ErrFenced)
	}
	if got := rested(t, a); got != run.RolledBack {
		t.Errorf("outcome %q, want %q", got, run.RolledBack)
	}
}

// TestJanitorAndAbortKnowBothRoutes take back what a run has left in both, without its parameters.
func TestJanitorAndAbortKnowBothRoutes(t *testing.T) {
	drain := func(r *release.Release) error {
		r.Drain = func(context.Context) error { return nil }
		return nil
	}
	for name, do := range map[string]func(a *releasetest.App) error{
		"janitor": func(a *releasetest.App) error {
			return janitor.Janitor{Cluster: a.Cluster, Namespace: a.Namespace, Deadline: time.Minute,
				Drain: drain}.Sweep(t.Context())
		},
		"abort": func(a *releasetest.App) error {
			app := application.Application{Namespace: a.Namespace, Name: "podinfo"}
			_, err := rollback.Abort(t.Context(), a.Cluster, app, "bad", time.Minute, drain)
			return err
		},
		"janitor without the first": func(a *releasetest.App) error {
			must(t, a.Cluster.VirtualServices(a.Namespace).Delete(t.Context(), "front", metav1.DeleteOptions{}))
			return janitor.Janitor{Cluster: a.Cluster, Namespace: a.Namespace, Deadline: time.Minute,
				Drain: drain}.Sweep(t.Context())
		},
	} {
		t.Run(name, func(t *testing.T) {
			a, _ := shifted(t)
			must(t, do(a))
			all, err := weight.List(t.Context(), a.Cluster.VirtualServices(a.Namespace), a.Namespace)
			must(t, err)
			for on, rec := range all.Records(application.Application{Namespace: a.Namespace, Name: "podinfo"}) {
				if rec.Open() || rec.Outcome != run.RolledBack {
					t.Errorf("VirtualService %s: %v, want it closed and rolled back", on, rec)
				}
			}
			if n := *a.Deployment("podinfo").Spec.Replicas; n != 0 {
				t.Errorf("the target has %d replicas, want 0", n)
			}
		})
	}
}

// TestRoutesThatAreRefused changes nothing, and says what to do.
func TestRoutesThatAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		selection mesh.Selection
		want      string
	}{
		"a host that another has": {mesh.Selection{}, "no route has both"},
		"missing": {mesh.Selection{VirtualServices: []string{"front", "back"}},
			"reading VirtualService back: there is none in namespace"},
		"first missing": {mesh.Selection{VirtualServices: []string{"back"}},
			"apply it, or correct virtual-services"},
		"no such route": {mesh.Selection{VirtualServices: []string{"front"}, Routes: []string{"docs"}},
			"none of the routes docs has both"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := routed(t)
			edit(t, a, `[{"op":"replace","path":"/spec/http","value":[{"route":[{"destination":{"host":"docs"}}]}]}]`)
			r := a.Run("first")
			must(t, r.Select(c.selection))
			before := a.VirtualService().ResourceVersion
			_, err := a.Prepare(r)
			if failure.Code(err) != failure.ExitConfig || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v (exit %d), want %q", err, failure.Code(err), c.want)
			}
			if a.VirtualService().ResourceVersion != before {
				t.Error("the VirtualService was changed")
			}
		})
	}
}

// TestHostThatAnotherHas is refused where Serin would have to make a VirtualService for it.
func TestHostThatAnotherHas(t *testing.T) {
	a := routed(t)
	must(t, a.Cluster.VirtualServices(a.Namespace).Delete(t.Context(), "podinfo", metav1.DeleteOptions{}))
	p := releasetest.Preparation()
	p.Hosts, p.Gateways = []string{"shop.test"}, []string{a.Namespace + "/public"}
	_, _, err := prepare.Run(t.Context(), a.Run("first"), p)
	if want := "VirtualService front has its host shop.test for gateway " + a.Namespace +
		"/public already: set virtual-services to front"; failure.Code(err) != failure.ExitConfig ||
		!strings.Contains(err.Error(), want) {
		t.Errorf("error %v (exit %d), want %q", err, failure.Code(err), want)
	}
	p.Gateways = nil // another gateway, another route
	_, _, err = prepare.Run(t.Context(), a.Run("first"), p)
	must(t, err)
}
