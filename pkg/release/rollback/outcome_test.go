package rollback_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/serin-cd/serin/internal/releasetest"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/release/rollback"
	"github.com/serin-cd/serin/pkg/task/run"
)

// ended gives a PipelineRun a TaskRun whose step ended with an exit code.
func ended(t *testing.T, a *releasetest.App, pipelineRun string, exit int) {
	t.Helper()
	taskRun := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{
		"taskRef": map[string]any{"name": "canary-prepare"}}}}
	taskRun.SetAPIVersion("tekton.dev/v1")
	taskRun.SetKind("TaskRun")
	taskRun.SetName(pipelineRun + "-prepare")
	_, err := a.Cluster.Objects(kube.TaskRuns, a.Namespace).Create(t.Context(), taskRun, metav1.CreateOptions{})
	must(t, err)
	status(t, a, kube.TaskRuns.Resource, taskRun.GetName(), map[string]any{"podName": "pod", "steps": []any{
		map[string]any{"name": "acquire-lease", "terminated": map[string]any{"exitCode": 0}},
		map[string]any{"name": "prepare-canary", "terminated": map[string]any{"exitCode": exit}}},
		"results": []any{map[string]any{"name": "reason", "type": "string", "value": because}}})
	status(t, a, kube.PipelineRuns.Resource, pipelineRun, map[string]any{"childReferences": []any{
		map[string]any{"kind": "TaskRun", "name": taskRun.GetName(), "pipelineTaskName": "prepare"}}})
}

func status(t *testing.T, a *releasetest.App, resource, name string, status map[string]any) {
	t.Helper()
	patch, err := json.Marshal(map[string]any{"status": status})
	must(t, err)
	of := kube.TaskRuns
	if resource == kube.PipelineRuns.Resource {
		of = kube.PipelineRuns
	}
	_, err = a.Cluster.Objects(of, a.Namespace).Patch(t.Context(), name, types.MergePatchType, patch,
		metav1.PatchOptions{}, "status")
	must(t, err)
}

// because is why the step failed.
const because = "config: reading interval: 5, want a duration"

// TestOutcomeOfARunThatNeverBegan is not that of one that was taken back: nothing was.
func TestOutcomeOfARunThatNeverBegan(t *testing.T) {
	cases := map[string]struct {
		exit int
		want run.Outcome
	}{
		"wrong parameters":        {2, run.Refused},
		"an error of the cluster": {1, run.Failed},
		"primary not ready":       {3, run.Failed},
	}
	a := releasetest.New(t)
	a.First()
	number := 0
	for name, c := range cases {
		number++
		r := a.PipelineRun(fmt.Sprintf("run-%d", number))
		ended(t, a, r.ID.Name, c.exit)
		got, reason := rollback.Outcome(t.Context(), r, nil, false)
		if got != c.want || !strings.HasSuffix(reason, ": "+because) {
			t.Errorf("%s: outcome %q (%s), want %q because of what the task says", name, got, reason, c.want)
		}
	}
	r := a.PipelineRun("cancelled")
	if got, _ := rollback.Outcome(t.Context(), r, nil, false); got != run.Failed {
		t.Errorf("ended before a step did: outcome %q, want %q", got, run.Failed)
	}
}
