package release_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/serin-cd/serin/internal/apitest"
	"github.com/serin-cd/serin/internal/releasetest"
	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/autoscaler"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/judge/verdict"
	"github.com/serin-cd/serin/pkg/release/prepare"
	"github.com/serin-cd/serin/pkg/release/promote"
	"github.com/serin-cd/serin/pkg/release/rollback"
	"github.com/serin-cd/serin/pkg/release/stage"
	"github.com/serin-cd/serin/pkg/task/failure"
	"github.com/serin-cd/serin/pkg/task/run"
)

const (
	hpa    = "HorizontalPodAutoscaler"
	scaled = "ScaledObject"
	pause  = "autoscaling.keda.sh/paused-replicas"
)

var autoscalers = map[string]string{hpa: releasetest.HPA, scaled: releasetest.ScaledObject}

// members are the names of an autoscaler's bounds.
var members = map[string][2]string{hpa: {"minReplicas", "maxReplicas"}, scaled: {"minReplicaCount", "maxReplicaCount"}}

// rescale changes the bounds of the target's autoscaler.
func rescale(a *releasetest.App, kind string, least, most int) {
	a.PatchAutoscaler(kind, "podinfo", fmt.Sprintf(`{"spec":{%q:%d,%q:%d}}`, members[kind][0], least, members[kind][1],
		most))
}

// wantAsleep wants the target at rest, and its autoscaler too.
func wantAsleep(t *testing.T, a *releasetest.App, kind string) {
	t.Helper()
	if n := *a.Deployment("podinfo").Spec.Replicas; n != 0 {
		t.Errorf("the target has %d replicas, want it at rest", n)
	}
	if kind == scaled && a.Autoscaler(scaled, "podinfo").GetAnnotations()[pause] != "0" {
		t.Error("KEDA is not paused, want it paused at 0")
	}
}

// TestAutoscaledRelease releases an application that is scaled: first, well, badly, and after the bounds have changed.
func TestAutoscaledRelease(t *testing.T) {
	for kind, text := range autoscalers {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			a := releasetest.New(t)
			a.Apply(text)
			a.KEDA()
			a.First()
			wantAsleep(t, a, kind)
			primary := a.Autoscaler(kind, "podinfo-primary")
			if primary == nil || a.Bounds(kind, "podinfo-primary") != "2-5" {
				t.Fatalf("the primary's autoscaler is %v, want one of 2 to 5 pods", primary)
			}
			owner := primary.GetOwnerReferences()
			if len(owner) != 1 || owner[0].UID != a.Deployment("podinfo-primary").UID {
				t.Errorf("owners %v, want the primary alone", owner)
			}
			if text := fmt.Sprint(primary.Object["spec"]); strings.Contains(strings.ReplaceAll(text, "podinfo-primary",
				""), "podinfo") || !strings.Contains(text, "workload") {
				t.Errorf("the primary's autoscaler has spec %s, want the target named nowhere", text)
			}
			if l := primary.GetLabels(); l["team"] != "web" || l[application.Label] != "podinfo" ||
				primary.GetAnnotations()[pause] != "" {
				t.Errorf("labels %v, annotations %v, want team and Serin's label, and no pause", l,
					primary.GetAnnotations())
			}

			rescale(a, kind, 3, 8)
			a.Push("2")
			bad := a.Run("bad")
			_, err := a.Prepare(bad)
			must(t, err)
			if n := *a.Deployment("podinfo").Spec.Replicas; n != 3 {
				t.Errorf("the canary has %d replicas, want the 3 that are the least by now", n)
			}
			must(t, stage.Shift(t.Context(), bad, 20, time.Minute))
			_, err = rollback.Run(t.Context(), bad, bad.ID, "bad", time.Minute)
			must(t, err)
			wantAsleep(t, a, kind)
			if got := a.Bounds(kind, "podinfo-primary"); got != "2-5" {
				t.Errorf("after a rollback the primary's bounds are %s, want 2-5 still", got)
			}

			a.Push("3")
			good := a.Run("good")
			must(t, whole(t.Context(), good))
			wantAsleep(t, a, kind)
			if got := a.Bounds(kind, "podinfo-primary"); got != "3-8" {
				t.Errorf("after a promotion the primary's bounds are %s, want 3-8", got)
			}
			before := version(a, kind)
			_, err = promote.Run(t.Context(), good, time.Minute)
			must(t, err)
			if _, err = a.Prepare(a.Run("again")); err != nil || version(a, kind) != before {
				t.Errorf("a second time: %v, versions %s, want them as they were, %s", err, version(a, kind), before)
			}

			a.DeleteAutoscaler(kind, "podinfo")
			a.Push("4")
			must(t, whole(t.Context(), a.Run("without")))
			if a.Autoscaler(kind, "podinfo-primary") != nil {
				t.Error("the primary has an autoscaler, want none: the target has none any more")
			}
			a.Want(releasetest.State{Phase: run.Closed, Outcome: run.Promoted, Stages: 2,
				Primary: releasetest.Image("4")})
		})
	}
}

// version is that of both autoscalers.
func version(a *releasetest.App, kind string) string {
	return a.Autoscaler(kind, "podinfo").GetResourceVersion() + " " +
		a.Autoscaler(kind, "podinfo-primary").GetResourceVersion()
}

// TestAutoscalerAddedLater gives the primary its own at the next run, before the canary starts, and so it does where
// the kind changes.
func TestAutoscalerAddedLater(t *testing.T) {
	a := releasetest.New(t)
	a.First()
	a.Apply(releasetest.HPA)
	outcome, err := a.Prepare(a.Run("same"))
	if err != nil || outcome != run.Unchanged || a.Bounds(hpa, "podinfo-primary") != "2-5" {
		t.Errorf("outcome %q (%v), the primary's bounds %q, want it unchanged, and 2-5", outcome, err,
			a.Bounds(hpa, "podinfo-primary"))
	}
	a.DeleteAutoscaler(hpa, "podinfo")
	a.Apply(releasetest.ScaledObject)
	a.KEDA()
	a.Push("2")
	r := a.Run("other kind")
	_, err = a.Prepare(r)
	must(t, err)
	if a.Autoscaler(hpa, "podinfo-primary") != nil || a.Bounds(scaled, "podinfo-primary") != "2-5" {
		t.Error("the primary keeps its HorizontalPodAutoscaler, or has no ScaledObject, want the one for the other")
	}
	_, err = rollback.Run(t.Context(), r, r.ID, "bad", time.Minute)
	must(t, err)
	wantAsleep(t, a, scaled)
}

// TestPrimaryMadeAgain loses the primary: the autoscaler that it owns goes with it sooner or later.
func TestPrimaryMadeAgain(t *testing.T) {
	a := releasetest.New(t)
	a.Apply(releasetest.HPA)
	a.First()
	a.Patch("podinfo", "kubectl", `[{"op":"replace","path":"/spec/replicas","value":2}]`)
	a.Eventually("the target is up", func() bool { return a.Deployment("podinfo").Status.ReadyReplicas == 2 })
	a.Delete("podinfo-primary")
	_, err := a.Prepare(a.Run("again"))
	must(t, err)
	uid := a.Deployment("podinfo-primary").UID
	a.Eventually("the new primary has an autoscaler", func() bool {
		now := a.Autoscaler(hpa, "podinfo-primary")
		return now != nil && now.GetOwnerReferences()[0].UID == uid
	})
}

// TestAutoscalerLeftAlone sets autoscaler to none after a release with one: what Serin made goes at the promotion, and
// KEDA, which it had paused, works again.
func TestAutoscalerLeftAlone(t *testing.T) {
	a := releasetest.New(t)
	a.Apply(releasetest.ScaledObject)
	a.First()
	a.Push("2")
	r := a.Run("second")
	p := releasetest.Preparation()
	p.Autoscaler.Autoscaler = "none"
	_, _, err := prepare.Run(t.Context(), r, p)
	must(t, err)
	if _, there := a.Autoscaler(scaled, "podinfo").GetAnnotations()[pause]; there {
		t.Error("KEDA is paused, want it as the user had it")
	}
	must(t, stage.Shift(t.Context(), r, 20, time.Minute))
	_, err = promote.Run(t.Context(), r, time.Minute)
	must(t, err)
	if a.Autoscaler(scaled, "podinfo-primary") != nil {
		t.Error("the primary has Serin's ScaledObject, want none")
	}
}

// TestBoundsOfThePrimary takes its bounds from parameters.
func TestBoundsOfThePrimary(t *testing.T) {
	a := releasetest.New(t)
	a.Apply(releasetest.ScaledObject)
	r := a.Run("first")
	r.Autoscalers.Bounds.Min, r.Autoscalers.Bounds.Max = 4, 40
	_, err := a.Prepare(r)
	must(t, err)
	if got := a.Bounds(scaled, "podinfo-primary"); got != "4-40" {
		t.Errorf("bounds %s, want 4-40", got)
	}
}

// TestWithoutKEDA plays a cluster that does not know its kinds.
func TestWithoutKEDA(t *testing.T) {
	a := releasetest.New(t)
	a.Apply(releasetest.HPA)
	absent := releasetest.Before(func(r *http.Request) error {
		r.URL.Path = strings.Replace(r.URL.Path, "/keda.sh/", "/absent.keda.sh/", 1)
		return nil
	})
	_, err := a.Prepare(a.Run("first", absent))
	must(t, err)
	a.Push("2")
	must(t, whole(t.Context(), a.Run("second", absent)))
	if got := a.Bounds(hpa, "podinfo-primary"); got != "2-5" {
		t.Errorf("the primary's bounds are %q, want 2-5", got)
	}
}

// writes are those of a run to target and ScaledObject, in order.
type writes struct {
	mu  sync.Mutex
	all []string
}

func (w *writes) through() func(http.RoundTripper) http.RoundTripper {
	return releasetest.Before(func(r *http.Request) error {
		_, name, _ := strings.Cut(r.URL.Path, "/namespaces/")
		_, name, _ = strings.Cut(name, "/")
		if releasetest.Writes(r) && r.URL.Query().Get("dryRun") == "" && (name == "deployments/podinfo" ||
			name == "scaledobjects/podinfo" || name == "scaledobjects/podinfo-primary" || name == "scaledobjects") {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.all = append(w.all, r.Method+" "+name)
		}
		return nil
	})
}

// TestOrderOfWrites wants KEDA paused before the target goes, and unpaused before it comes, each under its stamp.
func TestOrderOfWrites(t *testing.T) {
	a := releasetest.New(t)
	a.Apply(releasetest.ScaledObject)
	var first, second writes
	_, err := a.Prepare(a.Run("first", first.through()))
	must(t, err)
	want := []string{"POST scaledobjects", // the primary's
		"PATCH deployments/podinfo", // stamp
		"PATCH scaledobjects/podinfo", "PATCH deployments/podinfo"}
	if diff := cmp.Diff(want, first.all); diff != "" {
		t.Errorf("the first release's writes (-want +got):\n%s", diff)
	}
	a.Push("2")
	must(t, whole(t.Context(), a.Run("second", second.through())))
	want = []string{"PATCH deployments/podinfo", // stamp
		"PATCH scaledobjects/podinfo", "PATCH deployments/podinfo", // up
		"PATCH scaledobjects/podinfo", "PATCH deployments/podinfo"} // down
	if diff := cmp.Diff(want, second.all); diff != "" {
		t.Errorf("the second release's writes (-want +got):\n%s", diff)
	}
}

// TestLatePause has a run settle late, when the next has the target: its canary stays.
func TestLatePause(t *testing.T) {
	a := releasetest.New(t)
	a.Apply(releasetest.ScaledObject)
	a.KEDA()
	a.First()
	a.Push("2")
	late := a.Run("late")
	_, err := a.Prepare(late)
	must(t, err)
	late.Drain = func(context.Context) error {
		must(t, late.Close(t.Context(), "bad", "bad"))
		a.Push("3")
		_, err := a.Prepare(a.Run("next"))
		return err
	}
	must(t, late.Settle(t.Context(), late.ID))
	if n := *a.Deployment("podinfo").Spec.Replicas; n != 2 {
		t.Errorf("the next run's canary has %d replicas, want 2", n)
	}
	if _, there := a.Autoscaler(scaled, "podinfo").GetAnnotations()[pause]; there {
		t.Error("KEDA is paused, want it at work for the next run")
	}
}

// snapshot is all that a refusal must leave as it was.
func snapshot(t *testing.T, a *releasetest.App) map[string]any {
	t.Helper()
	all := map[string]any{}
	for _, kind := range everything {
		list, err := a.Cluster.Objects(kind, a.Namespace).List(t.Context(), metav1.ListOptions{})
		must(t, err)
		for _, o := range list.Items {
			unstructured.RemoveNestedField(o.Object, "metadata", "managedFields")
			all[kind.Resource+"/"+o.GetName()] = o.Object
		}
	}
	return all
}

var everything = []schema.GroupVersionResource{kube.Deployments, kube.Services, kube.HPAs, kube.ScaledObjects,
	kube.Budgets, kube.Leases, kube.ConfigMaps, kube.Events}

// TestAutoscalersThatAreRefused leaves everything as it was.
func TestAutoscalersThatAreRefused(t *testing.T) {
	other := func(text, from, to string) string { return strings.ReplaceAll(text, from, to) }
	cases := map[string]struct {
		make   []string
		choice autoscaler.Choice
		bounds autoscaler.Bounds
		want   string
	}{
		"two": {make: []string{releasetest.HPA, releasetest.ScaledObject},
			want: "HorizontalPodAutoscaler/podinfo and ScaledObject/podinfo scale it, want one"},
		"named, but not there": {choice: "HorizontalPodAutoscaler/podinfo",
			want: "reading autoscaler HorizontalPodAutoscaler/podinfo: there is none in namespace"},
		"named, but of another": {make: []string{other(releasetest.HPA, "name: podinfo}\n  min", "name: web}\n  min")},
			choice: "HorizontalPodAutoscaler/podinfo",
			want:   "it scales Deployment web, want one that scales Deployment podinfo"},
		"a foreign one of the name": {make: []string{releasetest.HPA, other(releasetest.HPA, "metadata: {name: podinfo",
			"metadata: {name: podinfo-primary")}, choice: "HorizontalPodAutoscaler/podinfo",
			want: "reading HorizontalPodAutoscaler/podinfo-primary: Serin did not make it"},
		"a foreign one of the primary": {make: []string{releasetest.ScaledObject, other(other(releasetest.HPA,
			"metadata: {name: podinfo", "metadata: {name: mine"), "name: podinfo}\n  min",
			"name: podinfo-primary}\n  min")},
			want: "reading HorizontalPodAutoscaler/mine: Serin did not make it"},
		"paused by the user": {make: []string{other(releasetest.ScaledObject, "{name: podinfo, labels",
			`{name: podinfo, annotations: {autoscaling.keda.sh/paused-replicas: "3"}, labels`)},
			want: "it is paused at 3 pods (autoscaling.keda.sh/paused-replicas)"},
		"paused as it is": {make: []string{other(releasetest.ScaledObject, "{name: podinfo, labels",
			`{name: podinfo, annotations: {autoscaling.keda.sh/paused: "true"}, labels`)},
			want: "it is paused (autoscaling.keda.sh/paused), and the primary's would not be"},
		"bounds the wrong way": {make: []string{releasetest.HPA}, bounds: autoscaler.Bounds{Min: 9},
			want: "at least 9 and at most 5 pods (primary-min-replicas 9, primary-max-replicas not set"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := releasetest.New(t)
			for _, text := range c.make {
				a.Apply(text)
			}
			before := snapshot(t, a)
			r, p := a.Run("run"), releasetest.Preparation()
			p.Autoscaler.Autoscaler, r.Autoscalers.Bounds = c.choice, c.bounds
			_, _, err := prepare.Run(t.Context(), r, p)
			if failure.Code(err) != failure.ExitConfig || !strings.Contains(fmt.Sprint(err), c.want) {
				t.Errorf("error %v (exit %d), want %s (exit %d)", err, failure.Code(err), c.want, failure.ExitConfig)
			}
			if diff := cmp.Diff(before, snapshot(t, a)); diff != "" {
				t.Errorf("what there is has changed (-before +after):\n%s", diff)
			}
		})
	}
}

// TestAutoscalersThatAreNot finds the one among those that are of others.
func TestAutoscalersThatAreNot(t *testing.T) {
	a := releasetest.New(t)
	a.Apply(releasetest.ScaledObject)
	uid := a.Autoscaler(scaled, "podinfo").GetUID()
	a.Apply(strings.ReplaceAll(releasetest.HPA, "metadata: {name: podinfo", fmt.Sprintf(
		"metadata: {name: keda-hpa-podinfo, ownerReferences: [{apiVersion: keda.sh/v1alpha1, kind: ScaledObject, "+
			"name: podinfo, uid: %s}]", uid)))
	a.Apply(strings.NewReplacer("metadata: {name: podinfo", "metadata: {name: web",
		"apps/v1, kind: Deployment", "apps/v1, kind: StatefulSet").Replace(releasetest.HPA))
	a.Apply(strings.NewReplacer("metadata: {name: podinfo", "metadata: {name: other",
		"apps/v1, kind: Deployment", "example.com/v1, kind: Deployment").Replace(releasetest.HPA))
	a.First()
	if a.Bounds(scaled, "podinfo-primary") != "2-5" || a.Autoscaler(hpa, "podinfo-primary") != nil {
		t.Error("the primary has no ScaledObject, or another autoscaler, want a copy of the one that scales the target")
	}
}

// TestRightsOfAnEarlierRole says which are missing.
func TestRightsOfAnEarlierRole(t *testing.T) {
	a := releasetest.New(t)
	before := snapshot(t, a)
	r := a.Run("run", func(next http.RoundTripper) http.RoundTripper {
		return impersonating{next, "system:serviceaccount:" + a.Namespace + ":serin"}
	})
	reader := a.Run("reader")
	r.Deployments, r.Services, r.Cluster = reader.Deployments, reader.Services, reader.Cluster
	_, err := a.Prepare(r)
	if failure.Code(err) != failure.ExitError || !strings.Contains(fmt.Sprint(err),
		"give the account the rules of config/rbac.yaml for horizontalpodautoscalers and scaledobjects") {
		t.Errorf("error %v (exit %d), want the rules named (exit %d)", err, failure.Code(err), failure.ExitError)
	}
	if diff := cmp.Diff(before, snapshot(t, a)); diff != "" {
		t.Errorf("what there is has changed (-before +after):\n%s", diff)
	}
}

// impersonating acts as an account that has no rights.
type impersonating struct {
	http.RoundTripper
	user string
}

func (i impersonating) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Impersonate-User", i.user)
	return i.RoundTripper.RoundTrip(r)
}

// TestTargetScaledUpMeanwhile has an autoscaler ask for more pods of the canary while it starts and while it is judged.
func TestTargetScaledUpMeanwhile(t *testing.T) {
	a := releasetest.New(t)
	a.First()
	a.Push("2")
	scale := func(pods int) {
		a.Patch("podinfo", "horizontal-pod-autoscaler",
			fmt.Sprintf(`[{"op":"replace","path":"/spec/replicas","value":%d}]`, pods))
	}
	a.Node.Image(releasetest.Image("2"), apitest.Unready)
	var scaled sync.WaitGroup
	scaled.Go(func() {
		a.Eventually("the canary has pods", func() bool { return a.Deployment("podinfo").Status.Replicas == 2 })
		scale(3)
		a.Node.Image(releasetest.Image("2"), apitest.Ready)
	})
	r := a.Run("second")
	_, err := a.Prepare(r)
	must(t, err)
	scaled.Wait()
	must(t, stage.Shift(t.Context(), r, 20, time.Minute))
	v, err := stage.Judge(t.Context(), r, func(_ context.Context, stages []run.Stage,
		_ func(verdict.Check)) (verdict.Verdict, error) {
		scale(5)
		a.Eventually("the canary is whole", func() bool {
			return a.Deployment("podinfo").Status.AvailableReplicas == 5
		})
		return verdict.Verdict{Decision: verdict.Pass, Stages: stages}, nil
	}, 2*time.Second)
	if err != nil || v.Decision != verdict.Pass {
		t.Errorf("verdict %s (%v), want %s", v.Decision, err, verdict.Pass)
	}
	scale(6)
	must(t, stage.Shift(t.Context(), r, 40, time.Minute))
	scale(7)
	_, err = promote.Run(t.Context(), r, time.Minute)
	must(t, err)
	a.Want(releasetest.State{Phase: run.Closed, Outcome: run.Promoted, Stages: 2, Primary: releasetest.Image("2")})
}

// TestRoleSuffices releases an application that is scaled, with the rights of config/rbac.yaml alone.
func TestRoleSuffices(t *testing.T) {
	for kind, text := range autoscalers {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			a := releasetest.New(t)
			a.Apply(text)
			budget(t, a, "podinfo", byApp)
			as := func(next http.RoundTripper) http.RoundTripper {
				return impersonating{next, "system:serviceaccount:" + a.Namespace + ":serin"}
			}
			a.Install("../../config/rbac.yaml", 3)
			apitest.Eventually(t, func(ctx context.Context) error { // the server learns of rights a moment later
				_, err := a.Run("reader", as).Target(ctx)
				return err
			})
			_, err := a.Prepare(a.Run("first", as))
			must(t, err)
			rescale(a, kind, 3, 8)
			a.Push("2")
			must(t, whole(t.Context(), a.Run("second", as)))
			a.DeleteAutoscaler(kind, "podinfo")
			must(t, a.Client.PolicyV1().PodDisruptionBudgets(a.Namespace).Delete(t.Context(), "podinfo",
				metav1.DeleteOptions{}))
			a.Push("3")
			must(t, whole(t.Context(), a.Run("third", as)))
			if a.Autoscaler(kind, "podinfo-primary") != nil || copied(t, a) != nil {
				t.Error("the primary has an autoscaler or a PodDisruptionBudget, want both deleted")
			}
		})
	}
}

// TestCallsOfAScaledRelease counts what an autoscaler costs the API server in a release, its finish included.
func TestCallsOfAScaledRelease(t *testing.T) {
	calls := func(text string) int {
		a := releasetest.New(t)
		if text != "" {
			a.Apply(text)
		}
		a.First()
		a.Push("2")
		var made atomic.Int32
		r := a.Run("second", releasetest.Before(func(*http.Request) error { made.Add(1); return nil }))
		must(t, whole(t.Context(), r))
		_, err := rollback.Run(t.Context(), r, r.ID, "none", time.Minute)
		must(t, err)
		must(t, rollback.Settled(t.Context(), r))
		return int(made.Load())
	}
	plain := calls("")
	for kind, text := range autoscalers {
		if more := calls(text) - plain; more > 10 {
			t.Errorf("a release with a %s makes %d calls more than the %d without, want at most 10", kind, more, plain)
		} else {
			t.Logf("%s: %d calls more than %d", kind, more, plain)
		}
	}
}
