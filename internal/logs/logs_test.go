package logs_test

import (
	"bytes"
	"context"
	"io"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/serin-cd/serin/internal/apitest"
	"github.com/serin-cd/serin/internal/logs"
	"github.com/serin-cd/serin/internal/releasetest"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/release/status"
	"github.com/serin-cd/serin/pkg/task/run"
)

func TestMain(m *testing.M) { apitest.Main(m, apitest.Controllers) }

// page is what has been printed so far.
type page struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (p *page) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.Write(b)
}

func (p *page) plain() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return regexp.MustCompile("\x1b\\[[0-9;]*m").ReplaceAllString(p.text.String(), "")
}

// until waits until something has been printed.
func (p *page) until(t *testing.T, want string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for !strings.Contains(p.plain(), want) {
		if err := kube.Pause(ctx); err != nil {
			t.Fatalf("no %q in\n%s", want, p.plain())
		}
	}
}

// object makes one of Tekton's objects, with a status.
func object(t *testing.T, a *releasetest.App, kind, name string, labels map[string]string, state map[string]any) {
	t.Helper()
	made := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{
		"taskRef": map[string]any{"name": "canary-stage"}}}}
	resource := kube.TaskRuns
	if kind == "PipelineRun" {
		resource = kube.PipelineRuns
		made.Object["spec"] = map[string]any{"pipelineRef": map[string]any{"name": "canary"},
			"params": []any{map[string]any{"name": "app", "value": "podinfo"}}}
	}
	made.SetAPIVersion("tekton.dev/v1")
	made.SetKind(kind)
	made.SetName(name)
	made.SetLabels(labels)
	if _, err := a.Cluster.Objects(resource, a.Namespace).Create(t.Context(), made,
		metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	patch(t, a, kind, name, state)
}

func patch(t *testing.T, a *releasetest.App, kind, name string, state map[string]any) {
	t.Helper()
	resource := kube.TaskRuns
	if kind == "PipelineRun" {
		resource = kube.PipelineRuns
	}
	text, err := (&unstructured.Unstructured{Object: map[string]any{"apiVersion": "tekton.dev/v1", "kind": kind,
		"status": state}}).MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Cluster.Objects(resource, a.Namespace).Patch(t.Context(), name, types.MergePatchType, text,
		metav1.PatchOptions{}, "status"); err != nil {
		t.Fatal(err)
	}
}

// step is the state of a step that has begun.
func step(name string) any {
	return map[string]any{"name": name, "container": "step-" + name, "running": map[string]any{
		"startedAt": "2026-11-29T12:00:00Z"}}
}

func task(t *testing.T, a *releasetest.App, name, pod, began string, steps ...any) {
	t.Helper()
	object(t, a, "TaskRun", "second-"+name, map[string]string{"tekton.dev/pipelineRun": "second",
		"tekton.dev/pipelineTask": name}, map[string]any{"podName": pod, "startTime": began, "steps": steps})
}

func print(t *testing.T, w io.WriteCloser, text string) {
	t.Helper()
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
}

func TestFollow(t *testing.T) {
	a := releasetest.Bare(t)
	object(t, a, "PipelineRun", "second", nil, map[string]any{"startTime": "2026-11-29T12:00:00Z"})
	all, err := status.Runs(t.Context(), a.Cluster, a.Namespace)
	if err != nil || len(all) != 1 {
		t.Fatalf("%v (%v), want one run", all, err)
	}
	task(t, a, "prepare", "gone", "2026-11-29T12:00:00Z", step("acquire-lease"), step("prepare-canary"))
	logged := apitest.Logs(t, a.Namespace, "stage", "step-shift-weight", "step-analyze-metrics")
	task(t, a, "stage-20", "stage", "2026-11-29T12:00:10Z", step("shift-weight"))
	var out page
	ended := make(chan error, 1)
	go func() {
		p := &logs.Printer{Cluster: a.Cluster, Run: all[0], Out: &out}
		ended <- p.Follow(t.Context())
	}()
	print(t, logged["step-shift-weight"], "weight 20\n")
	out.until(t, "stage-20 shift-weight | weight 20\n")
	out.until(t, "prepare | the pod is gone, and its log with it: tkn canary explain podinfo --run second tells")
	patch(t, a, "TaskRun", "second-stage-20", map[string]any{"steps": []any{step("shift-weight"),
		step("analyze-metrics")}})
	print(t, logged["step-analyze-metrics"], "cell closed\nwithout an end")
	out.until(t, "stage-20 analyze-metrics | cell closed\n")
	patch(t, a, "PipelineRun", "second", map[string]any{"completionTime": "2026-11-29T12:01:00Z"})
	for _, w := range logged {
		w.Close()
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("still following a run that has ended")
	}
	got := out.plain()
	if !strings.HasSuffix(got, "stage-20 analyze-metrics | without an end\n") || strings.Count(got, "\n") != 4 {
		t.Errorf("printed\n%s\nwant four lines, each once", got)
	}
}

func TestPrintWithoutWhatThereIsNot(t *testing.T) {
	a := releasetest.Bare(t)
	r := status.Run{ID: run.ID{Namespace: a.Namespace, Name: "second"}, App: "podinfo"}
	wants := func(task, want string) {
		t.Helper()
		var out page
		p := &logs.Printer{Cluster: a.Cluster, Run: r, Task: task, Out: &out}
		if err := p.Print(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	wants("", "it has no task so far")
	task(t, a, "prepare", "gone", "2026-11-29T12:00:00Z", step("acquire-lease"))
	wants("stage-20", "it has no task stage-20 so far")
}
