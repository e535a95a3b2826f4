package workload_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serin-cd/serin/internal/apitest"
	"github.com/serin-cd/serin/internal/releasetest"
	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/cluster/workload"
	"github.com/serin-cd/serin/pkg/task/run"
)

var stamp = run.ID{Namespace: "shop", Name: "first", UID: "1"}

func TestMain(m *testing.M) { apitest.Main(m, apitest.Controllers) }

// get reads a Deployment of the application.
func get(t *testing.T, c workload.Deployments, name string) *workload.Deployment {
	t.Helper()
	d, err := c.Get(t.Context(), name)
	if err != nil || d == nil {
		t.Fatalf("Deployment %s: %v, %v", name, d, err)
	}
	return d
}

// primary makes the primary for the target as it is.
func primary(t *testing.T, a *releasetest.App) *workload.Deployment {
	t.Helper()
	c := a.Run("first").Deployments
	target := get(t, c, "podinfo")
	copied, err := workload.CopyOf(target)
	if err != nil {
		t.Fatal(err)
	}
	made, err := c.CreatePrimary(t.Context(), application.Application{Namespace: a.Namespace, Name: "podinfo"}, target,
		copied, application.Metadata{}, stamp)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// promote gives the primary the target's template.
func promote(t *testing.T, c workload.Deployments) {
	t.Helper()
	target := get(t, c, "podinfo")
	copied, err := workload.CopyOf(target)
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Update(t.Context(), "podinfo-primary", func(d *workload.Deployment) ([]kube.Operation, error) {
		return workload.Become(d, copied.Template(target, d), target.Revision(), stamp), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.WaitReady(t.Context(), "podinfo-primary", time.Minute, nil); err != nil {
		t.Fatal(err)
	}
}

func TestCreatePrimary(t *testing.T) {
	cases := map[string]func(*appsv1.Deployment){
		"plain":   func(*appsv1.Deployment) {},
		"at rest": func(d *appsv1.Deployment) { *d.Spec.Replicas = 0 },
		"paused":  func(d *appsv1.Deployment) { d.Spec.Paused, *d.Spec.Replicas = true, 0 },
		"expression that pins the name": func(d *appsv1.Deployment) {
			d.Spec.Selector.MatchExpressions = []metav1.LabelSelectorRequirement{{Key: "app",
				Operator: metav1.LabelSelectorOpIn, Values: []string{"podinfo"}}}
		},
		"everything else": func(d *appsv1.Deployment) {
			d.Spec.MinReadySeconds = 1
			d.Spec.Template.Spec.Affinity = &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{
				RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{
					{TopologyKey: "zone",
						LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "podinfo"}}}}}}
		},
	}
	for name, change := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := releasetest.New(t, change)
			made := primary(t, a)
			ready, err := a.Run("first").Deployments.WaitReady(t.Context(), "podinfo-primary", time.Minute, nil)
			if err != nil {
				t.Fatal(err)
			}
			target := get(t, a.Run("first").Deployments, "podinfo")
			got := fmt.Sprint(made.Promoted() == target.Revision(), " ", made.Stamp(), " ", made.Labels, " ",
				max(target.Wanted(), 1) == ready.Wanted(), " ", ready.Spec.Selector.MatchLabels)
			if want := "true shop/first/1 map[app:podinfo-primary owner:ann serin.dev/app:podinfo team:web] true " +
				"map[app:podinfo-primary]"; got != want {
				t.Errorf("primary %s, want %s", got, want)
			}
		})
	}
}

func TestWaitReady(t *testing.T) {
	a := releasetest.New(t)
	c := a.Run("first").Deployments
	_, err := c.WaitReady(t.Context(), "nobody", 300*time.Millisecond, nil)
	var late *workload.NotReadyError
	want := "Deployment nobody is not ready after 300ms without progress: it does not exist"
	if !errors.As(err, &late) || err.Error() != want {
		t.Errorf("a Deployment that is missing: %v", err)
	}

	a.Node.Image(releasetest.Image("2"), apitest.Unready)
	a.Push("2")
	_, err = c.WaitReady(t.Context(), "podinfo", time.Second, nil)
	if !errors.As(err, &late) ||
		!strings.Contains(err.Error(), "Deployment podinfo is not ready after 1s without progress: ") ||
		!strings.Contains(err.Error(), "of 2 pods updated") {
		t.Errorf("pods that do not become ready: %v", err)
	}

	stopped, stop := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, stop)
	if _, err := c.WaitReady(stopped, "podinfo", time.Minute, nil); !errors.Is(err, context.Canceled) ||
		errors.As(err, &late) && late == nil {
		t.Errorf("stopped: %v, want %v", err, context.Canceled)
	}

	wrong := errors.New("wrong")
	if _, err := c.WaitReady(t.Context(), "podinfo", time.Minute,
		func(*workload.Deployment) error { return wrong }); !errors.Is(err, wrong) {
		t.Errorf("a check that fails: %v, want %v", err, wrong)
	}

	a.Node.Image(releasetest.Image("2"), apitest.Ready)
	ready, err := c.WaitReady(t.Context(), "podinfo", time.Minute, nil)
	if err != nil || !ready.Ready() {
		t.Errorf("at last: %v", err)
	}

	a.Node.Image(releasetest.Image("3"), apitest.Unready)
	a.Push("3")
	remove := sync.OnceValue(func() error {
		return a.Client.AppsV1().Deployments(a.Namespace).Delete(t.Context(), "podinfo", metav1.DeleteOptions{})
	})
	_, err = c.WaitReady(t.Context(), "podinfo", time.Minute, func(*workload.Deployment) error { return remove() })
	if err == nil || err.Error() != "waiting for Deployment podinfo: it was deleted" {
		t.Errorf("deleted meanwhile: %v, want it said", err)
	}
}

func TestUpdateHoldsWhileTheStampDoes(t *testing.T) {
	a := releasetest.New(t)
	annotations := []string{
		`{"op":"add","path":"/metadata/annotations","value":{"serin.dev/run":"other"}}`,
		`{"op":"add","path":"/metadata/annotations/serin.dev~1run","value":"another"}`,
		`{"op":"remove","path":"/metadata/annotations/serin.dev~1run"}`,
		`{"op":"remove","path":"/metadata/annotations"}`,
	}
	asked := 0
	c := a.Run("late", releasetest.Before(func(r *http.Request) error {
		if r.Method == http.MethodPatch && len(annotations) > 0 {
			next := annotations[0]
			annotations = annotations[1:]
			a.Patch("podinfo", "other", "["+next+"]")
		}
		return nil
	})).Deployments
	var seen []string
	d, err := c.Update(t.Context(), "podinfo", func(d *workload.Deployment) ([]kube.Operation, error) {
		asked++
		seen = append(seen, d.Stamp())
		return []kube.Operation{workload.Scale(3)}, nil
	})
	if err != nil || d.Wanted() != 3 {
		t.Fatalf("%d replicas (%v), want 3", d.Wanted(), err)
	}
	// Taking away all annotations, where the stamp was gone already, changes no stamp.
	if diff := cmp.Diff([]string{"", "other", "another", ""}, seen[:4]); diff != "" || asked > 5 {
		t.Errorf("asked %d times (-want +got stamps):\n%s", asked, diff)
	}
}

func TestUpdateOfWhatWasDeletedMeanwhile(t *testing.T) {
	a := releasetest.New(t)
	c := a.Run("run").Deployments
	target := get(t, c, "podinfo")
	a.Delete("podinfo")
	after, err := c.From(target).Update(t.Context(), "podinfo", func(*workload.Deployment) ([]kube.Operation, error) {
		return []kube.Operation{workload.Scale(0)}, nil
	})
	if after != nil || err != nil {
		t.Errorf("updated to %v: %v, want neither: it is gone", after, err)
	}
}

func TestUpdateOfWhatIsRefused(t *testing.T) {
	a := releasetest.New(t)
	writes := 0
	c := a.Run("run", releasetest.Before(func(r *http.Request) error {
		if releasetest.Writes(r) {
			writes++
		}
		return nil
	})).Deployments
	_, err := c.Update(t.Context(), "podinfo", func(*workload.Deployment) ([]kube.Operation, error) {
		return []kube.Operation{kube.Replace("/spec/template/spec/containers/0/name", "No Name")}, nil
	})
	if err == nil || !strings.Contains(err.Error(), "writing Deployment podinfo: ") ||
		!strings.Contains(err.Error(), "No Name") || writes > 3 {
		t.Errorf("%d writes, error %v, want what it was refused for", writes, err)
	}
	d, err := c.Update(t.Context(), "nobody",
		func(*workload.Deployment) ([]kube.Operation, error) { return nil, errors.New("asked") })
	if d != nil || err != nil {
		t.Errorf("a Deployment that is missing: %v, %v, want neither", d, err)
	}
}

func TestTemplateOfEarlierRevisions(t *testing.T) {
	a := releasetest.New(t)
	r := a.Run("first")
	c := r.Deployments
	made := primary(t, a)
	if _, err := c.WaitReady(t.Context(), made.Name, time.Minute, nil); err != nil {
		t.Fatal(err)
	}
	revisions := map[string]string{"1": made.Promoted()}
	for _, version := range []string{"2", "3", "1"} { // back to 1, whose ReplicaSet is used again
		a.Push(version)
		promote(t, c)
		revisions[version] = get(t, c, made.Name).Promoted()
	}
	sets := r.Cluster.Objects(kube.ReplicaSets, a.Namespace)
	now := get(t, c, made.Name)
	for version, revision := range revisions {
		template, err := workload.TemplateOf(t.Context(), sets, now, revision)
		if err != nil || template == nil {
			t.Errorf("version %s: %v, %v", version, template, err)
			continue
		}
		restored, err := c.Update(t.Context(), made.Name, func(d *workload.Deployment) ([]kube.Operation, error) {
			return workload.Become(d, template, revision, stamp), nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := restored.Spec.Template.Spec.Containers[0].Image; got != releasetest.Image(version) {
			t.Errorf("version %s has image %s, want %s", version, got, releasetest.Image(version))
		}
		if labels := restored.Spec.Template.Metadata.Labels; len(labels) != 1 {
			t.Errorf("version %s has labels %v, want app alone", version, labels)
		}
	}
	if template, err := workload.TemplateOf(t.Context(), sets, now, "never"); template != nil || err != nil {
		t.Errorf("a revision that never was: %v, %v, want neither", template, err)
	}
	if n := len(a.ReplicaSets("podinfo-primary")); n != 3 {
		t.Errorf("%d ReplicaSets, want 3: the templates found are those that were", n)
	}
}
