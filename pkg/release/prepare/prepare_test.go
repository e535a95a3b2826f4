package prepare_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/serin-cd/serin/internal/apitest"
	"github.com/serin-cd/serin/internal/releasetest"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/release"
	"github.com/serin-cd/serin/pkg/release/lease"
	"github.com/serin-cd/serin/pkg/release/prepare"
	"github.com/serin-cd/serin/pkg/release/stage"
	"github.com/serin-cd/serin/pkg/task/failure"
	"github.com/serin-cd/serin/pkg/task/parameter"
	"github.com/serin-cd/serin/pkg/task/run"
)

func TestMain(m *testing.M) { apitest.Main(m, apitest.Controllers) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// nothing changes a preparation in no way.
func nothing(*prepare.Preparation) {}

// prepared prepares with a change.
func prepared(t *testing.T, r *release.Release, change func(*prepare.Preparation)) (run.Outcome, error) {
	t.Helper()
	p := releasetest.Preparation()
	change(&p)
	outcome, _, err := prepare.Run(t.Context(), r, p)
	return outcome, err
}

// route makes a VirtualService with one route to these hosts.
func route(a *releasetest.App, t *testing.T, hosts ...string) {
	t.Helper()
	var destinations []any
	for _, h := range hosts {
		destinations = append(destinations, map[string]any{"destination": map[string]any{"host": h},
			"weight": int64(100 / len(hosts))})
	}
	vs := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{
		"hosts": []any{"podinfo"}, "http": []any{map[string]any{"route": destinations}}}}}
	vs.SetAPIVersion("networking.istio.io/v1")
	vs.SetKind("VirtualService")
	vs.SetName("podinfo")
	_, err := a.Cluster.Objects(virtualServices, a.Namespace).Create(t.Context(), vs, metav1.CreateOptions{})
	must(t, err)
}

var virtualServices = schema.GroupVersionResource{Group: "networking.istio.io", Version: "v1",
	Resource: "virtualservices"}

// versions are those of all that a release could change.
func versions(t *testing.T, a *releasetest.App) map[string]string {
	t.Helper()
	all := map[string]string{}
	rules := schema.GroupVersionResource{Group: "networking.istio.io", Version: "v1", Resource: "destinationrules"}
	for _, resource := range []schema.GroupVersionResource{kube.Deployments, kube.ReplicaSets, kube.Services,
		kube.Leases, kube.ConfigMaps, kube.Events, virtualServices, rules} {
		list, err := a.Cluster.Objects(resource, a.Namespace).List(t.Context(), metav1.ListOptions{})
		must(t, err)
		for _, object := range list.Items {
			if reason, _, _ := unstructured.NestedString(object.Object, "reason"); resource != kube.Events ||
				reason == "Synced" {
				all[resource.Resource+"/"+object.GetName()] = object.GetResourceVersion()
			}
		}
	}
	return all
}

func TestRefusalsChangeNothing(t *testing.T) {
	released := func(a *releasetest.App, _ *testing.T) { a.First(); a.Push("2") }
	second := func(d *appsv1.Deployment) {
		d.Spec.Template.Spec.Containers = append(d.Spec.Template.Spec.Containers,
			corev1.Container{Name: "proxy", Image: "envoy:1"})
	}
	cases := map[string]struct {
		target  func(*appsv1.Deployment)
		arrange func(*releasetest.App, *testing.T)
		change  func(*prepare.Preparation)
		code    int
		text    []string
	}{
		"no target": {arrange: func(a *releasetest.App, _ *testing.T) { a.Delete("podinfo") }, code: 2,
			text: []string{"reading Deployment podinfo: there is none in namespace", "deploy the application first"}},
		"an image that everybody would get at once": {
			change: func(p *prepare.Preparation) { p.Image = parameter.Image(releasetest.Image("2")) }, code: 2,
			text: []string{"for the first time: image " + releasetest.Image("2") + " is not the one that Deployment " +
				"podinfo runs, and everybody would get it unjudged: start a run without an image"}},
		"Recreate": {target: func(d *appsv1.Deployment) { d.Spec.Strategy.Type = "Recreate" }, code: 2,
			text: []string{"strategy Recreate would empty the primary at each promotion, want RollingUpdate"}},
		"Recreate later": {arrange: func(a *releasetest.App, t *testing.T) {
			released(a, t)
			a.Patch("podinfo", "kubectl", `[{"op":"replace","path":"/spec/strategy","value":{"type":"Recreate"}}]`)
		}, code: 2, text: []string{"strategy Recreate"}},
		"paused": {target: func(d *appsv1.Deployment) { d.Annotations = map[string]string{"x": "y"} },
			arrange: func(a *releasetest.App, _ *testing.T) {
				a.Patch("podinfo", "kubectl", `[{"op":"add","path":"/spec/paused","value":true}]`)
			}, code: 2, text: []string{"Deployment podinfo: it is paused, so its pods would not change: run kubectl " +
				"rollout resume deployment/podinfo -n "}},
		"primary paused": {arrange: func(a *releasetest.App, t *testing.T) {
			released(a, t)
			a.Patch("podinfo-primary", "kubectl", `[{"op":"add","path":"/spec/paused","value":true}]`)
		}, code: 2, text: []string{"Deployment podinfo-primary: it is paused"}},
		"a label that leaves no room": {target: func(d *appsv1.Deployment) {
			labels := map[string]string{"app": strings.Repeat("a", 60)}
			d.Spec.Selector.MatchLabels, d.Spec.Template.Labels = labels, labels
		}, code: 2, text: []string{"the primary's pods would have the label app: ",
			"of 68 characters, want at most 63"}},
		"a primary that somebody else made": {arrange: func(a *releasetest.App, t *testing.T) {
			other := a.Deployment("podinfo").DeepCopy()
			labels := map[string]string{"app": "another"}
			other.ObjectMeta = metav1.ObjectMeta{Name: "podinfo-primary"}
			other.Spec.Selector.MatchLabels, other.Spec.Template.Labels = labels, labels
			_, err := a.Client.AppsV1().Deployments(a.Namespace).Create(t.Context(), other, metav1.CreateOptions{})
			must(t, err)
		}, code: 2, text: []string{
			"Deployment podinfo-primary: Serin did not make it (no label serin.dev/app: podinfo)",
			"rename it, or release podinfo under another name"}},
		"a Service that somebody else made": {arrange: func(a *releasetest.App, t *testing.T) {
			_, err := a.Client.CoreV1().Services(a.Namespace).Create(t.Context(), &corev1.Service{
				ObjectMeta: metav1.ObjectMeta{Name: "podinfo-canary"},
				Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}}}, metav1.CreateOptions{})
			must(t, err)
		}, code: 2, text: []string{"Service podinfo-canary: Serin did not make it"}},
		"what the API server does not take": {change: func(p *prepare.Preparation) { p.Port = 70000 },
			code: 2, text: []string{"(1) making Service podinfo-primary: ", "(2) making Service podinfo-canary: ",
				"nothing was changed"}},
		"all reasons at once": {target: func(d *appsv1.Deployment) { d.Spec.Strategy.Type = "Recreate" },
			change: func(p *prepare.Preparation) { p.Image, p.Container = "podinfo:2", "web" }, code: 2,
			text: []string{
				"(1) reading Deployment podinfo.",
				"strategy Recreate",
				`(2) setting image`,
				`container "web"`,
			}},
		"nobody is ready": {arrange: func(a *releasetest.App, _ *testing.T) {
			a.Node.Label("app=podinfo", apitest.Unready)
			a.Eventually("no pod is ready", func() bool { return a.Deployment("podinfo").Status.ReadyReplicas == 0 })
		}, code: 2, text: []string{"releasing podinfo.", "for the first time: the target has no ready replicas",
			"want at least 1"}},
		"at 0": {target: func(d *appsv1.Deployment) { *d.Spec.Replicas = 0 }, code: 2,
			text: []string{"no ready replicas (0 of 0 pods updated", "scale it up"}},
		"selector without a name": {target: func(d *appsv1.Deployment) {
			labels := map[string]string{"role": "web", "tier": "front"}
			d.Spec.Selector.MatchLabels, d.Spec.Template.Labels = labels, labels
		}, code: 2, text: []string{"its selector (role=web,tier=front) has none of the labels app, name, " +
			"app.kubernetes.io/name"}},
		"selectors clash": {target: func(d *appsv1.Deployment) { d.Spec.Template.Labels["tier"] = "web" },
			arrange: func(a *releasetest.App, t *testing.T) {
				clash := a.Deployment("podinfo").DeepCopy()
				clash.ObjectMeta = metav1.ObjectMeta{Name: "podinfo-primary"}
				*clash.Spec.Replicas = 0
				clash.Spec.Selector.MatchLabels = map[string]string{"tier": "web"}
				_, err := a.Client.AppsV1().Deployments(a.Namespace).Create(t.Context(), clash, metav1.CreateOptions{})
				must(t, err)
				a.Eventually("it is seen",
					func() bool { return a.Deployment("podinfo-primary").Status.ObservedGeneration == 1 })
			}, code: 2, text: []string{"the primary's selector (tier=web) matches the target's pods"}},
		"route to a subset of the application": {arrange: func(a *releasetest.App, t *testing.T) {
			route(a, t, "podinfo")
			a.Route("helm", `[{"op":"add","path":"/spec/http/0/route/0/destination/subset","value":"v1"}]`)
		}, code: 2, text: []string{"/spec/http/0/route goes to subset v1 of podinfo, want the whole Service"}},
		"port": {change: func(p *prepare.Preparation) { p.Port = 8080 },
			arrange: func(a *releasetest.App, _ *testing.T) { a.ApexService() },
			code:    2, text: []string{"reading port: 8080, want one of the Service's: 80"}},
		"third destination": {arrange: func(a *releasetest.App,
			t *testing.T) {
			route(a, t, "podinfo-primary", "podinfo-canary", "beta")
		}, code: 2,
			text: []string{"/spec/http/0/route has 3 destinations (podinfo-primary, podinfo-canary, beta), want two"}},
		"unknown container": {change: func(p *prepare.Preparation) { p.Image, p.Container = "podinfo:2", "web" },
			code: 2, text: []string{`container "web", want one of podinfo`}},
		"which container": {target: second, change: func(p *prepare.Preparation) { p.Image = "podinfo:2" }, code: 2,
			text: []string{`container "", want one of podinfo, proxy`}},
		"Prometheus away": {arrange: released, change: func(p *prepare.Preparation) {
			p.Image = parameter.Image(releasetest.Image("3"))
			p.Probe = func(context.Context) error { return errors.New("asking Prometheus: no route to host") }
		}, code: 1, text: []string{"asking Prometheus: no route to host"}},
		"Prometheus away at first": {change: func(p *prepare.Preparation) {
			p.Probe = func(context.Context) error { return errors.New("no route to host") }
		}, code: 1, text: []string{"no route to host"}},
		"another run at work": {arrange: func(a *releasetest.App, t *testing.T) {
			released(a, t)
			_, err := a.Prepare(a.PipelineRun("other"))
			must(t, err)
			must(t, stage.Shift(t.Context(), a.PipelineRun("other"), 20, time.Minute))
			must(t, a.PipelineRun("other").Lease.Acquire(t.Context(), nil))
		}, code: 1, text: []string{"preparing podinfo.", "/other has been at it since",
			"(phase shifting, canary weight 20): wait for it or cancel it"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var changes []func(*appsv1.Deployment)
			if c.target != nil {
				changes = append(changes, c.target)
			}
			a := releasetest.New(t, changes...)
			if c.arrange != nil {
				c.arrange(a, t)
			}
			if c.change == nil {
				c.change = nothing
			}
			before := steady(t, a)
			_, err := prepared(t, a.Run("run"), c.change)
			if failure.Code(err) != c.code {
				t.Errorf("error %v (exit %d), want exit %d", err, failure.Code(err), c.code)
			}
			for _, text := range c.text {
				if !strings.Contains(fmt.Sprint(err), text) {
					t.Errorf("error %q, want %q in it", err, text)
				}
			}
			if diff := cmp.Diff(before, versions(t, a)); diff != "" {
				t.Errorf("something was changed (-before +after):\n%s", diff)
			}
		})
	}
}

// steady are the versions once the controllers have nothing more to do.
func steady(t *testing.T, a *releasetest.App) map[string]string {
	t.Helper()
	before := versions(t, a)
	same := 0
	apitest.Eventually(t, func(context.Context) error {
		now := versions(t, a)
		if cmp.Equal(before, now) {
			same++
		} else {
			before, same = now, 0
		}
		if same < 10 {
			return errors.New("the controllers are at work")
		}
		return nil
	})
	return before
}

func TestNames(t *testing.T) {
	cases := map[string]string{
		"":                       `reading app: "", want a name of lowercase letters, digits and dashes`,
		"Podinfo":                `reading app: "Podinfo", want a name`,
		"pod.info":               `reading app: "pod.info"`,
		"podinfo-":               `reading app: "podinfo-"`,
		strings.Repeat("a", 56):  "has 56 characters, want at most 55",
		strings.Repeat("a", 300): "reading app: ",
	}
	for app, want := range cases {
		t.Run(app, func(t *testing.T) {
			_, err := release.New(&kube.Cluster{}, app, run.ID{Namespace: "prod", Name: "run", UID: "1"})
			if failure.Code(err) != failure.ExitConfig || !strings.Contains(fmt.Sprint(err), want) {
				t.Errorf("error %v, want %q in it", err, want)
			}
		})
	}
	_, err := release.New(&kube.Cluster{}, "podinfo", run.ID{Namespace: "prod", Name: "run"})
	if failure.Code(err) != failure.ExitConfig || !strings.Contains(err.Error(), "RUN_UID") {
		t.Errorf("a run without a UID: %v, want the variables named", err)
	}
}

func TestCanaryThatDoesNotStart(t *testing.T) {
	a := releasetest.New(t)
	a.First()
	a.Node.Image(releasetest.Image("2"), apitest.Unready)
	a.Push("2")
	_, err := prepared(t, a.Run("run"), func(p *prepare.Preparation) { p.Deadline = time.Second })
	want := "Deployment podinfo is not ready after 1s without progress: 2 of 2 pods updated, 0 available"
	if failure.Code(err) != failure.ExitRejected || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v (exit %d), want %q and exit %d", err, failure.Code(err), want, failure.ExitRejected)
	}
	a.Want(releasetest.State{Phase: run.Closed, Outcome: run.RolledBack, Target: 2, Primary: releasetest.Image("1")})
}

func TestTargetThatChangesWhileItStarts(t *testing.T) {
	a := releasetest.New(t)
	a.First()
	a.Node.Image(releasetest.Image("2"), apitest.Unready)
	a.Push("2")
	done := make(chan error)
	go func() {
		_, err := prepared(t, a.Run("run"), nothing)
		done <- err
	}()
	a.Eventually("the target has pods", func() bool {
		d := a.Deployment("podinfo")
		return *d.Spec.Replicas == 2 && d.Status.ObservedGeneration == d.Generation && d.Status.Replicas == 2
	})
	a.Push("3")
	if err := <-done; failure.Code(err) != failure.ExitInconclusive ||
		!strings.Contains(err.Error(), "the target changed from revision") {
		t.Errorf("error %v (exit %d), want exit %d", err, failure.Code(err), failure.ExitInconclusive)
	}
	a.Want(releasetest.State{Phase: run.Closed, Outcome: run.RolledBack, Target: 2, Primary: releasetest.Image("1")})
}

func TestFirstReleaseWhosePrimaryDoesNotStart(t *testing.T) {
	a := releasetest.New(t)
	a.ApexService()
	a.Node.Label("app=podinfo-primary", apitest.Unready)
	_, err := prepared(t, a.Run("run"), func(p *prepare.Preparation) { p.Deadline = time.Second })
	if failure.Code(err) != failure.ExitRejected ||
		!strings.Contains(err.Error(), "for the first time: Deployment podinfo-primary is not ready after 1s") {
		t.Errorf("error %v (exit %d), want exit %d", err, failure.Code(err), failure.ExitRejected)
	}
	if apex, replicas := a.Apex(), *a.Deployment("podinfo").Spec.Replicas; apex != "podinfo" || replicas != 2 {
		t.Errorf("the apex Service selects %s, and the target has %d replicas, want the target to go on serving", apex,
			replicas)
	}
	a.MustBeServed()
	a.Node.Label("app=podinfo-primary", apitest.Ready)
	outcome, err := prepared(t, a.Run("next"), nothing)
	if err != nil || outcome != run.Initialized {
		t.Errorf("the next run: outcome %q (%v), want %q", outcome, err, run.Initialized)
	}
}

// TestHelmUpgradeOfTheSameRevision resets what Helm thinks is its own.
func TestHelmUpgradeOfTheSameRevision(t *testing.T) {
	a := releasetest.New(t)
	a.ApexService()
	a.First()
	a.Patch("podinfo", "helm", `[{"op":"replace","path":"/spec/replicas","value":2}]`)
	a.Eventually("the target is up", func() bool { return a.Deployment("podinfo").Status.ReadyReplicas == 2 })
	_, err := a.Client.CoreV1().Services(a.Namespace).Patch(t.Context(), "podinfo", types.JSONPatchType,
		[]byte(`[{"op":"replace","path":"/spec/selector","value":{"app":"podinfo"}}]`),
		metav1.PatchOptions{FieldManager: "helm"})
	must(t, err)
	a.Route(
		"kubectl-edit",
		`[{"op":"replace","path":"/spec/http/0/route/0/weight","value":50},{"op":"add","path":"/spec/http/0/route/1/weight","value":50}]`,
	)
	outcome, err := prepared(t, a.Run("again"), nothing)
	if err != nil || outcome != run.Unchanged {
		t.Errorf("outcome %q (%v), want %q", outcome, err, run.Unchanged)
	}
	a.Want(releasetest.State{Phase: run.Closed, Outcome: run.Initialized, Primary: releasetest.Image("1")})
	a.WantEvents("pointed at the primary again: helm had changed it", "Scaling down podinfo.",
		": helm had scaled it up, and its revision serves already")
}

// TestHelmUpgradeOfAnother is how a release begins where Helm keeps replicas and selector.
func TestHelmUpgradeOfAnother(t *testing.T) {
	a := releasetest.New(t)
	a.ApexService()
	a.First()
	a.Patch(
		"podinfo",
		"helm",
		`[{"op":"replace","path":"/spec/replicas","value":3},{"op":"replace","path":"/spec/template/spec/containers/0/image","value":"`+releasetest.Image(
			"2",
		)+`"}]`,
	)
	_, err := a.Client.CoreV1().Services(a.Namespace).Patch(t.Context(), "podinfo", types.JSONPatchType,
		[]byte(`[{"op":"replace","path":"/spec/selector","value":{"app":"podinfo"}}]`),
		metav1.PatchOptions{FieldManager: "helm"})
	must(t, err)
	outcome, err := prepared(t, a.Run("run"), nothing)
	if err != nil || outcome != prepare.Proceed {
		t.Errorf("outcome %q (%v), want %q", outcome, err, prepare.Proceed)
	}
	a.Want(releasetest.State{Phase: run.Preparing, Target: 3, Primary: releasetest.Image("1")})
}

func TestImage(t *testing.T) {
	a := releasetest.New(t)
	set := func(version string) func(*prepare.Preparation) {
		return func(p *prepare.Preparation) { p.Image = parameter.Image(releasetest.Image(version)) }
	}
	outcome, err := prepared(t, a.Run("first"), set("1"))
	if err != nil || outcome != run.Initialized {
		t.Errorf("a first release with the image that it has: outcome %q (%v), want %q", outcome, err, run.Initialized)
	}
	outcome, err = prepared(t, a.Run("same"), set("1"))
	if err != nil || outcome != run.Unchanged {
		t.Errorf("the image that it has: outcome %q (%v), want %q", outcome, err, run.Unchanged)
	}
	outcome, err = prepared(t, a.Run("other"), set("2"))
	if err != nil || outcome != prepare.Proceed {
		t.Errorf("another image: outcome %q (%v), want %q", outcome, err, prepare.Proceed)
	}
	if got := a.Deployment("podinfo").Spec.Template.Spec.Containers[0].Image; got != releasetest.Image("2") {
		t.Errorf("the target has image %s, want %s", got, releasetest.Image("2"))
	}
}

func TestTargetDeletedMeanwhile(t *testing.T) {
	a := releasetest.New(t)
	a.First()
	r := a.Run("run")
	_, err := prepared(t, r, func(p *prepare.Preparation) {
		p.Image = parameter.Image(releasetest.Image("2"))
		p.Probe = func(context.Context) error { a.Delete("podinfo"); return nil }
	})
	if failure.Code(err) != failure.ExitConfig || !strings.Contains(fmt.Sprint(err), "the target was deleted") {
		t.Errorf("error %v (exit %d), want exit %d", err, failure.Code(err), failure.ExitConfig)
	}
}

// TestLostRecord takes the VirtualService's annotation, or all of the VirtualService: what is new is judged all the
// same.
func TestLostRecord(t *testing.T) {
	cases := map[string]func(*releasetest.App, *testing.T){
		"annotation": func(a *releasetest.App, _ *testing.T) {
			a.Route("kubectl", `[{"op":"remove","path":"/metadata/annotations/serin.dev~1run"}]`)
		},
		"nonsense": func(a *releasetest.App, _ *testing.T) {
			a.Route("kubectl", `[{"op":"replace","path":"/metadata/annotations/serin.dev~1run","value":"{}"}]`)
		},
		"VirtualService": func(a *releasetest.App, t *testing.T) {
			must(t, a.Cluster.Objects(virtualServices, a.Namespace).Delete(t.Context(), "podinfo",
				metav1.DeleteOptions{}))
			route(a, t, "podinfo-primary", "podinfo-canary")
		},
	}
	for name, lose := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := releasetest.New(t)
			a.First()
			lose(a, t)
			a.Push("2")
			outcome, err := prepared(t, a.Run("run"), nothing)
			if err != nil || outcome != prepare.Proceed {
				t.Errorf("outcome %q (%v), want %q", outcome, err, prepare.Proceed)
			}
			a.Want(releasetest.State{Phase: run.Preparing, Target: 2, Primary: releasetest.Image("1")})
		})
	}
}

// TestPreparedTwice is what a retried step does.
func TestPreparedTwice(t *testing.T) {
	a := releasetest.New(t)
	r := a.Second()
	for _, want := range []releasetest.State{
		{Phase: run.Preparing, Target: 2, Primary: releasetest.Image("1")},
		{Weight: 20, Phase: run.Shifting, Stages: 1, Target: 2, Primary: releasetest.Image("1")},
	} {
		if want.Weight > 0 {
			must(t, stage.Shift(t.Context(), r, want.Weight, time.Minute))
		}
		outcome, err := prepared(t, r, nothing)
		if err != nil || outcome != prepare.Proceed {
			t.Errorf("again: outcome %q (%v), want %q", outcome, err, prepare.Proceed)
		}
		a.Want(want)
	}
}

func TestAcquire(t *testing.T) {
	cases := map[string]struct {
		holder func(*releasetest.App) string
		want   bool
	}{
		"nobody's":     {func(*releasetest.App) string { return "" }, true},
		"a live run's": {func(a *releasetest.App) string { return a.PipelineRun("other").ID.String() }, false},
		"a finished run's": {func(a *releasetest.App) string {
			r := a.PipelineRun("other")
			a.Finish("other")
			return r.ID.String()
		}, true},
		"a run's that is gone": {func(a *releasetest.App) string { return a.ID("gone").String() }, true},
		"another of the name": {func(a *releasetest.App) string {
			id := a.PipelineRun("other").ID
			id.UID = "earlier"
			return id.String()
		}, true},
		"not of a run": {func(*releasetest.App) string { return "somebody" }, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := releasetest.Bare(t)
			r := a.Run("mine")
			if holder := c.holder(a); holder != "" {
				hold(t, r, holder)
			}
			_, err := prepare.Acquire(t.Context(), r, prepare.Queue{OnBusy: prepare.Fail})
			var held *lease.HeldError
			if c.want && err != nil || !c.want && (!errors.As(err, &held) || failure.Code(err) != failure.ExitError) {
				t.Errorf("error %v, want it acquired: %v", err, c.want)
			}
		})
	}
}

// hold gives the Lease to a holder, which need not be a run.
func hold(t *testing.T, r *release.Release, holder string) {
	t.Helper()
	must(t, r.Lease.Acquire(t.Context(), nil))
	patch, err := kube.Patch(kube.Replace("/spec/holderIdentity", holder))
	must(t, err)
	_, err = r.Lease.Objects.Patch(t.Context(), r.App.Lease(), types.JSONPatchType, patch, metav1.PatchOptions{})
	must(t, err)
}

// TestPoliciesThatAreLostAreNamed: they select the target's pods by the label that the primary's have another value of.
func TestPoliciesThatAreLostAreNamed(t *testing.T) {
	a := releasetest.New(t)
	apitest.Apply(t, a.Namespace, []byte(`
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: callers}
spec: {podSelector: {matchExpressions: [{key: app, operator: In, values: [podinfo, shop]}]}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: database}
spec: {podSelector: {matchLabels: {app: db}}, ingress: [{from: [{podSelector: {matchLabels: {app: podinfo}}}]}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: all}
spec: {podSelector: {}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: readers}
spec: {selector: {matchLabels: {app: podinfo}}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: others}
spec: {selector: {matchLabels: {app: shop}}}
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: egress}
spec: {workloadSelector: {labels: {app: podinfo}}, egress: [{hosts: ["./*"]}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: rest}
spec: {podSelector: {matchExpressions: [{key: app, operator: NotIn, values: [podinfo]}]}}
---
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: limit}
spec: {workloadSelector: {labels: {app: podinfo}}, configPatches: []}
---
apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: {name: sampling}
spec: {selector: {matchLabels: {app: podinfo}}}
---
apiVersion: extensions.istio.io/v1alpha1
kind: WasmPlugin
metadata: {name: auth}
spec: {selector: {matchLabels: {app: podinfo}}, url: "oci://example.test/auth"}
`))
	a.First()
	var named []string
	for _, e := range a.Events() {
		if name, rest, ok := strings.Cut(e, " selects pods of podinfo, and not those of podinfo-primary"); ok &&
			rest != "" {
			named = append(named, name)
		}
	}
	want := []string{"AuthorizationPolicy readers", "EnvoyFilter limit", "NetworkPolicy callers",
		"NetworkPolicy database", "Sidecar egress", "Telemetry sampling", "WasmPlugin auth"}
	if diff := cmp.Diff(want, named); diff != "" {
		t.Errorf("named (-want +got):\n%s", diff)
	}
	a.WantEvents("NetworkPolicy rest selects pods of podinfo-primary, and not those of podinfo")
}
