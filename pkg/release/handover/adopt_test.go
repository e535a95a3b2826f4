package handover_test

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"

	"github.com/serin-cd/serin/internal/apitest"
	"github.com/serin-cd/serin/internal/releasetest"
	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/cluster/mesh"
	"github.com/serin-cd/serin/pkg/release/handover"
	"github.com/serin-cd/serin/pkg/release/prepare"
	"github.com/serin-cd/serin/pkg/task/failure"
	"github.com/serin-cd/serin/pkg/task/run"
)

func TestMain(m *testing.M) { apitest.Main(m, apitest.Controllers) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// cluster is reached through these transports.
func cluster(t *testing.T, through ...func(http.RoundTripper) http.RoundTripper) *kube.Cluster {
	t.Helper()
	config := rest.CopyConfig(apitest.Config(t))
	for _, wrap := range through {
		config.Wrap(wrap)
	}
	c, err := kube.New(config)
	must(t, err)
	return c
}

func appOf(a *releasetest.App) application.Application {
	return application.Application{Namespace: a.Namespace, Name: "podinfo"}
}

// adopt takes the application over, through these transports.
func adopt(t *testing.T, a *releasetest.App, through ...func(http.RoundTripper) http.RoundTripper) (handover.Plan,
	error) {
	t.Helper()
	p := releasetest.Preparation()
	p.Port = 0
	plan, err := handover.Adopt(t.Context(), cluster(t, through...), appOf(a), mesh.Selection{}, p)
	if err != nil {
		return plan, err
	}
	return plan, plan.Run(t.Context(), func(handover.Step) {})
}

// fromFlagger is an application that Flagger has bootstrapped.
func fromFlagger(t *testing.T, phase string, change func(*unstructured.Unstructured), more ...string) *releasetest.App {
	t.Helper()
	a := releasetest.New(t)
	a.Flagger(phase, change, more...)
	return a
}

// pods are the names of the pods of a Deployment.
func pods(t *testing.T, a *releasetest.App, deployment string) []string {
	t.Helper()
	list, err := a.Client.CoreV1().Pods(a.Namespace).List(t.Context(),
		metav1.ListOptions{LabelSelector: "app=" + deployment})
	must(t, err)
	var names []string
	for _, p := range list.Items {
		names = append(names, p.Name)
	}
	slices.Sort(names)
	return names
}

// wantAdopted is what holds once Serin has an application of Flagger's.
func wantAdopted(t *testing.T, a *releasetest.App) {
	t.Helper()
	a.Want(releasetest.State{Phase: run.Closed, Outcome: run.Initialized, Primary: releasetest.Image("1")})
	for name, labels := range marked(t, a) {
		if labels[application.Label] != "podinfo" {
			t.Errorf("%s has labels %v, want Serin's", name, labels)
		}
	}
}

// marked are the labels of the objects that Flagger has made. That one has an owner is an error.
func marked(t *testing.T, a *releasetest.App) map[string]map[string]string {
	t.Helper()
	all := map[string]map[string]string{}
	for _, of := range []struct {
		kind  schema.GroupVersionResource
		names string
	}{
		{kube.Deployments, "podinfo-primary"}, {kube.Services, "podinfo podinfo-primary podinfo-canary"},
	} {
		for name := range strings.FieldsSeq(of.names) {
			o, err := a.Cluster.Objects(of.kind, a.Namespace).Get(t.Context(), name, metav1.GetOptions{})
			must(t, err)
			if len(o.GetOwnerReferences()) > 0 {
				t.Errorf("%s %s has owners %v, want none", of.kind.Resource, name, o.GetOwnerReferences())
			}
			all[of.kind.Resource+" "+name] = o.GetLabels()
		}
	}
	return all
}

// wantNoCanary wants Flagger's to be gone.
func wantNoCanary(t *testing.T, a *releasetest.App) {
	t.Helper()
	_, err := a.Cluster.Objects(releasetest.Canaries, a.Namespace).Get(t.Context(), "podinfo", metav1.GetOptions{})
	if !apierrors.IsNotFound(err) {
		t.Errorf("reading the Canary: %v, want it gone", err)
	}
}

func TestAdoptFromFlagger(t *testing.T) {
	a := fromFlagger(t, "Succeeded", nil)
	before := pods(t, a, "podinfo-primary")
	_, err := adopt(t, a)
	must(t, err)
	wantAdopted(t, a)
	wantNoCanary(t, a)
	if got := pods(t, a, "podinfo-primary"); !slices.Equal(got, before) {
		t.Errorf("the primary's pods are %v, were %v: want none replaced", got, before)
	}
	if vs := a.VirtualService(); vs.Annotations["flagger.kubernetes.io/original-configuration"] != "" {
		t.Errorf("the VirtualService has annotations %v, want none of Flagger's", vs.Annotations)
	}
	copied, err := a.Client.CoreV1().ConfigMaps(a.Namespace).Get(t.Context(), "settings-primary", metav1.GetOptions{})
	if err != nil || len(copied.OwnerReferences) > 0 {
		t.Errorf("the copied ConfigMap, which the primary uses: %v (%v), want it without an owner", copied, err)
	}

	outcome, err := a.Prepare(a.Run("same"))
	must(t, err)
	if outcome != run.Unchanged {
		t.Errorf("a run of the same: outcome %q, want unchanged", outcome)
	}
	a.Push("2")
	if outcome, err = a.Prepare(a.Run("second")); err != nil || outcome != prepare.Proceed {
		t.Errorf("a run of the next version: outcome %q (%v), want it judged", outcome, err)
	}
	plan, err := adopt(t, a)
	if err != nil || len(plan.Steps) > 0 || !slices.Contains(plan.Notes, "Serin releases it already") {
		t.Errorf("adopted again: %+v (%v), want nothing to do", plan, err)
	}
}

// TestAdoptAfterARejection judges what Flagger has rejected: it must not be what the primary is said to run.
func TestAdoptAfterARejection(t *testing.T) {
	a := fromFlagger(t, "Failed", nil)
	a.Push("2")
	plan, err := adopt(t, a)
	must(t, err)
	wantAdopted(t, a)
	other := func(s handover.Step) bool { return strings.Contains(s.Text, "another revision") }
	if !slices.ContainsFunc(plan.Steps, other) {
		t.Errorf("the plan %+v does not tell that the Deployment holds another revision", plan.Steps)
	}
	if outcome, err := a.Prepare(a.Run("next")); err != nil || outcome != prepare.Proceed {
		t.Errorf("the next run: outcome %q (%v), want it judged", outcome, err)
	}
	if got := a.State().Primary; got != releasetest.Image("1") {
		t.Errorf("the primary runs %s, want what it ran", got)
	}
}

// set changes a Canary before it is made.
func set(value any, path ...string) func(*unstructured.Unstructured) {
	return func(u *unstructured.Unstructured) {
		if err := unstructured.SetNestedField(u.Object, value, path...); err != nil {
			panic(err)
		}
	}
}

func TestAdoptRefuses(t *testing.T) {
	cases := map[string]struct {
		phase  string
		change func(*unstructured.Unstructured)
		then   func(*testing.T, *releasetest.App)
		want   string
	}{
		"an analysis":     {"Progressing", nil, nil, `phase "Progressing", Flagger is at work: wait until`},
		"a promotion":     {"Promoting", nil, nil, `phase "Promoting"`},
		"no phase yet":    {"", nil, nil, `phase ""`},
		"Services' names": {"Succeeded", set("web", "spec", "service", "name"), nil, "its Services are called web"},
		"another mesh":    {"Succeeded", set("linkerd", "spec", "provider"), nil, "provider linkerd, want istio"},
		"Helm would revert": {"Succeeded", func(u *unstructured.Unstructured) {
			u.SetAnnotations(map[string]string{"meta.helm.sh/release-name": "podinfo"})
			set(true, "spec", "revertOnDeletion")(u)
		}, nil, "Helm applies it, with revertOnDeletion"},
		"Flagger reverts": {"Succeeded", func(u *unstructured.Unstructured) {
			u.SetFinalizers([]string{"finalizer.flagger.app"})
		}, func(t *testing.T, a *releasetest.App) {
			must(t, a.Cluster.Objects(releasetest.Canaries, a.Namespace).Delete(t.Context(), "podinfo",
				metav1.DeleteOptions{}))
		}, "it is being deleted"},
		"somebody's primary": {"Succeeded", nil, func(t *testing.T, a *releasetest.App) {
			a.Patch("podinfo-primary", "somebody", `[{"op":"remove","path":"/metadata/ownerReferences"},
				{"op":"remove","path":"/spec/template/metadata/annotations"}]`)
		}, "Deployment podinfo-primary: Serin did not make it"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := fromFlagger(t, c.phase, c.change)
			if c.then != nil {
				c.then(t, a)
			}
			var wrote atomic.Bool // several requests at once
			_, err := adopt(t, a, releasetest.Before(func(r *http.Request) error {
				if releasetest.Writes(r) && r.URL.Query().Get("dryRun") == "" {
					wrote.Store(true)
				}
				return nil
			}))
			if failure.Code(err) != failure.ExitConfig || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v (exit %d), want %q", err, failure.Code(err), c.want)
			}
			if wrote.Load() {
				t.Error("something was changed, want nothing")
			}
		})
	}
}

// TestAdoptWhileFlaggerBegins has a check of Flagger's under way that begins a release right after the suspension.
func TestAdoptWhileFlaggerBegins(t *testing.T) {
	a := fromFlagger(t, "Succeeded", nil)

	_, err := adopt(t, a, after("/canaries/podinfo", func() { a.Phase("Progressing") }))
	if failure.Code(err) != failure.ExitConfig || !strings.Contains(err.Error(), "Flagger had begun a release") {
		t.Errorf("error %v (exit %d), want Flagger's release told", err, failure.Code(err))
	}
	c, err := a.Cluster.Objects(releasetest.Canaries, a.Namespace).Get(t.Context(), "podinfo", metav1.GetOptions{})
	must(t, err)
	if suspended, _, _ := unstructured.NestedBool(c.Object, "spec", "suspend"); suspended {
		t.Error("the Canary stays suspended, want Flagger to go on")
	}
	if d := a.Deployment("podinfo-primary"); len(d.OwnerReferences) != 1 || d.Labels[application.Label] != "" {
		t.Errorf("the primary has owners %v and labels %v, want it Flagger's", d.OwnerReferences, d.Labels)
	}
}

// after calls a function after the first write whose path ends so.
func after(suffix string, do func()) func(http.RoundTripper) http.RoundTripper {
	done := false
	return func(next http.RoundTripper) http.RoundTripper {
		return transport(func(r *http.Request) (*http.Response, error) {
			answer, err := next.RoundTrip(r)
			if !done && releasetest.Writes(r) && strings.HasSuffix(r.URL.Path, suffix) {
				done = true
				do()
			}
			return answer, err
		})
	}
}

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestAdoptKeepsWhatIsApplied has a Canary that would come back: it stays, suspended, and owns nothing any more.
func TestAdoptKeepsWhatIsApplied(t *testing.T) {
	a := fromFlagger(t, "Initialized", func(u *unstructured.Unstructured) {
		u.SetLabels(map[string]string{"kustomize.toolkit.fluxcd.io/name": "shop"})
	})
	plan, err := adopt(t, a)
	must(t, err)
	wantAdopted(t, a)
	canaries := a.Cluster.Objects(releasetest.Canaries, a.Namespace)
	c, err := canaries.Get(t.Context(), "podinfo", metav1.GetOptions{})
	must(t, err)
	if suspended, _, _ := unstructured.NestedBool(c.Object, "spec", "suspend"); !suspended {
		t.Error("the Canary is not suspended")
	}
	flux := func(note string) bool { return strings.HasPrefix(note, "Flux applies Canary podinfo") }
	if !slices.ContainsFunc(plan.Notes, flux) {
		t.Errorf("notes %v, want one about Flux", plan.Notes)
	}
}

// TestAdoptDoesNotRevert has a Canary whose deletion Flagger would undo the application with.
func TestAdoptDoesNotRevert(t *testing.T) {
	a := fromFlagger(t, "Initialized", func(u *unstructured.Unstructured) {
		set(true, "spec", "revertOnDeletion")(u)
		u.SetFinalizers([]string{"finalizer.flagger.app"})
	})
	_, err := adopt(t, a)
	must(t, err)
	wantAdopted(t, a)
	wantNoCanary(t, a)
}

// scaler is the copy that Flagger makes of an autoscaler that has another name than the Deployment.
const scaler = `
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: scaler-primary, OWNED}
spec: {scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: podinfo-primary}, minReplicas: 2, maxReplicas: 7}
`

func TestAdoptWithAutoscaler(t *testing.T) {
	a := releasetest.New(t)
	own := strings.NewReplacer("scaler-primary, OWNED", "scaler", "podinfo-primary", "podinfo", "7", "5")
	a.Make(own.Replace(scaler))
	a.Flagger("Succeeded", set(map[string]any{"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
		"name": "scaler", "primaryScalerReplicas": map[string]any{"minReplicas": int64(2), "maxReplicas": int64(7)}},
		"spec", "autoscalerRef"), scaler)
	_, err := adopt(t, a)
	must(t, err)
	wantAdopted(t, a)
	list, err := a.Client.AutoscalingV2().HorizontalPodAutoscalers(a.Namespace).List(t.Context(), metav1.ListOptions{})
	must(t, err)
	got := map[string]int32{}
	for _, s := range list.Items {
		got[s.Name+" of "+s.Spec.ScaleTargetRef.Name] = s.Spec.MaxReplicas
	}
	want := map[string]int32{"scaler of podinfo": 5, "podinfo-primary of podinfo-primary": 7}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("autoscalers (-want +got):\n%s", diff)
	}
}

// TestAdoptWhatFlaggerHasLeft has a Canary that was deleted by hand, with --cascade=orphan.
func TestAdoptWhatFlaggerHasLeft(t *testing.T) {
	a := fromFlagger(t, "Succeeded", nil)
	orphan := metav1.DeletePropagationOrphan
	must(t, a.Cluster.Objects(releasetest.Canaries, a.Namespace).Delete(t.Context(), "podinfo",
		metav1.DeleteOptions{PropagationPolicy: &orphan}))
	a.Eventually("the Canary is gone", func() bool {
		_, err := a.Cluster.Objects(releasetest.Canaries, a.Namespace).Get(t.Context(), "podinfo", metav1.GetOptions{})
		return apierrors.IsNotFound(err)
	})
	if _, err := a.Prepare(a.Run("early")); failure.Code(err) != failure.ExitConfig {
		t.Errorf("a run before the adoption: %v, want it refused", err)
	}
	_, err := adopt(t, a)
	must(t, err)
	a.Want(releasetest.State{Phase: run.Closed, Outcome: run.Initialized, Primary: releasetest.Image("1")})
	if outcome, err := a.Prepare(a.Run("same")); err != nil || outcome != run.Unchanged {
		t.Errorf("a run of the same: outcome %q (%v), want unchanged", outcome, err)
	}
}

func TestAdoptKilledAnywhere(t *testing.T) {
	releasetest.Everywhere(t, 40, func(t *testing.T, writes int) bool {
		a := fromFlagger(t, "Failed", nil)
		a.Push("2") // which must not get through unjudged
		before := pods(t, a, "podinfo-primary")
		p := &releasetest.Process{Writes: writes, After: a.MustBeServed}
		_, err := adopt(t, a, p.Through)
		if (err != nil) != p.Died() {
			t.Fatalf("died %v, but: %v", p.Died(), err)
		}
		a.MustBeServed()
		if path := firstWrite(t, a); strings.HasSuffix(path, "/deployments/podinfo-primary") {
			t.Errorf("a run now would begin with %s: what Flagger has rejected would serve unjudged", path)
		}
		_, err = adopt(t, a)
		must(t, err)
		wantAdopted(t, a)
		wantNoCanary(t, a)
		if got := pods(t, a, "podinfo-primary"); !slices.Equal(got, before) {
			t.Errorf("the primary's pods are %v, were %v: want none replaced", got, before)
		}
		outcome, err := a.Prepare(a.Run("next"))
		must(t, err)
		if outcome != prepare.Proceed {
			t.Errorf("the next run's outcome %q, want it judged", outcome)
		}
		return p.Died()
	})
}

// firstWrite is the path of the first thing that a run would change now, empty where it is refused before.
func firstWrite(t *testing.T, a *releasetest.App) (path string) {
	t.Helper()
	_, err := a.Prepare(a.Run("early", releasetest.Before(func(r *http.Request) error {
		if !releasetest.Writes(r) || r.URL.Query().Get("dryRun") != "" {
			return nil
		}
		path = r.URL.Path
		return context.Canceled
	})))
	if err == nil {
		t.Error("a run that may change nothing has ended well")
	}
	return path
}

func TestAdoptWhatNobodyReleases(t *testing.T) {
	a := releasetest.New(t, func(d *appsv1.Deployment) { *d.Spec.Replicas = 1 })
	a.ApexService()
	plan, err := adopt(t, a)
	must(t, err)
	want := []string{
		"nothing has to be changed before its first release, which judges nothing, and will:",
		"- make Deployment podinfo-primary with 1 pods, a copy of podinfo",
		"- make Services and DestinationRules podinfo-primary and podinfo-canary",
		"- make VirtualService podinfo, with all traffic to podinfo-primary",
		"- point Service podinfo at the pods of podinfo-primary",
		"- scale Deployment podinfo to 0, once nobody sends to it",
	}
	if diff := cmp.Diff(want, plan.Notes); diff != "" || len(plan.Steps) > 0 {
		t.Errorf("steps %v, notes (-want +got):\n%s", plan.Steps, diff)
	}
	a.First()
}
