package promote_test

import (
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serin-cd/serin/internal/apitest"
	"github.com/serin-cd/serin/internal/releasetest"
	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/release/promote"
	"github.com/serin-cd/serin/pkg/release/rollback"
)

// TestPrimaryFollowsTheTarget in what is not the template: what the target has when it is promoted, as far as the
// primary never has fewer pods than it wants.
func TestPrimaryFollowsTheTarget(t *testing.T) {
	a, r := at(t)
	a.Eventually("the canary's pods have been ready for longer than minReadySeconds", func() bool {
		return readySince(t, a, time.Now().Add(-2*time.Second)) == 2
	})
	a.Patch("podinfo", "helm", `[
		{"op":"add","path":"/spec/minReadySeconds","value":1},
		{"op":"add","path":"/spec/revisionHistoryLimit","value":0},
		{"op":"add","path":"/spec/progressDeadlineSeconds","value":1200},
		{"op":"add","path":"/spec/strategy","value":{"type":"RollingUpdate","rollingUpdate":{"maxSurge":0,"maxUnavailable":1}}},
		{"op":"add","path":"/metadata/labels","value":{"app":"podinfo","team":"api","app.kubernetes.io/instance":"shop"}},
		{"op":"add","path":"/metadata/annotations/example.com~1cost-centre","value":"42"},
		{"op":"add","path":"/metadata/annotations/secret.example.com~1x","value":"y"},
		{"op":"add","path":"/metadata/annotations/meta.helm.sh~1release-name","value":"shop"}]`)
	a.Eventually("the pods count as available again", func() bool {
		d := a.Deployment("podinfo")
		return d.Status.ObservedGeneration >= d.Generation && d.Status.AvailableReplicas == 2
	})
	r.Take(application.Metadata{Exclude: []string{"secret."}})
	_, err := promote.Run(t.Context(), r, time.Minute)
	must(t, err)
	primary := a.Deployment("podinfo-primary")
	rolling := primary.Spec.Strategy.RollingUpdate
	got := []any{primary.Spec.MinReadySeconds, *primary.Spec.RevisionHistoryLimit,
		*primary.Spec.ProgressDeadlineSeconds, rolling.MaxSurge.String(), rolling.MaxUnavailable.String()}
	want := []any{int32(1), int32(2), int32(1200), "1", "0"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("settings (-want +got):\n%s", diff)
	}
	// owner is from the first release: what the target has no more may be somebody else's by now, and stays
	labels := map[string]string{"app": "podinfo-primary", "team": "api", "owner": "ann", "serin.dev/app": "podinfo"}
	if diff := cmp.Diff(labels, primary.Labels); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
	annotations := primary.Annotations
	if annotations["example.com/cost-centre"] != "42" || annotations["secret.example.com/x"] != "" ||
		annotations["meta.helm.sh/release-name"] != "" || annotations["serin.dev/run"] != r.ID.String() {
		t.Errorf("annotations %v, want the cost centre alone taken over", annotations)
	}
}

// readySince counts the pods of the target that have been ready since a time.
func readySince(t *testing.T, a *releasetest.App, since time.Time) (n int) {
	pods, err := a.Client.CoreV1().Pods(a.Namespace).List(t.Context(), metav1.ListOptions{LabelSelector: "app=podinfo"})
	must(t, err)
	for _, pod := range pods.Items {
		for _, c := range pod.Status.Conditions {
			ready := c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
			if ready && c.LastTransitionTime.Time.Before(since) {
				n++
			}
		}
	}
	return n
}

// TestPromotionIsUndoneWithoutReplicaSet gives the primary what it ran before, of which there is no ReplicaSet any
// more.
func TestPromotionIsUndoneWithoutReplicaSet(t *testing.T) {
	a, r := at(t)
	before := a.Deployment("podinfo-primary")
	a.UnreadyPrimary("2")
	if _, err := promote.Run(t.Context(), r, time.Second); err == nil {
		t.Fatal("promoted, want the primary not ready")
	}
	a.Patch("podinfo-primary", "kubectl-patch", `[{"op":"replace","path":"/spec/revisionHistoryLimit","value":0}]`)
	orphan := metav1.DeletePropagationOrphan // its pods go on serving
	for _, set := range a.ReplicaSets("podinfo-primary") {
		if set.Spec.Template.Spec.Containers[0].Image == releasetest.Image("1") {
			must(t, a.Client.AppsV1().ReplicaSets(a.Namespace).Delete(t.Context(), set.Name,
				metav1.DeleteOptions{PropagationPolicy: &orphan}))
		}
	}
	a.Eventually("there is one ReplicaSet left", func() bool { return len(a.ReplicaSets("podinfo-primary")) == 1 })
	for range 2 {
		_, err := rollback.Run(t.Context(), r, r.ID, "the promotion failed", time.Minute)
		must(t, err)
		after := a.Deployment("podinfo-primary")
		if diff := cmp.Diff(before.Spec.Template, after.Spec.Template); diff != "" || !primaryRuns(a, "1") {
			t.Errorf("the primary is %+v, template (-before +after):\n%s", after.Status, diff)
		}
		if after.Annotations["serin.dev/revision"] != before.Annotations["serin.dev/revision"] ||
			after.Annotations["serin.dev/previous-template"] != "" {
			t.Errorf("annotations %v, want the revision as before, and nothing to undo", after.Annotations)
		}
	}
}

// TestPromotionWaitsForTheWholeCanary waits for a pod that is being replaced, and promotes then.
func TestPromotionWaitsForTheWholeCanary(t *testing.T) {
	a, r := at(t)
	pod := a.Pod("2")
	a.Node.Name(pod, apitest.Unready)
	a.Eventually("one pod is available", func() bool { return a.Deployment("podinfo").Status.AvailableReplicas == 1 })
	time.AfterFunc(2*time.Second, func() { a.Node.Name(pod, apitest.Ready) })
	_, err := promote.Run(t.Context(), r, time.Minute)
	must(t, err)
	a.Want(promoted)
}

// TestPromotionOfHalfACanary gives the traffic back at the deadline.
func TestPromotionOfHalfACanary(t *testing.T) {
	a, r := at(t)
	a.Node.Name(a.Pod("2"), apitest.Unready)
	a.Eventually("one pod is available", func() bool { return a.Deployment("podinfo").Status.AvailableReplicas == 1 })
	if _, err := promote.Run(t.Context(), r, time.Second); err == nil {
		t.Error("it was promoted, want it taken back")
	}
	if s := a.State(); s.Weight != 0 || s.Primary != releasetest.Image("1") {
		t.Errorf("state %+v, want the primary as it was, with all traffic", s)
	}
}

// TestPrimaryScaledUpMeanwhile has an autoscaler ask for more pods of the primary while the promotion waits for it.
func TestPrimaryScaledUpMeanwhile(t *testing.T) {
	a, r := at(t)
	a.UnreadyPrimary("2")
	var scaled sync.WaitGroup
	scaled.Go(func() {
		a.Eventually("the rollout has begun", func() bool {
			return a.Deployment("podinfo-primary").Status.UpdatedReplicas > 0
		})
		a.Patch("podinfo-primary", "horizontal-pod-autoscaler", `[{"op":"replace","path":"/spec/replicas","value":4}]`)
		a.Node.ImageAndLabel(releasetest.Image("2"), "app=podinfo-primary", apitest.Ready)
	})
	_, err := promote.Run(t.Context(), r, time.Minute)
	must(t, err)
	scaled.Wait()
	a.Want(promoted)
	if d := a.Deployment("podinfo-primary"); *d.Spec.Replicas != 4 || d.Status.AvailableReplicas != 4 {
		t.Errorf("the primary wants %d pods, and has %d, want 4", *d.Spec.Replicas, d.Status.AvailableReplicas)
	}
}
