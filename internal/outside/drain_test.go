package outside_test

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/serin-cd/serin/internal/apitest"
	"github.com/serin-cd/serin/internal/outside"
	"github.com/serin-cd/serin/internal/releasetest"
	"github.com/serin-cd/serin/pkg/cluster/kube"
)

// TestObserveByTheRunsOwnPrometheus looks for it in the PipelineRun, and says what it has found.
func TestObserveByTheRunsOwnPrometheus(t *testing.T) {
	a := releasetest.Bare(t)
	m := outside.Machine{Cluster: a.Cluster, Config: apitest.Config(t), Namespace: a.Namespace}
	r := a.PipelineRun("second")
	observe := func(given map[string]string, want string) {
		t.Helper()
		closed, how := m.Observe(t.Context(), r, given)
		closed()
		if !strings.Contains(how, want) {
			t.Errorf("%s, want %q", how, want)
		}
	}
	observe(nil, "waiting for 1m0s, because Prometheus cannot tell: no such Prometheus: namespace istio-system has no "+
		"Service prometheus")
	url := "http://" + server(t, nil) + "/base"
	_, err := a.Cluster.Objects(kube.PipelineRuns, a.Namespace).Patch(t.Context(), "second", types.MergePatchType,
		[]byte(`{"spec":{"params":[{"name":"prometheus-url","value":"`+url+`"},
			{"name":"prometheus-ca-path","value":"/workspace/prometheus/ca.crt"}]}}`), metav1.PatchOptions{})
	must(t, err)
	observe(nil, "asking Prometheus at "+url+", as PipelineRun second has it, directly")
	observe(map[string]string{"prometheus-url": url}, "as --prometheus-url has it, directly")
	must(t, a.Cluster.Objects(kube.PipelineRuns, a.Namespace).Delete(t.Context(), "second", metav1.DeleteOptions{}))
	apitest.Apply(t, a.Namespace, []byte(`
apiVersion: tekton.dev/v1
kind: Pipeline
metadata: {name: canary}
spec:
  params: [{name: prometheus-url, type: string, default: "`+url+`"}]
  tasks: [{name: prepare, taskRef: {name: canary-prepare}}]
`))
	observe(nil, "asking Prometheus at "+url+", as Pipeline canary has it, directly")
}
