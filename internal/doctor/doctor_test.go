package doctor_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/serin-cd/serin/internal/apitest"
	"github.com/serin-cd/serin/internal/doctor"
	"github.com/serin-cd/serin/internal/releasetest"
	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/release"
	"github.com/serin-cd/serin/pkg/release/handover"
	"github.com/serin-cd/serin/pkg/release/stage"
	"github.com/serin-cd/serin/pkg/task/failure"
)

func TestMain(m *testing.M) { apitest.Main(m, apitest.Controllers) }

// home is Tekton's namespace, which all cases share.
const home = "tekton-pipelines"

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// tell gives a ConfigMap of Tekton's these values.
func tell(t *testing.T, a *releasetest.App, name string, values map[string]string) {
	t.Helper()
	_, err := a.Client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name: home}}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	maps, wanted := a.Client.CoreV1().ConfigMaps(home), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name},
		Data: values}
	_, err = maps.Create(t.Context(), wanted, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		_, err = maps.Update(t.Context(), wanted, metav1.UpdateOptions{})
	}
	must(t, err)
}

// installed is an application in a namespace that has all that Serin needs.
func installed(t *testing.T, m monitoring) *releasetest.App {
	t.Helper()
	a := releasetest.New(t)
	tell(t, a, "pipelines-info", map[string]string{"version": "v1.15.0"})
	tell(t, a, "feature-flags", map[string]string{"set-security-context": "true"})
	files, err := filepath.Glob("../../tasks/*/*.yaml")
	must(t, err)
	for _, file := range append(files, "../../pipelines/canary/canary.yaml", "../../config/rbac.yaml",
		"../../config/janitor.yaml") {
		text, err := os.ReadFile(file)
		must(t, err)
		apitest.Apply(t, a.Namespace, text)
	}
	given := told(m.of(t, a.Namespace, sound, 0), nil)
	apitest.Eventually(t, func(ctx context.Context) error { // the server learns of rights a moment later
		for _, f := range doctor.Examine(ctx, patient(t, a, given)) {
			if f.Check == "rights" && f.Level != doctor.OK {
				return errors.New(f.Text)
			}
		}
		return nil
	})
	return a
}

// told are the parameters of a run, with others above them.
func told(prometheus string, above map[string]string) map[string]string {
	all := map[string]string{"port": "80", "hosts": "podinfo.test", "gateways": "public", "prometheus-url": prometheus}
	maps.Copy(all, above)
	return all
}

func patient(t *testing.T, a *releasetest.App, given map[string]string) doctor.Patient {
	t.Helper()
	config := apitest.Config(t)
	config.Impersonate.UserName = "system:serviceaccount:" + a.Namespace + ":serin"
	as, err := kube.New(config)
	must(t, err)
	p := doctor.Patient{Cluster: a.Cluster, Config: apitest.Config(t), As: as, Namespace: a.Namespace, Account: "serin",
		Application: "podinfo"}
	must(t, p.Learn(t.Context(), given))
	p.Preparation.Deadline = time.Second
	return p
}

func TestNothingIsWrongWithASoundOne(t *testing.T) {
	m := monitor(t)
	a := installed(t, m)
	given := told(m.of(t, a.Namespace, sound, 0), nil)
	for _, state := range []string{"before the first release", "after it", "while a canary runs"} {
		switch state {
		case "after it":
			a.First()
		case "while a canary runs":
			a.Push("2")
			r := a.PipelineRun("second")
			_, err := a.Prepare(r)
			must(t, err)
			must(t, stage.Shift(t.Context(), r, 20, time.Minute))
		}
		for _, f := range doctor.Examine(t.Context(), patient(t, a, given)) {
			if f.Level != doctor.OK {
				t.Errorf("%s: %s %s: %s", state, f.Level, f.Check, f.Text)
			}
		}
	}
}

// TestFindingsAboutTekton changes what all applications share, so one comes after the other.
func TestFindingsAboutTekton(t *testing.T) {
	m := monitor(t)
	for name, c := range map[string]finding{
		"old Tekton": {func(t *testing.T, a *releasetest.App) {
			tell(t, a, "pipelines-info", map[string]string{"version": "v1.12.0"})
		}, doctor.Warning, "tekton", "Tekton Pipelines 1.12.0: a run that is cancelled", "update it to 1.13.0"},
		"pods kept on cancel": {func(t *testing.T, a *releasetest.App) {
			tell(t, a, "feature-flags", map[string]string{"keep-pod-on-cancel": "true"})
		}, doctor.Warning, "features", "keep-pod-on-cancel is true", "set it to false"},
		"restricted pods": {func(t *testing.T, a *releasetest.App) {
			tell(t, a, "feature-flags", nil)
			_, err := a.Client.CoreV1().Namespaces().Patch(t.Context(), a.Namespace, types.MergePatchType,
				[]byte(`{"metadata":{"labels":{"pod-security.kubernetes.io/enforce":"restricted"}}}`), metav1.PatchOptions{})
			must(t, err)
		}, doctor.Error, "pod security", "Pod Security refuses Tekton's pods", "set-security-context"},
	} {
		t.Run(name, func(t *testing.T) {
			a := installed(t, m)
			c.breaks(t, a)
			c.found(t, a, told(m.of(t, a.Namespace, sound, 0), nil))
		})
	}
}

func TestFindings(t *testing.T) {
	m := monitor(t)
	cases := map[string]finding{
		"no Pipeline": {func(t *testing.T, a *releasetest.App) {
			must(t, a.Cluster.Objects(kube.Pipelines, a.Namespace).Delete(t.Context(), "canary",
				metav1.DeleteOptions{}))
		}, doctor.Error, "pipeline", "has no Pipeline canary", "apply Serin's manifest"},
		"a right is missing": {func(t *testing.T, a *releasetest.App) {
			change(t, a, "deployments")
		}, doctor.Error, "rights", "ServiceAccount serin may not create, get, patch, watch deployments",
			"apply Serin's manifest"},
		"no account": {func(t *testing.T, a *releasetest.App) {
			must(t, a.Client.CoreV1().ServiceAccounts(a.Namespace).Delete(t.Context(), "serin", metav1.DeleteOptions{}))
		}, doctor.Error, "account", "has no ServiceAccount serin", "apply Serin's manifest"},
		"no janitor": {func(t *testing.T, a *releasetest.App) {
			must(t, a.Client.BatchV1().CronJobs(a.Namespace).Delete(t.Context(), "serin-janitor",
				metav1.DeleteOptions{}))
		}, doctor.Warning, "janitor", "there is none", "apply the janitor"},
		"the janitor is suspended": {func(t *testing.T, a *releasetest.App) {
			_, err := a.Client.BatchV1().CronJobs(a.Namespace).Patch(t.Context(), "serin-janitor", types.MergePatchType,
				[]byte(`{"spec":{"suspend":true}}`), metav1.PatchOptions{})
			must(t, err)
		}, doctor.Warning, "janitor", "it is suspended", "spec.suspend"},
		"the janitor is late": {func(t *testing.T, a *releasetest.App) {
			_, err := a.Client.BatchV1().CronJobs(a.Namespace).Patch(t.Context(), "serin-janitor", types.MergePatchType,
				[]byte(`{"status":{"lastSuccessfulTime":"2026-01-01T00:00:00Z"}}`), metav1.PatchOptions{}, "status")
			must(t, err)
		}, doctor.Warning, "janitor", "it succeeded last at 2026-01-01T00:00:00Z", "see the Jobs"},
		"a run that is gone": {func(t *testing.T, a *releasetest.App) {
			a.First()
			a.Push("2")
			r := a.Run("gone")
			_, err := a.Prepare(r)
			must(t, err)
			must(t, stage.Shift(t.Context(), r, 40, time.Minute))
		}, doctor.Error, "orphans", "podinfo: run gone has it at weight 40, and is gone", "tkn canary abort podinfo"},
		"an ejection that was cut off": {halfEjected, doctor.Warning, "orphans", "podinfo: its ejection was cut off",
			"run tkn canary eject podinfo -n"},
		"a paused Deployment": {func(t *testing.T, a *releasetest.App) {
			a.Patch("podinfo", "kubectl", `[{"op":"add","path":"/spec/paused","value":true}]`)
		}, doctor.Error, "application", "paused", ""},
		"a foreign Service": {func(t *testing.T, a *releasetest.App) {
			a.Apply("apiVersion: v1\nkind: Service\nmetadata: {name: podinfo-canary}\nspec: {ports: [{port: 80}]}")
		}, doctor.Error, "application", "Service podinfo-canary: Serin did not make it", ""},
		"no Deployment": {func(t *testing.T, a *releasetest.App) { a.Delete("podinfo") }, doctor.Error, "application",
			"podinfo", ""},
		"Argo CD": {func(t *testing.T, a *releasetest.App) {
			a.Patch("podinfo", "argocd-controller", `[{"op":"replace","path":"/spec/replicas","value":3}]`)
		}, doctor.Warning, "owners", "Argo CD owns /spec/replicas of Deployment podinfo",
			`ignoreDifferences: [{group: "apps", kind: Deployment, name: podinfo, jsonPointers: [/spec/replicas]}]`},
		"Flux": {func(t *testing.T, a *releasetest.App) {
			a.Patch("podinfo", "kustomize-controller", `[{"op":"replace","path":"/spec/replicas","value":3}]`)
		}, doctor.Warning, "owners", "Flux owns /spec/replicas", `patches: [{target: {group: "apps", ` +
			`kind: Deployment, name: podinfo}, patch: '[{"op": "remove", "path": "/spec/replicas"}]'}]`},
		"Helm of Flux": {func(t *testing.T, a *releasetest.App) {
			a.Patch("podinfo", "helm-controller", `[{"op":"replace","path":"/spec/replicas","value":3}]`)
		}, doctor.Warning, "owners", "Flux owns /spec/replicas", `driftDetection: {ignore: [{target: {group: "apps", ` +
			`kind: Deployment, name: podinfo}, paths: [/spec/replicas]}]}`},
		"Argo CD has the routes": {func(t *testing.T, a *releasetest.App) {
			a.First()
			a.Route("argocd-controller", `[{"op":"add","path":"/spec/http/0/name","value":"main"}]`)
		}, doctor.Warning, "owners", "Argo CD owns /spec/http of VirtualService podinfo",
			"name: podinfo, jqPathExpressions: ['.spec.http[].route[].weight']}"},
		"Flux has the Service": {func(t *testing.T, a *releasetest.App) {
			a.First()
			_, err := a.Client.CoreV1().Services(a.Namespace).Patch(t.Context(), "podinfo", types.JSONPatchType,
				[]byte(`[{"op":"replace","path":"/spec/selector","value":{"app":"podinfo"}}]`),
				metav1.PatchOptions{FieldManager: "kustomize-controller"})
			must(t, err)
		}, doctor.Warning, "owners", "Flux owns /spec/selector of Service podinfo",
			"'{apiVersion: v1, kind: Service, metadata: {name: podinfo, annotations: " +
				"{kustomize.toolkit.fluxcd.io/ssa: IfNotPresent}}}'"},
		"a NetworkPolicy for the target alone": {func(_ *testing.T, a *releasetest.App) {
			a.Apply("apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: callers}\n" +
				"spec: {podSelector: {matchLabels: {app: podinfo}}, ingress: [{}]}")
		}, doctor.Warning, "surroundings", "NetworkPolicy callers selects pods of podinfo, and not those of " +
			"podinfo-primary",
			"let its selector match both"},
		"an AuthorizationPolicy for the primary alone": {func(_ *testing.T, a *releasetest.App) {
			a.First()
			a.Apply("apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: callers}\n" +
				"spec: {selector: {matchLabels: {app: podinfo-primary}}, rules: [{}]}")
		}, doctor.Warning, "surroundings", "AuthorizationPolicy callers selects pods of podinfo-primary, and not " +
			"those of podinfo", "let its selector match both or neither"},
		"a Service that came later": {func(_ *testing.T, a *releasetest.App) {
			a.First()
			a.Apply("apiVersion: v1\nkind: Service\nmetadata: {name: admin}\n" +
				"spec: {selector: {app: podinfo}, ports: [{port: 80}]}")
		}, doctor.Warning, "surroundings", "Service admin selects pods of podinfo (app=podinfo), and not those of " +
			"podinfo-primary", "let it select by a label that both have"},
		"a budget that came later": {func(_ *testing.T, a *releasetest.App) {
			a.First()
			a.Apply("apiVersion: policy/v1\nkind: PodDisruptionBudget\nmetadata: {name: web}\n" +
				"spec: {selector: {matchLabels: {app: podinfo}}, minAvailable: 1}")
		}, doctor.Warning, "surroundings", "PodDisruptionBudget web counts pods of podinfo",
			"serin.dev/disruption-budget=web"},
		"two autoscalers": {func(_ *testing.T, a *releasetest.App) {
			for _, name := range []string{"one", "two"} {
				a.Apply("apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {name: " + name + "}\n" +
					"spec: {scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: podinfo}, maxReplicas: 3}")
			}
		}, doctor.Error, "application", "autoscaler", ""},
		"pods that Pod Security refuses": {func(t *testing.T, a *releasetest.App) {
			_, err := a.Client.CoreV1().Namespaces().Patch(t.Context(), a.Namespace, types.MergePatchType,
				[]byte(`{"metadata":{"labels":{"pod-security.kubernetes.io/enforce":"restricted"}}}`), metav1.PatchOptions{})
			must(t, err)
		}, doctor.Error, "pod security", "refuses the pods of podinfo, and so a canary's: pods \"serin-doctor-",
			"change the pod template"},
		"a sidecar in a Task's pod": {func(t *testing.T, a *releasetest.App) {
			_, err := a.Client.CoreV1().Pods(a.Namespace).Create(t.Context(), &corev1.Pod{
				ObjectMeta: metav1.ObjectMeta{Name: "first-prepare", Labels: map[string]string{
					"tekton.dev/taskRun": "first-prepare"}},
				Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "step-a", Image: "a"},
					{Name: "istio-proxy", Image: "proxy"}}}}, metav1.CreateOptions{})
			must(t, err)
		}, doctor.Warning, "sidecars", "pod first-prepare of TaskRun first-prepare has a sidecar",
			`annotation sidecar.istio.io/inject: "false"`},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := installed(t, m)
			c.breaks(t, a)
			c.found(t, a, told(m.of(t, a.Namespace, sound, 0), nil))
		})
	}
}

// finding is what doctor says of an application that somebody has broken.
type finding struct {
	breaks              func(*testing.T, *releasetest.App)
	level               doctor.Level
	check, text, advice string
}

// found wants it, and nothing else that is wrong.
func (c finding) found(t *testing.T, a *releasetest.App, given map[string]string) {
	t.Helper()
	var found []doctor.Finding
	apitest.Eventually(t, func(ctx context.Context) error {
		found = doctor.Examine(ctx, patient(t, a, given))
		for _, f := range found {
			if f.Level == c.level && f.Check == c.check && strings.Contains(f.Text, c.text) &&
				strings.Contains(f.Advice, c.advice) {
				return nil
			}
		}
		return fmt.Errorf("not found in %v", found)
	})
	for _, f := range found {
		if f.Level != doctor.OK && f.Advice == "" {
			t.Errorf("%s without advice: %s", f.Check, f.Text)
		}
		if f.Text == failure.ErrConfig.Error() {
			t.Errorf("%s %s: %q, want what is wrong", f.Level, f.Check, f.Text)
		}
		if f.Level != doctor.OK && f.Check != c.check {
			t.Errorf("besides %s %s: %s", f.Level, f.Check, f.Text)
		}
	}
}

// TestWhatPrometheusTells is of one sound application, whose proxies are scraped in other ways.
func TestWhatPrometheusTells(t *testing.T) {
	m := monitor(t)
	a := installed(t, m)
	none := monitoring{} // of which nobody is asked
	cases := map[string]struct {
		of     monitoring
		known  string
		ahead  time.Duration
		params map[string]string
		finding
	}{
		"slow scrapes": {of: m, known: slow, finding: finding{level: doctor.Warning, check: "scrapes",
			text:   "the proxies are scraped each 45s, and a run looks each 1m0s, which should be two scrapes",
			advice: "set the parameter interval to 1m30s or more"}},
		"slow scrapes for the classic judge": {of: m, known: slow, params: map[string]string{"judge": "classic"},
			finding: finding{level: doctor.Error, check: "scrapes", text: "would find no values",
				advice: "1m30s"}},
		"scrapes beyond the interval": {of: m, known: slow, params: map[string]string{"interval": "30s"},
			finding: finding{level: doctor.Error, check: "scrapes", text: "each 45s, and a run looks each 30s"}},
		"another reporter": {of: m, known: waypoints, finding: finding{level: doctor.Error, check: "metrics",
			text:   "istio_requests_total of podinfo is there by reporter waypoint",
			advice: "set the parameter reporter to waypoint"}},
		"the reporter that is asked for": {of: m, known: slow, params: map[string]string{"reporter": "destination"},
			finding: finding{level: doctor.Error, check: "metrics", text: "is there by reporter source and",
				advice: "set the parameter reporter to source, or to auto"}},
		"no codes": {of: m, known: uncoded, finding: finding{level: doctor.Error, check: "metrics",
			text: "has no label response_code", advice: "keep that label"}},
		"no namespaces": {of: m, known: unplaced, params: map[string]string{"prometheus-matchers": `mesh="two"`}, finding: finding{level: doctor.Error, check: "metrics",
			text: "has no label destination_service_namespace", advice: "keep that label"}},
		"no traffic": {of: m, known: idle, finding: finding{level: doctor.Warning, check: "metrics",
			text: "source 0; source counts. Without requests", advice: "send it requests"}},
		"nobody counts": {of: m, known: silent, params: map[string]string{"prometheus-matchers": `mesh="one"`},
			finding: finding{level: doctor.Warning, check: "metrics", text: "no proxy has counted a request of podinfo",
				advice: "send it requests through the gateway"}},
		"nobody counts anything": {of: m, known: silent, params: map[string]string{"prometheus-matchers": `cluster="eu-1"`},
			finding: finding{level: doctor.Error, check: "metrics", text: "Prometheus has no istio_requests_total",
				advice: "scrape gateways and sidecars"}},
		"another clock": {of: m, known: sound, ahead: 30 * time.Second, finding: finding{level: doctor.Warning,
			check: "clocks", text: "Prometheus's clock is 30s ahead of the API server's", advice: "set the clocks"}},
		"no such Prometheus": {of: none, params: map[string]string{"prometheus-url": "http://prometheus.nowhere:9090"},
			finding: finding{level: doctor.Error, check: "prometheus",
				text:   "namespace nowhere has no Service prometheus",
				advice: "set the parameter prometheus-url"}},
		"one that does not answer": {of: none, params: map[string]string{"prometheus-url": "http://127.0.0.1:1"},
			finding: finding{level: doctor.Warning, check: "prometheus", text: "directly: ",
				advice: "--prometheus-url"}},
		"no address": {of: none, params: map[string]string{"prometheus-url": "prometheus:9090"},
			finding: finding{level: doctor.Error, check: "prometheus", text: "want http:// or https://",
				advice: "correct that parameter"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			address := ""
			if c.of != none {
				address = c.of.of(t, a.Namespace, c.known, c.ahead)
			}
			c.found(t, a, told(address, c.params))
		})
	}
}

// halfEjected leaves an application as an ejection does that is killed while it waits for the primary's last requests.
func halfEjected(t *testing.T, a *releasetest.App) {
	t.Helper()
	a.First()
	app := application.Application{Namespace: a.Namespace, Name: "podinfo"}
	e, err := handover.Leave(t.Context(), a.Cluster, app, time.Minute)
	must(t, err)
	killed := errors.New("killed")
	e.Drain(func(context.Context, *release.Release) error { return killed })
	plan, err := e.Plain(t.Context())
	must(t, err)
	if err := plan.Run(t.Context(), func(handover.Step) {}); !errors.Is(err, killed) {
		t.Fatalf("ejecting: %v, want it killed", err)
	}
}

// TestAPrimaryWithoutItsDeployment is told of in the namespace, whatever application is asked for.
func TestAPrimaryWithoutItsDeployment(t *testing.T) {
	m := monitor(t)
	a := installed(t, m)
	a.First()
	a.Delete("podinfo")
	p := patient(t, a, told(m.of(t, a.Namespace, sound, 0), nil))
	p.Application = ""
	for _, f := range doctor.Examine(t.Context(), p) {
		if f.Level == doctor.Warning && f.Check == "orphans" &&
			strings.Contains(f.Advice, "apply Deployment podinfo") &&
			strings.Contains(f.Text, "Deployment podinfo-primary serves, and podinfo is gone") {
			return
		}
	}
	t.Error("not told")
}

// change takes a resource out of the Role.
func change(t *testing.T, a *releasetest.App, resource string) {
	t.Helper()
	roles := a.Client.RbacV1().Roles(a.Namespace)
	role, err := roles.Get(t.Context(), "serin", metav1.GetOptions{})
	must(t, err)
	var kept []rbacv1.PolicyRule
	for _, rule := range role.Rules {
		if rule.Resources[0] != resource {
			kept = append(kept, rule)
		}
	}
	role.Rules = kept
	_, err = roles.Update(t.Context(), role, metav1.UpdateOptions{})
	must(t, err)
}
