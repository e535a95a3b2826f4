package handover_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/serin-cd/serin/internal/releasetest"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/release"
	"github.com/serin-cd/serin/pkg/release/handover"
	"github.com/serin-cd/serin/pkg/release/prepare"
	"github.com/serin-cd/serin/pkg/release/promote"
	"github.com/serin-cd/serin/pkg/release/rollback"
	"github.com/serin-cd/serin/pkg/release/stage"
	"github.com/serin-cd/serin/pkg/task/failure"
	"github.com/serin-cd/serin/pkg/task/run"
)

// way is where an application goes.
type way func(*handover.Ejection, context.Context) (handover.Plan, error)

var (
	plain   way = (*handover.Ejection).Plain
	removed way = (*handover.Ejection).Remove
)

// flagger leaves an application to Flagger, and makes the Canary if there is one.
func flagger(canary *unstructured.Unstructured) way {
	return func(e *handover.Ejection, ctx context.Context) (handover.Plan, error) {
		return e.ToFlagger(ctx, canary)
	}
}

// eject lets an application go, through these transports. Proxies are taken to stop at once.
func eject(t *testing.T, a *releasetest.App, to way,
	through ...func(http.RoundTripper) http.RoundTripper) (handover.Plan, error) {
	t.Helper()
	e, err := handover.Leave(t.Context(), cluster(t, through...), appOf(a), time.Minute)
	if err != nil {
		return handover.Plan{}, err
	}
	e.Drain(func(context.Context, *release.Release) error { return nil })
	plan, err := to(e, t.Context())
	if err != nil {
		return plan, err
	}
	return plan, plan.Run(t.Context(), func(handover.Step) {})
}

// promoted has released version 2.
func promoted(t *testing.T) *releasetest.App {
	t.Helper()
	a := releasetest.New(t)
	r := a.Second()
	must(t, stage.Shift(t.Context(), r, 20, time.Minute))
	_, err := promote.Run(t.Context(), r, time.Minute)
	must(t, err)
	return a
}

// rejected has version 1, and version 2 was taken back.
func rejected(t *testing.T) *releasetest.App {
	t.Helper()
	a := releasetest.New(t)
	r := a.Second()
	_, err := rollback.Run(t.Context(), r, r.ID, "none", time.Minute)
	must(t, err)
	return a
}

// routed is an error unless each host that has a share of the route selects a pod that is ready.
func routed(ctx context.Context, a *releasetest.App) error {
	vs, err := a.Cluster.VirtualServices(a.Namespace).Get(ctx, "podinfo", metav1.GetOptions{})
	if err != nil {
		return err
	}
	for _, d := range vs.Spec.Http[0].Route {
		if d.Weight == 0 && len(vs.Spec.Http[0].Route) > 1 {
			continue
		}
		if err := answers(ctx, a, d.Destination.Host); err != nil {
			return err
		}
	}
	return answers(ctx, a, "podinfo")
}

func answers(ctx context.Context, a *releasetest.App, service string) error {
	s, err := a.Client.CoreV1().Services(a.Namespace).Get(ctx, service, metav1.GetOptions{})
	if err != nil {
		return err
	}
	selected := metav1.FormatLabelSelector(&metav1.LabelSelector{MatchLabels: s.Spec.Selector})
	list, err := a.Client.CoreV1().Pods(a.Namespace).List(ctx, metav1.ListOptions{LabelSelector: selected})
	if err != nil {
		return err
	}
	for _, p := range list.Items {
		if p.DeletionTimestamp == nil && slices.ContainsFunc(p.Status.Conditions, ready) {
			return nil
		}
	}
	return fmt.Errorf("Service %s selects %s: none of %d pods is ready", service, selected, len(list.Items))
}

func ready(c corev1.PodCondition) bool {
	return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
}

// pipelineRun makes a PipelineRun of the application that Tekton has not begun.
func pipelineRun(t *testing.T, a *releasetest.App) {
	t.Helper()
	made := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{
		"pipelineRef": map[string]any{"name": "canary"},
		"params":      []any{map[string]any{"name": "app", "value": "podinfo"}},
	}}}
	made.SetAPIVersion("tekton.dev/v1")
	made.SetKind("PipelineRun")
	made.SetName("waits")
	_, err := a.Cluster.Objects(kube.PipelineRuns, a.Namespace).Create(t.Context(), made, metav1.CreateOptions{})
	must(t, err)
}

// everything is of what Serin may leave something.
var everything = []schema.GroupVersionResource{kube.Deployments, kube.Services, kube.ConfigMaps, kube.Leases, kube.HPAs,
	kube.ScaledObjects, kube.Budgets,
	kube.VirtualServices,
	kube.DestinationRules}

// left are what has a mark of Serin's, and all objects, by KIND NAME.
func left(t *testing.T, a *releasetest.App) (marked, all []string) {
	t.Helper()
	for _, of := range everything {
		list, err := a.Cluster.Objects(of, a.Namespace).List(t.Context(), metav1.ListOptions{})
		must(t, err)
		for _, o := range list.Items {
			name := o.GetKind() + " " + o.GetName()
			all = append(all, name)
			for _, members := range []map[string]string{o.GetLabels(), o.GetAnnotations()} {
				for key := range members {
					if strings.HasPrefix(key, "serin.dev/") {
						marked = append(marked, name+" "+key)
					}
				}
			}
		}
	}
	return marked, all
}

// wantPlain wants an application to be served by its own Deployment, and nothing of Serin's.
func wantPlain(t *testing.T, a *releasetest.App, version string) {
	t.Helper()
	marked, all := left(t, a)
	if len(marked) > 0 {
		t.Errorf("marks of Serin's: %v, want none", marked)
	}
	for _, name := range all {
		if strings.Contains(name, "-primary") || strings.Contains(name, "-canary") || strings.HasPrefix(name, "Lease") {
			t.Errorf("%s is there, want it gone", name)
		}
	}
	d := a.Deployment("podinfo")
	if got := d.Spec.Template.Spec.Containers[0].Image; got != releasetest.Image(version) || *d.Spec.Replicas != 2 ||
		d.Status.ReadyReplicas != 2 {
		t.Errorf("the Deployment has %d of %d pods of %s ready, want 2 of version %s", d.Status.ReadyReplicas,
			*d.Spec.Replicas, got, version)
	}
	route := a.VirtualService().Spec.Http[0].Route
	if len(route) != 1 || route[0].Destination.Host != "podinfo" || a.Apex() != "podinfo" {
		t.Errorf("the route is %v, the Service selects %s, want podinfo alone", route, a.Apex())
	}
	must(t, routed(t.Context(), a))
}

func TestEject(t *testing.T) {
	a := promoted(t)
	_, err := eject(t, a, plain)
	must(t, err)
	wantPlain(t, a, "2")
	plan, err := eject(t, a, plain)
	if err != nil || len(plan.Steps) > 0 || !slices.Equal(plan.Notes, []string{"there is nothing of Serin's"}) {
		t.Errorf("ejected again: %+v (%v), want nothing to do", plan, err)
	}
	if outcome, err := a.Prepare(a.Run("anew")); err != nil || outcome != run.Initialized {
		t.Errorf("released anew: outcome %q (%v), want a first release", outcome, err)
	}
}

// TestEjectAfterARejection gives the Deployment the version that serves, not the one that was taken back.
func TestEjectAfterARejection(t *testing.T) {
	a := rejected(t)
	_, err := eject(t, a, plain)
	must(t, err)
	wantPlain(t, a, "1")
	if got := a.Deployment("podinfo").Spec.Template.Labels["app"]; got != "podinfo" {
		t.Errorf("the Deployment's pods are labelled %q, want podinfo", got)
	}
}

func TestEjectKilledAnywhere(t *testing.T) {
	releasetest.Everywhere(t, 40, func(t *testing.T, writes int) bool {
		a := rejected(t)
		p := &releasetest.Process{Writes: writes, After: func() {
			if err := routed(t.Context(), a); err != nil {
				t.Errorf("not served: %v", err)
			}
		}}
		_, err := eject(t, a, plain, p.Through)
		if (err != nil) != p.Died() {
			t.Fatalf("died %v, but: %v", p.Died(), err)
		}
		must(t, routed(t.Context(), a))
		_, err = eject(t, a, plain)
		must(t, err)
		wantPlain(t, a, "1")
		return p.Died()
	})
}

// TestRunsKeepAwayFromAnEjection has a run begin in the middle of it.
func TestRunsKeepAwayFromAnEjection(t *testing.T) {
	a := promoted(t)
	began := false
	_, err := eject(t, a, plain, after("/deployments/podinfo", func() {
		r := a.PipelineRun("meanwhile")
		_, err := prepare.Acquire(t.Context(), r, prepare.Queue{OnBusy: prepare.Fail})
		if err == nil || !strings.Contains(err.Error(), "/tkn-canary/") {
			t.Errorf("a run that begins meanwhile: %v, want it refused by the Lease", err)
		}
		began = true
	}))
	must(t, err)
	if !began {
		t.Error("no run has tried to begin")
	}
	wantPlain(t, a, "2")
}

func TestEjectRefuses(t *testing.T) {
	cases := map[string]struct {
		then func(*testing.T, *releasetest.App)
		code int
		want string
	}{
		"a run": {func(t *testing.T, a *releasetest.App) {
			a.Push("3")
			_, err := a.Prepare(a.Run("third"))
			must(t, err)
		}, failure.ExitError, "is at work on it (phase preparing, canary weight 0): wait for it, or "},
		"a run that waits": {pipelineRun, failure.ExitError,
			"has not ended: wait for it, or give the traffic back to the primary with tkn canary abort podinfo"},
		"a route to the canary": {func(_ *testing.T, a *releasetest.App) {
			a.Make(`
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: preview}
spec: {hosts: [preview.test], http: [{name: all, route: [{destination: {host: podinfo-canary}}]}]}
`)
		}, failure.ExitConfig, "VirtualService preview: all leads to podinfo-primary or podinfo-canary, which go"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			a := promoted(t)
			c.then(t, a)
			var wrote atomic.Bool // several requests at once
			_, err := eject(t, a, plain, releasetest.Before(func(r *http.Request) error {
				if releasetest.Writes(r) {
					wrote.Store(true)
				}
				return nil
			}))
			if failure.Code(err) != c.code || !strings.Contains(fmt.Sprint(err), c.want) {
				t.Errorf("error %v (exit %d), want %q (exit %d)", err, failure.Code(err), c.want, c.code)
			}
			if wrote.Load() {
				t.Error("something was changed, want nothing")
			}
		})
	}
}

// TestEjectWithCompanions has an autoscaler and a PodDisruptionBudget: those of the primary go, the target's stay.
func TestEjectWithCompanions(t *testing.T) {
	a := releasetest.New(t)
	a.Apply(releasetest.ScaledObject)
	a.KEDA()
	a.Apply(budget)
	a.First()
	_, err := eject(t, a, plain)
	must(t, err)
	wantPlain(t, a, "1")
	so, err := a.Cluster.Objects(kube.ScaledObjects, a.Namespace).Get(t.Context(), "podinfo", metav1.GetOptions{})
	must(t, err)
	if _, paused := so.GetAnnotations()["autoscaling.keda.sh/paused-replicas"]; paused {
		t.Error("KEDA is paused, want it to scale the Deployment")
	}
}

const budget = `
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: podinfo}
spec: {minAvailable: 1, selector: {matchLabels: {app: podinfo}}}
`

// wantFlaggers wants an application as Flagger has it: nothing of Serin's, and all objects of Flagger's names.
func wantFlaggers(t *testing.T, a *releasetest.App) {
	t.Helper()
	marked, all := left(t, a)
	if len(marked) > 0 {
		t.Errorf("marks of Serin's: %v, want none", marked)
	}
	for _, name := range []string{"Deployment podinfo-primary", "Service podinfo", "Service podinfo-primary",
		"Service podinfo-canary", "DestinationRule podinfo-primary", "DestinationRule podinfo-canary",
		"VirtualService podinfo"} {
		if !slices.Contains(all, name) {
			t.Errorf("%s is missing", name)
		}
	}
	target, primary := a.Deployment("podinfo"), a.Deployment("podinfo-primary")
	got := target.Spec.Template.Spec.Containers[0].Image
	if want := primary.Spec.Template.Spec.Containers[0].Image; got != want || *target.Spec.Replicas != 0 ||
		primary.Status.ReadyReplicas != 2 {
		t.Errorf("the target has %d pods of %s, the primary %d ready of %s: want 0 and 2 of the same",
			*target.Spec.Replicas, got, primary.Status.ReadyReplicas, want)
	}
}

func TestEjectToFlagger(t *testing.T) {
	a := promoted(t)
	canary := a.Canary()
	before := pods(t, a, "podinfo-primary")
	_, err := eject(t, a, flagger(canary))
	must(t, err)
	wantFlaggers(t, a)
	if got := pods(t, a, "podinfo-primary"); !slices.Equal(got, before) {
		t.Errorf("the primary's pods are %v, were %v: want none replaced", got, before)
	}
	if _, err := a.Cluster.Objects(releasetest.Canaries, a.Namespace).Get(t.Context(), "podinfo",
		metav1.GetOptions{}); err != nil {
		t.Errorf("the Canary: %v", err)
	}
}

func TestEjectToFlaggerKilledAnywhere(t *testing.T) {
	releasetest.Everywhere(t, 40, func(t *testing.T, writes int) bool {
		a := rejected(t)
		canary := a.Canary()
		p := &releasetest.Process{Writes: writes, After: func() {
			if err := routed(t.Context(), a); err != nil {
				t.Errorf("not served: %v", err)
			}
		}}
		_, err := eject(t, a, flagger(canary), p.Through)
		if (err != nil) != p.Died() {
			t.Fatalf("died %v, but: %v", p.Died(), err)
		}
		_, err = eject(t, a, flagger(canary))
		must(t, err)
		wantFlaggers(t, a)
		if _, err := a.Cluster.Objects(releasetest.Canaries, a.Namespace).Get(t.Context(), "podinfo",
			metav1.GetOptions{}); err != nil {
			t.Errorf("the Canary: %v", err)
		}
		return p.Died()
	})
}

func TestRemove(t *testing.T) {
	a := promoted(t)
	plan, err := eject(t, a, removed)
	must(t, err)
	if len(plan.Notes) != 1 || !strings.HasPrefix(plan.Notes[0], "Deployment podinfo stays, with 0 pods: nobody") {
		t.Errorf("notes %v, want that the Deployment stays", plan.Notes)
	}
	wantRemoved(t, a)
}

func wantRemoved(t *testing.T, a *releasetest.App) {
	t.Helper()
	marked, all := left(t, a)
	all = slices.DeleteFunc(all, func(name string) bool { return name == "ConfigMap kube-root-ca.crt" })
	if want := []string{"Deployment podinfo"}; len(marked) > 0 || !slices.Equal(all, want) {
		t.Errorf("left are %v with marks %v, want %v and none", all, marked, want)
	}
}

func TestRemoveKilledAnywhere(t *testing.T) {
	releasetest.Everywhere(t, 40, func(t *testing.T, writes int) bool {
		a := promoted(t)
		p := &releasetest.Process{Writes: writes}
		_, err := eject(t, a, removed, p.Through)
		if (err != nil) != p.Died() {
			t.Fatalf("died %v, but: %v", p.Died(), err)
		}
		_, err = eject(t, a, removed)
		must(t, err)
		wantRemoved(t, a)
		return p.Died()
	})
}

// TestRemoveAfterTheChart has the Deployment deleted before.
func TestRemoveAfterTheChart(t *testing.T) {
	a := promoted(t)
	a.Delete("podinfo")
	if _, err := eject(t, a, plain); failure.Code(err) != failure.ExitConfig ||
		!strings.Contains(err.Error(), "run tkn canary remove") {
		t.Errorf("ejected without a Deployment: %v, want it refused", err)
	}
	_, err := eject(t, a, removed)
	must(t, err)
	if marked, _ := left(t, a); len(marked) > 0 {
		t.Errorf("left with marks: %v, want nothing", marked)
	}
}
