package releasetest

import (
	"context"
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/yaml"

	"github.com/serin-cd/serin/pkg/cluster/kube"
)

// Canaries are Flagger's.
var Canaries = schema.GroupVersionResource{Group: "flagger.app", Version: "v1beta1", Resource: "canaries"}

// canary is one as people write it.
const canary = `
apiVersion: flagger.app/v1beta1
kind: Canary
metadata: {name: podinfo}
spec:
  provider: istio
  targetRef: {apiVersion: apps/v1, kind: Deployment, name: podinfo}
  service: {port: 80, targetPort: 9898, hosts: [podinfo.test], gateways: [public]}
  analysis:
    interval: 10s
    threshold: 5
    maxWeight: 60
    stepWeight: 20
    metrics: [{name: request-success-rate, thresholdRange: {min: 99}, interval: 1m}]
`

// bootstrapped is what Flagger makes of an application with that Canary, beside its Deployment; OWNED names the Canary.
const bootstrapped = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: podinfo-primary, labels: {app: podinfo-primary}, OWNED}
spec:
  replicas: 2
  selector: {matchLabels: {app: podinfo-primary}}
  template:
    metadata: {labels: {app: podinfo-primary}, annotations: {flagger-id: 0a1b}}
    spec:
      containers:
      - {name: podinfo, image: "example.test/podinfo:1", ports: [{containerPort: 9898}], envFrom: [{configMapRef: {name: settings-primary}}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings-primary, OWNED}
---
apiVersion: v1
kind: Service
metadata: {name: podinfo-primary, labels: {app: podinfo-primary}, OWNED}
spec: {selector: {app: podinfo-primary}, ports: [{name: http, port: 80, targetPort: 9898}]}
---
apiVersion: v1
kind: Service
metadata: {name: podinfo-canary, labels: {app: podinfo-canary}, OWNED}
spec: {selector: {app: podinfo}, ports: [{name: http, port: 80, targetPort: 9898}]}
---
apiVersion: v1
kind: Service
metadata: {name: podinfo, labels: {app: podinfo}, OWNED}
spec: {selector: {app: podinfo-primary}, ports: [{name: http, port: 80, targetPort: 9898}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: podinfo-primary, OWNED}
spec: {host: podinfo-primary}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: podinfo-canary, OWNED}
spec: {host: podinfo-canary}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: podinfo, annotations: {flagger.kubernetes.io/original-configuration: "{}"}, OWNED}
spec:
  hosts: [podinfo.test, podinfo]
  gateways: [public]
  http: [{route: [{destination: {host: podinfo-primary}, weight: 100}, {destination: {host: podinfo-canary}, weight: 0}]}]
`

// resources are those of the kinds in the manifests.
var resources = map[string]schema.GroupVersionResource{
	"Canary": Canaries, "Deployment": kube.Deployments, "Service": kube.Services, "ConfigMap": kube.ConfigMaps,
	"DestinationRule": kube.DestinationRules, "VirtualService": kube.VirtualServices,
	"HorizontalPodAutoscaler": kube.HPAs, "PipelineRun": kube.PipelineRuns,
}

// Make makes an object from YAML.
func (a *App) Make(text string) *unstructured.Unstructured {
	a.t.Helper()
	made, err := create(a.t.Context(), a.Cluster, a.Namespace, text,
		metav1.CreateOptions{FieldManager: "flagger", FieldValidation: metav1.FieldValidationStrict})
	if err != nil {
		a.t.Fatal(err)
	}
	return made
}

// Canary is one of Flagger's for the application, which is not made yet.
func (a *App) Canary() *unstructured.Unstructured {
	a.t.Helper()
	c := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(a.called(canary)), &c.Object); err != nil {
		a.t.Fatal(err)
	}
	return c
}

// called is a manifest of podinfo with the application's name, and the same images.
func (a *App) called(manifest string) string {
	return strings.NewReplacer(Image(""), Image(""), "podinfo", a.Name).Replace(manifest)
}

// Flagger leaves the application as Flagger 1.44 leaves one that it has bootstrapped, with a Canary in a phase, after
// change. Like Flagger it tells of a Canary that is suspended.
func (a *App) Flagger(phase string, change func(*unstructured.Unstructured), more ...string) {
	a.t.Helper()
	c := a.Canary()
	if change != nil {
		change(c)
	}
	c, err := a.Cluster.Objects(Canaries, a.Namespace).Create(a.t.Context(), c,
		metav1.CreateOptions{FieldValidation: metav1.FieldValidationStrict})
	if err != nil {
		a.t.Fatal(err)
	}
	owned := fmt.Sprintf("ownerReferences: [{apiVersion: flagger.app/v1beta1, kind: Canary, name: %s, uid: %s, "+
		"controller: true, blockOwnerDeletion: true}]", c.GetName(), c.GetUID())
	a.Patch(a.Name, "flagger", `[{"op":"replace","path":"/spec/replicas","value":0},
		{"op":"add","path":"/spec/template/spec/containers/0/envFrom","value":[{"configMapRef":{"name":"settings"}}]}]`)
	for _, text := range append(strings.Split(a.called(bootstrapped), "---"), more...) {
		a.Make(strings.Replace(text, "OWNED", owned, 1))
	}
	a.Phase(phase)
	a.Eventually("Flagger's primary serves", func() bool {
		return a.Deployment(a.Name+"-primary").Status.ReadyReplicas == 2 && a.Deployment(a.Name).Status.Replicas == 0
	})
	go a.acknowledge(a.t.Context())
}

// Phase is that of the Canary from now on.
func (a *App) Phase(phase string) {
	a.t.Helper()
	patch := fmt.Sprintf(`{"status":{"phase":%q,"canaryWeight":0,"failedChecks":0,"iterations":0}}`, phase)
	_, err := a.Cluster.Objects(Canaries, a.Namespace).Patch(a.t.Context(), a.Name, types.MergePatchType,
		[]byte(patch), metav1.PatchOptions{}, "status")
	if err != nil {
		a.t.Fatal(err)
	}
}

// acknowledge writes the event by which Flagger tells that it leaves a Canary alone, at each change of it.
func (a *App) acknowledge(ctx context.Context) {
	_ = kube.Follow(ctx, a.Cluster.Objects(Canaries, a.Namespace), metav1.ListOptions{},
		func(_ watch.EventType, o runtime.Object) (bool, error) {
			u, ok := o.(*unstructured.Unstructured)
			if suspended, _, _ := unstructured.NestedBool(u.Object, "spec", "suspend"); !ok || !suspended {
				return false, nil
			}
			// the next second, so that it is not older than the change
			stamp := a.Cluster.Now().Add(time.Second).Format(time.RFC3339)
			e := &unstructured.Unstructured{Object: map[string]any{
				"involvedObject": map[string]any{"kind": "Canary", "namespace": a.Namespace, "name": u.GetName()},
				"reason":         "Synced", "message": "skipping canary run as object is suspended", "type": "Normal",
				"firstTimestamp": stamp, "lastTimestamp": stamp,
			}}
			e.SetAPIVersion("v1")
			e.SetKind("Event")
			e.SetGenerateName(u.GetName() + ".")
			_, err := a.Cluster.Objects(kube.Events, a.Namespace).Create(ctx, e, metav1.CreateOptions{})
			return false, err
		})
}
