package steps_test

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/serin-cd/serin/internal/apitest"
	"github.com/serin-cd/serin/pkg/cluster/kube"
)

func (s *theatre) installed(ts *testscript.TestScript, _ bool, _ []string) {
	text, err := os.ReadFile("../pipelines/canary/canary.yaml")
	ts.Check(err)
	apitest.Apply(s.t, s.app.Namespace, text)
}

func (s *theatre) labelled(_ *testscript.TestScript, _ bool, args []string) {
	key, value, _ := strings.Cut(args[0], "=")
	s.app.Patch(s.app.Name, "chart", fmt.Sprintf(`[{"op":"add","path":"/metadata/labels/%s","value":%q}]`,
		strings.ReplaceAll(key, "/", "~1"), value))
}

// begun waits for a PipelineRun that a program has started, and that nobody plays yet.
func (s *theatre) begun(ts *testscript.TestScript) (name string) {
	until(ts, "a PipelineRun was started", func() bool {
		list, err := s.app.Cluster.Objects(kube.PipelineRuns, s.app.Namespace).List(s.t.Context(),
			metav1.ListOptions{LabelSelector: "serin.dev/app"})
		ts.Check(err)
		for _, o := range list.Items {
			if _, begun, _ := unstructured.NestedString(o.Object, "status", "startTime"); !begun {
				name = o.GetName()
			}
		}
		return name != ""
	})
	return name
}

// concludes ends a PipelineRun that a program has started, after a stage with a verdict if one is given.
func (s *theatre) concludes(ts *testscript.TestScript, _ bool, args []string) {
	name := s.begun(ts)
	now := time.Now().UTC().Format(time.RFC3339)
	ended := func(results ...any) map[string]any {
		return map[string]any{"startTime": now, "completionTime": now, "results": results, "conditions": []any{
			map[string]any{"type": "Succeeded", "status": "True", "reason": "Completed"}}}
	}
	result := func(name, value string) any { return map[string]any{"name": name, "value": value, "type": "string"} }
	if len(args) > 1 {
		task := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "tekton.dev/v1", "kind": "TaskRun",
			"metadata": map[string]any{"name": name + "-stage-20", "labels": map[string]any{
				"tekton.dev/pipelineRun": name, "tekton.dev/pipelineTask": "stage-20"}},
			"spec": map[string]any{"taskRef": map[string]any{"name": "canary-stage"}},
		}}
		_, err := s.app.Cluster.Objects(kube.TaskRuns, s.app.Namespace).Create(s.t.Context(), task,
			metav1.CreateOptions{})
		ts.Check(err)
		status := ended(result("verdict", args[1]))
		status["podName"] = task.GetName()
		s.write(ts, kube.TaskRuns, task.GetName(), status)
	}
	s.write(ts, kube.PipelineRuns, name, ended(result("outcome", args[0]), result("reason", "because")))
}

// write gives an object of Tekton's a status.
func (s *theatre) write(ts *testscript.TestScript, resource schema.GroupVersionResource, name string,
	status map[string]any) {
	patch, err := json.Marshal(map[string]any{"status": status})
	ts.Check(err)
	_, err = s.app.Cluster.Objects(resource, s.app.Namespace).Patch(s.t.Context(), name, types.MergePatchType, patch,
		metav1.PatchOptions{}, "status")
	ts.Check(err)
}
