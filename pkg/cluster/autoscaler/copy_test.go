package autoscaler_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/yaml"

	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/autoscaler"
	"github.com/serin-cd/serin/pkg/task/failure"
)

var podinfo = application.Application{Namespace: "shop", Name: "podinfo"}

func parse(t *testing.T, text string) map[string]any {
	t.Helper()
	object := map[string]any{}
	whole, err := yaml.YAMLToJSON([]byte(text))
	if err == nil {
		err = json.Unmarshal(whole, &object)
	}
	if err != nil {
		t.Fatal(err)
	}
	return object
}

// TestCopies has in each case what the target has and what the primary gets.
func TestCopies(t *testing.T) {
	cases := map[string]struct {
		kind       autoscaler.Kind
		bounds     autoscaler.Bounds
		from, want string
	}{
		"metrics and behavior": {kind: autoscaler.HPA, from: `
scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: podinfo}
minReplicas: 2
maxReplicas: 5
behavior: {scaleDown: {stabilizationWindowSeconds: 60}}
unknown: podinfo
metrics:
- {type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 80}}}
- type: Pods
  pods: {metric: {name: r, selector: {matchLabels: {app: podinfo, of: podinfo-web}}}, target: {type: AverageValue, averageValue: "1"}}
- type: Object
  object: {describedObject: {kind: Deployment, name: podinfo}, metric: {name: r, selector: {matchExpressions: [{key: app, operator: In, values: [podinfo, web]}]}}}
- type: Object
  object: {describedObject: {kind: Service, name: podinfo}, metric: {name: r}}
`, want: `
scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: podinfo-primary}
minReplicas: 2
maxReplicas: 5
behavior: {scaleDown: {stabilizationWindowSeconds: 60}}
unknown: podinfo
metrics:
- {type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 80}}}
- type: Pods
  pods: {metric: {name: r, selector: {matchLabels: {app: podinfo-primary, of: podinfo-web}}}, target: {type: AverageValue, averageValue: "1"}}
- type: Object
  object: {describedObject: {kind: Deployment, name: podinfo-primary}, metric: {name: r, selector: {matchExpressions: [{key: app, operator: In, values: [podinfo-primary, web]}]}}}
- type: Object
  object: {describedObject: {kind: Service, name: podinfo}, metric: {name: r}}
`},
		"triggers": {kind: autoscaler.ScaledObject, from: `
scaleTargetRef: {name: podinfo}
idleReplicaCount: 0
pollingInterval: 15
advanced: {horizontalPodAutoscalerConfig: {name: podinfo-hpa}}
triggers:
- {type: prometheus, metadata: {query: 'x{pod=~"podinfo-.*"}', threshold: "1"}, authenticationRef: {name: podinfo}}
- {type: rabbitmq, metadata: {queueName: podinfo, query: podinfo}}
- {type: postgresql, metadata: {query: select count(*) from podinfo}}
`, want: `
scaleTargetRef: {name: podinfo-primary}
minReplicaCount: 1
pollingInterval: 15
advanced: {horizontalPodAutoscalerConfig: {name: podinfo-hpa-primary}}
triggers:
- {type: prometheus, metadata: {query: 'x{pod=~"podinfo-primary-.*"}', threshold: "1"}, authenticationRef: {name: podinfo}}
- {type: rabbitmq, metadata: {queueName: podinfo, query: podinfo}}
- {type: postgresql, metadata: {query: select count(*) from podinfo}}
`},
		"bounds of its own": {kind: autoscaler.HPA, bounds: autoscaler.Bounds{Min: 3, Max: 30},
			from: "{scaleTargetRef: {name: podinfo}, maxReplicas: 5}",
			want: "{scaleTargetRef: {name: podinfo-primary}, minReplicas: 3, maxReplicas: 30}"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			target := &unstructured.Unstructured{Object: map[string]any{"spec": parse(t, c.from)}}
			target.SetKind(string(c.kind))
			before := target.DeepCopy()
			got, err := autoscaler.PrimarySpec(target, podinfo, c.bounds)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(parse(t, c.want), got); diff != "" {
				t.Errorf("spec (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(before, target); diff != "" {
				t.Errorf("the target's has changed (-before +after):\n%s", diff)
			}
		})
	}
}

func TestNamesInQueries(t *testing.T) {
	for text, want := range map[string]string{
		`{app="podinfo"}`:            `{app="podinfo-primary"}`,
		`podinfo`:                    `podinfo-primary`,
		`{a="podinfo",b="podinfo"}`:  `{a="podinfo-primary",b="podinfo-primary"}`,
		`podinfo podinfo podinfo`:    `podinfo-primary podinfo-primary podinfo-primary`,
		`{pod=~"podinfo-[0-9a-f]+"}`: `{pod=~"podinfo-primary-[0-9a-f]+"}`,
		`{host="podinfo.shop.svc"}`:  `{host="podinfo-primary.shop.svc"}`,
		`{app="podinfo-primary"}`:    `{app="podinfo-primary"}`,
		`{app="podinfo-canary"}`:     `{app="podinfo-canary"}`,
		`{app="my-podinfo"}`:         `{app="my-podinfo"}`,
		`podinfo_requests_total`:     `podinfo_requests_total`,
	} {
		if got := autoscaler.RenameWord(text, podinfo); got != want {
			t.Errorf("%s became %s, want %s", text, got, want)
		}
	}
}

func TestBoundsThatCannotBe(t *testing.T) {
	target := &unstructured.Unstructured{Object: map[string]any{"spec": parse(t,
		"{scaleTargetRef: {name: podinfo}, minReplicaCount: 4, maxReplicaCount: 10}")}}
	target.SetKind(string(autoscaler.ScaledObject))
	target.SetName("podinfo")
	_, err := autoscaler.PrimarySpec(target, podinfo, autoscaler.Bounds{Max: 3})
	if failure.Code(err) != failure.ExitConfig || !strings.Contains(fmt.Sprint(err),
		"at least 4 and at most 3 pods (primary-min-replicas not set, primary-max-replicas 3, "+
			"ScaledObject/podinfo has 4 to 10)") {
		t.Errorf("error %v (exit %d), want both numbers (exit %d)", err, failure.Code(err), failure.ExitConfig)
	}
}

func TestChoices(t *testing.T) {
	for text, want := range map[string]autoscaler.Choice{
		"auto": "auto", "none": "none", "hpa/web": "HorizontalPodAutoscaler/web",
		"HorizontalPodAutoscaler/web": "HorizontalPodAutoscaler/web", "ScaledObject/web": "ScaledObject/web",
	} {
		var got autoscaler.Choice
		if err := got.EnvDecode(text); err != nil || got != want {
			t.Errorf("%s became %q (%v), want %q", text, got, err, want)
		}
	}
	for _, text := range []string{"", "hpa", "hpa/", "web", "Deployment/web", "hpa/Web_1", "hpa/a/b"} {
		var got autoscaler.Choice
		if err := got.EnvDecode(text); err == nil || !strings.Contains(err.Error(), "want auto, none, Horizontal") {
			t.Errorf("%q was read as %q (%v), want it refused", text, got, err)
		}
	}
}

// TestWakesTheTarget is of a HorizontalPodAutoscaler that only clusters with a feature gate let be.
func TestWakesTheTarget(t *testing.T) {
	target := &unstructured.Unstructured{Object: map[string]any{"spec": parse(t, "{minReplicas: 0, maxReplicas: 5}")}}
	target.SetKind(string(autoscaler.HPA))
	target.SetName("podinfo")
	if err := autoscaler.Rests(autoscaler.Autoscalers{}, target); failure.Code(err) != failure.ExitConfig ||
		!strings.Contains(fmt.Sprint(err), "minReplicas 0 lets it wake the Deployment at rest") {
		t.Errorf("error %v (exit %d), want it refused (exit %d)", err, failure.Code(err), failure.ExitConfig)
	}
}
