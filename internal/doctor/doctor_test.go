package doctor_test

import (
	"context"
	"errors"
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
	"github.com/serin-cd/serin/pkg/cluster/kube"
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
	maps := a.Client.CoreV1().ConfigMaps(home)
	if err := maps.Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
		t.Fatal(err)
	}
	_, err = maps.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: values},
		metav1.CreateOptions{})
	must(t, err)
}

// installed is an application in a namespace that has all that Serin needs.
func installed(t *testing.T) *releasetest.App {
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
	apitest.Eventually(t, func(ctx context.Context) error { // the server learns of rights a moment later
		for _, f := range doctor.Examine(ctx, patient(t, a)) {
			if f.Check == "rights" && f.Level != doctor.OK {
				return errors.New(f.Text)
			}
		}
		return nil
	})
	return a
}

func patient(t *testing.T, a *releasetest.App) doctor.Patient {
	t.Helper()
	config := apitest.Config(t)
	config.Impersonate.UserName = "system:serviceaccount:" + a.Namespace + ":serin"
	as, err := kube.New(config)
	must(t, err)
	p := doctor.Patient{Cluster: a.Cluster, As: as, Namespace: a.Namespace, Account: "serin", Pipeline: "canary",
		Application: "podinfo", Preparation: releasetest.Preparation()}
	p.Preparation.Deadline = time.Second
	return p
}

func TestNothingIsWrongWithASoundOne(t *testing.T) {
	a := installed(t)
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
		for _, f := range doctor.Examine(t.Context(), patient(t, a)) {
			if f.Level != doctor.OK {
				t.Errorf("%s: %s %s: %s", state, f.Level, f.Check, f.Text)
			}
		}
	}
}

func TestFindings(t *testing.T) {
	cases := map[string]struct {
		breaks              func(*testing.T, *releasetest.App)
		level               doctor.Level
		check, text, advice string
	}{
		"old Tekton": {func(t *testing.T, a *releasetest.App) {
			tell(t, a, "pipelines-info", map[string]string{"version": "v1.12.0"})
		}, doctor.Warning, "tekton", "Tekton Pipelines 1.12.0: a run that is cancelled", "update it to 1.13.0"},
		"pods kept on cancel": {func(t *testing.T, a *releasetest.App) {
			tell(t, a, "feature-flags", map[string]string{"keep-pod-on-cancel": "true"})
		}, doctor.Warning, "features", "keep-pod-on-cancel is true", "set it to false"},
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
		"restricted pods": {func(t *testing.T, a *releasetest.App) {
			tell(t, a, "feature-flags", nil)
			_, err := a.Client.CoreV1().Namespaces().Patch(t.Context(), a.Namespace, types.MergePatchType,
				[]byte(`{"metadata":{"labels":{"pod-security.kubernetes.io/enforce":"restricted"}}}`), metav1.PatchOptions{})
			must(t, err)
		}, doctor.Error, "pod security", "Pod Security refuses Tekton's pods", "set-security-context"},
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
		}, doctor.Warning, "owners", "Flux owns /spec/replicas", "kustomize.toolkit.fluxcd.io/ssa: Merge"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			a := installed(t)
			c.breaks(t, a)
			var found []doctor.Finding
			apitest.Eventually(t, func(ctx context.Context) error {
				found = doctor.Examine(ctx, patient(t, a))
				for _, f := range found {
					if f.Level == c.level && f.Check == c.check && strings.Contains(f.Text, c.text) &&
						strings.Contains(f.Advice, c.advice) {
						return nil
					}
				}
				return errors.New("not found")
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
		})
	}
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
