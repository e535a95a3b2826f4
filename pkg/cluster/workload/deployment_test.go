package workload_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/cluster/workload"
	"github.com/serin-cd/serin/pkg/task/failure"
)

// parse reads a Deployment's YAML.
func parse(t testing.TB, text string) *workload.Deployment {
	t.Helper()
	object := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(text), &object.Object); err != nil {
		t.Fatal(err)
	}
	d, err := workload.FromObject(object)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// podinfo is a target with this selector and this rest of the pod template, as flow YAML.
func podinfo(t testing.TB, selector, labels, spec string) *workload.Deployment {
	t.Helper()
	return parse(t,
		fmt.Sprintf("{metadata: {name: podinfo}, spec: {selector: %s, template: {metadata: {labels: %s}, spec: %s}}}",
			selector, labels, spec))
}

const one = "{containers: [{name: podinfo, image: 'podinfo:1'}]}"

func TestRevision(t *testing.T) {
	base := podinfo(t, "{matchLabels: {app: podinfo}}", "{app: podinfo}",
		"{containers: [{name: podinfo, image: 'podinfo:1', env: [{name: A, value: '<&>'}]}]}").Revision()
	cases := map[string]struct {
		text string
		same bool
	}{
		"order": {"{spec: {template: {spec: {containers: [{image: 'podinfo:1', env: [{value: '<&>', " +
			"name: A}], name: podinfo}]}, metadata: {labels: {app: podinfo}}}, selector: {matchLabels: {app: " +
			"podinfo}}}}", true},
		"null members": {"{spec: {selector: {}, template: {metadata: {labels: {app: podinfo}, " +
			"creationTimestamp: null, annotations: null}, spec: {containers: [{name: podinfo, image: 'podinfo:1', " +
			"args: null, env: [{name: A, value: '<&>', valueFrom: null}]}]}}}}", true},
		"outside": {"{metadata: {annotations: {a: b}, labels: {c: d}}, spec: {replicas: 7, paused: " +
			"true, selector: {}, template: {metadata: {labels: {app: podinfo}}, spec: {containers: [{name: podinfo, " +
			"image: 'podinfo:1', env: [{name: A, value: '<&>'}]}]}}}}", true},
		"image": {"{spec: {selector: {}, template: {metadata: {labels: {app: podinfo}}, spec: " +
			"{containers: [{name: podinfo, image: 'podinfo:2', env: [{name: A, value: '<&>'}]}]}}}}", false},
		"label": {"{spec: {selector: {}, template: {metadata: {labels: {app: podinfo, v: '2'}}, spec: " +
			"{containers: [{name: podinfo, image: 'podinfo:1', env: [{name: A, value: '<&>'}]}]}}}}", false},
		"annotation": {"{spec: {selector: {}, template: {metadata: {labels: {app: podinfo}, annotations: " +
			"{restartedAt: now}}, spec: {containers: [{name: podinfo, image: 'podinfo:1', env: [{name: A, value: " +
			"'<&>'}]}]}}}}", false},
		"unknown field": {"{spec: {selector: {}, template: {metadata: {labels: {app: podinfo}}, spec: " +
			"{fromTheFuture: {a: 1}, containers: [{name: podinfo, image: 'podinfo:1', env: [{name: A, value: " +
			"'<&>'}]}]}}}}", false},
		"empty is not " +
			"absent": {"{spec: {selector: {}, template: {metadata: {labels: {app: podinfo}}, spec: {volumes: [], " +
			"containers: [{name: podinfo, image: 'podinfo:1', env: [{name: A, value: '<&>'}]}]}}}}", false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := parse(t, c.text).Revision(); (got == base) != c.same {
				t.Errorf("revision %s, want the same as %s: %v", got, base, c.same)
			}
		})
	}
}

func TestRevisionIsOfCanonicalJSON(t *testing.T) {
	got := podinfo(t, "{}", "{app: a}", "{b: '<é>', a: [1, null], c: null}").Revision()
	// printf '%s' '{"metadata":{"labels":{"app":"a"}},"spec":{"a":[1,null],"b":"<é>"}}' | sha256sum
	if want := "7102db5450a0474453f59fa607cd2a7154f78b23f0fcb36b3f4773f447ddee17"; got != want {
		t.Errorf("revision %s, want %s", got, want)
	}
}

func TestReady(t *testing.T) {
	cases := map[string]struct {
		text string
		want bool
	}{
		"ready": {"{metadata: {generation: 2}, spec: {replicas: 2, selector: {}, template: {}}, " +
			"status: {observedGeneration: 2, replicas: 2, updatedReplicas: 2, availableReplicas: 2}}", true},
		"replicas by " +
			"default": {"{metadata: {generation: 1}, spec: {selector: {}, template: {}}, status: " +
			"{observedGeneration: 1, replicas: 1, updatedReplicas: 1, availableReplicas: 1}}", true},
		"not seen yet": {"{metadata: {generation: 3}, spec: {replicas: 2, selector: {}, template: {}}, " +
			"status: {observedGeneration: 2, replicas: 2, updatedReplicas: 2, availableReplicas: 2}}", false},
		"half available": {"{metadata: {generation: 2}, spec: {replicas: 2, selector: {}, template: {}}, " +
			"status: {observedGeneration: 2, replicas: 2, updatedReplicas: 2, availableReplicas: 1}}", false},
		"an old pod is left": {"{metadata: {generation: 2}, spec: {replicas: 2, selector: {}, template: {}}, " +
			"status: {observedGeneration: 2, replicas: 3, updatedReplicas: 2, availableReplicas: 2}}", false},
		"old pods serve": {"{metadata: {generation: 2}, spec: {replicas: 2, selector: {}, template: {}}, " +
			"status: {observedGeneration: 2, replicas: 2, updatedReplicas: 1, availableReplicas: 2}}", false},
		"nobody is not " +
			"ready": {"{metadata: {generation: 2}, spec: {replicas: 0, selector: {}, template: {}}, status: " +
			"{observedGeneration: 2}}", false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			d := parse(t, c.text)
			if got := d.Ready(); got != c.want {
				t.Errorf("ready: %v (%s), want %v", got, d.Progress(), c.want)
			}
		})
	}
}

func TestSetImage(t *testing.T) {
	const two = "{containers: [{name: podinfo, image: 'podinfo:1'}, {name: proxy, image: 'envoy:1'}]}"
	cases := map[string]struct {
		spec, container, image string
		want                   []kube.Operation
		err                    string
	}{
		"the only container": {one, "", "podinfo:2",
			[]kube.Operation{kube.Test("/spec/template/spec/containers/0/name", "podinfo"),
				kube.Replace("/spec/template/spec/containers/0/image", "podinfo:2")}, ""},
		"by name": {two, "proxy", "envoy:2",
			[]kube.Operation{kube.Test("/spec/template/spec/containers/1/name", "proxy"),
				kube.Replace("/spec/template/spec/containers/1/image", "envoy:2")}, ""},
		"has it":   {one, "podinfo", "podinfo:1", nil, ""},
		"no image": {two, "", "", nil, ""},
		"which of two": {two, "", "podinfo:2", nil,
			`setting image podinfo:2 on Deployment podinfo: container "", want one of podinfo, proxy`},
		"unknown": {one, "web", "podinfo:2", nil, `container "web", want one of podinfo`},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := workload.SetImage(podinfo(t, "{}", "{app: podinfo}", c.spec), c.container, c.image)
			if c.err != "" {
				if !errors.Is(err, failure.ErrConfig) || !strings.Contains(err.Error(), c.err) {
					t.Errorf("error %v, want %q in it", err, c.err)
				}
				return
			}
			if diff := cmp.Diff(c.want, got); err != nil || diff != "" {
				t.Errorf("operations (%v, -want +got):\n%s", err, diff)
			}
		})
	}
}
