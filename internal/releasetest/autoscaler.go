package releasetest

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"

	"github.com/serin-cd/serin/internal/apitest"
	"github.com/serin-cd/serin/pkg/cluster/kube"
)

// HPA is one of podinfo, which keeps 2 to 5 pods.
const HPA = `
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: podinfo, labels: {app: podinfo, team: web}}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: podinfo}
  minReplicas: 2
  maxReplicas: 5
  metrics:
    - type: External
      external:
        metric: {name: requests, selector: {matchLabels: {workload: podinfo}}}
        target: {type: AverageValue, averageValue: "10"}
`

// ScaledObject is one of podinfo, which keeps 2 to 5 pods.
const ScaledObject = `
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {name: podinfo, labels: {team: web}}
spec:
  scaleTargetRef: {name: podinfo}
  minReplicaCount: 2
  maxReplicaCount: 5
  triggers:
    - type: prometheus
      metadata: {serverAddress: "http://prometheus:9090", threshold: "10", query: 'sum(rate(requests{workload="podinfo"}[1m]))'}
`

// kinds are the resources of the kinds of autoscalers.
var kinds = map[string]schema.GroupVersionResource{
	"HorizontalPodAutoscaler": kube.HPAs, "ScaledObject": kube.ScaledObjects,
}

// Apply makes an autoscaler from YAML, as a deployment pipeline does.
func (a *App) Apply(text string) {
	a.t.Helper()
	apitest.Apply(a.t, a.Namespace, []byte(text))
}

// Install makes the first objects of a manifest, as kubectl apply does.
func (a *App) Install(file string, objects int) {
	a.t.Helper()
	f, err := os.Open(file)
	if err != nil {
		a.t.Fatal(err)
	}
	defer f.Close()
	client, err := dynamic.NewForConfig(apitest.Config(a.t))
	documents := utilyaml.NewYAMLOrJSONDecoder(f, 4096)
	for range objects {
		o := &unstructured.Unstructured{}
		if err == nil {
			err = documents.Decode(o)
		}
		if err == nil {
			kind := o.GroupVersionKind()
			resource := kind.GroupVersion().WithResource(strings.ToLower(kind.Kind) + "s")
			_, err = client.Resource(resource).Namespace(a.Namespace).Create(a.t.Context(), o, metav1.CreateOptions{})
		}
	}
	if err != nil {
		a.t.Fatal(err)
	}
}

// PatchAutoscaler merges JSON into an autoscaler.
func (a *App) PatchAutoscaler(kind, name, patch string) {
	a.t.Helper()
	if _, err := a.Cluster.Objects(kinds[kind], a.Namespace).Patch(a.t.Context(), name, types.MergePatchType,
		[]byte(patch), metav1.PatchOptions{FieldManager: "helm"}); err != nil {
		a.t.Fatal(err)
	}
}

// DeleteAutoscaler deletes one.
func (a *App) DeleteAutoscaler(kind, name string) {
	a.t.Helper()
	if err := a.Cluster.Objects(kinds[kind], a.Namespace).Delete(a.t.Context(), name,
		metav1.DeleteOptions{}); err != nil {
		a.t.Fatal(err)
	}
}

// Autoscaler reads one; nil where there is none.
func (a *App) Autoscaler(kind, name string) *unstructured.Unstructured {
	a.t.Helper()
	list, err := a.Cluster.Objects(kinds[kind], a.Namespace).List(a.t.Context(), kube.Named(name))
	if err == nil && len(list.Items) == 0 { // a field selector of names is for every kind
		return nil
	}
	if err != nil {
		a.t.Fatal(err)
	}
	return &list.Items[0]
}

// Bounds are those of an autoscaler as MIN-MAX; empty where there is none.
func (a *App) Bounds(kind, name string) string {
	a.t.Helper()
	o := a.Autoscaler(kind, name)
	if o == nil {
		return ""
	}
	members := map[string][2]string{"HorizontalPodAutoscaler": {"minReplicas", "maxReplicas"},
		"ScaledObject": {"minReplicaCount", "maxReplicaCount"}}[kind]
	least, _, _ := unstructured.NestedInt64(o.Object, "spec", members[0])
	most, _, _ := unstructured.NestedInt64(o.Object, "spec", members[1])
	return fmt.Sprintf("%d-%d", least, most)
}

// KEDA plays its operator in the namespace until the test ends, at its worst: while a ScaledObject is paused at a
// number of pods its Deployment is scaled to that at every moment, else to its least number.
func (a *App) KEDA() {
	a.t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	var watching sync.WaitGroup
	for _, kind := range []schema.GroupVersionResource{kube.ScaledObjects, kube.Deployments} {
		watching.Go(func() {
			_ = kube.Follow(ctx, a.Cluster.Objects(kind, a.Namespace), metav1.ListOptions{},
				func(watch.EventType, runtime.Object) (bool, error) {
					a.reconcile(ctx)
					return false, nil
				})
		})
	}
	a.t.Cleanup(func() { stop(); watching.Wait() })
}

// reconcile reads the Deployments first: one that was scaled since its ScaledObject was read has another version.
func (a *App) reconcile(ctx context.Context) {
	deployments := a.Cluster.Objects(kube.Deployments, a.Namespace)
	all, err := deployments.List(ctx, metav1.ListOptions{})
	if err != nil {
		return
	}
	list, err := a.Cluster.Objects(kube.ScaledObjects, a.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return
	}
	for _, o := range list.Items {
		name, _, _ := unstructured.NestedString(o.Object, "spec", "scaleTargetRef", "name")
		least, _, _ := unstructured.NestedInt64(o.Object, "spec", "minReplicaCount")
		i := slices.IndexFunc(all.Items, func(d unstructured.Unstructured) bool { return d.GetName() == name })
		if i < 0 {
			continue
		}
		replicas, _, _ := unstructured.NestedInt64(all.Items[i].Object, "spec", "replicas")
		wanted := max(replicas, least)
		if text, paused := o.GetAnnotations()["autoscaling.keda.sh/paused-replicas"]; paused {
			if json.Unmarshal([]byte(text), &wanted) != nil {
				continue
			}
		}
		if wanted != replicas {
			// somebody else was faster: there is another event then
			_, _ = deployments.Patch(ctx, name, types.JSONPatchType, fmt.Appendf(nil,
				`[{"op":"test","path":"/metadata/resourceVersion","value":%q},`+
					`{"op":"replace","path":"/spec/replicas","value":%d}]`, all.Items[i].GetResourceVersion(), wanted),
				metav1.PatchOptions{FieldManager: "keda-operator"})
		}
	}
}
