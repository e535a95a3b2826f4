package trial

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/serin-cd/serin/pkg/cluster/kube"
)

var taskRuns = schema.GroupVersionResource{Group: "tekton.dev", Version: "v1", Resource: "taskruns"}

// Interval is the time from check to check in a sandbox, three scrapes.
const Interval = "15s"

// Run is a PipelineRun.
type Run struct {
	App  *App
	Name string
}

// Result is how a PipelineRun ended.
type Result struct {
	Succeeded bool
	Reason    string            // Tekton's
	Results   map[string]string // of the Pipeline
	Tasks     map[string]Task   // by their name in the Pipeline
}

// Task is how one of its tasks ended.
type Task struct {
	Succeeded bool
	Reason    string
	Results   map[string]string
	Exits     map[string]int64 // exit code of each step
}

// Start starts a Pipeline for the application, with these parameters beside the usual ones.
func (a *App) Start(ctx context.Context, pipeline, name string, params map[string]string) (*Run, error) {
	return a.StartWith(ctx, pipeline, name, params, nil)
}

// StartWith is Start with a PipelineRun whose spec has these members too, or in place of the usual ones.
func (a *App) StartWith(ctx context.Context, pipeline, name string, params map[string]string,
	spec map[string]any) (*Run, error) {
	all := map[string]string{"app": a.Name, "hosts": a.Host, "gateways": "public", "interval": Interval,
		"prometheus-url": a.Sandbox.PodPrometheus}
	for k, v := range params {
		all[k] = v
	}
	var list []any
	for _, k := range slices.Sorted(keys(all)) {
		list = append(list, map[string]any{"name": k, "value": all[k]})
	}
	whole := map[string]any{
		"pipelineRef":     map[string]any{"name": pipeline},
		"params":          list,
		"taskRunTemplate": map[string]any{"serviceAccountName": "serin"},
		"timeouts":        map[string]any{"pipeline": "1h0m0s", "tasks": "50m0s", "finally": "10m0s"},
	}
	maps.Copy(whole, spec)
	object := &unstructured.Unstructured{Object: map[string]any{"spec": whole}}
	object.SetAPIVersion("tekton.dev/v1")
	object.SetKind("PipelineRun")
	object.SetName(name)
	_, err := a.Objects.Resource(kube.PipelineRuns).Namespace(a.Namespace).Create(ctx, object, metav1.CreateOptions{})
	return &Run{App: a, Name: name}, err
}

func keys(m map[string]string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// Wait waits until the run has ended.
func (r *Run) Wait(ctx context.Context, limit time.Duration) (Result, error) {
	var result Result
	// A PipelineRun is large: to look more often costs the API server more than the steps do.
	err := r.App.eventually(ctx, time.Second, limit, "PipelineRun "+r.Name+" has ended",
		func(ctx context.Context) (bool, error) {
			found, err := r.App.Objects.Resource(kube.PipelineRuns).Namespace(r.App.Namespace).Get(ctx, r.Name,
				metav1.GetOptions{})
			if err != nil {
				return false, err
			}
			status, reason := succeeded(found)
			result.Succeeded, result.Reason, result.Results = status == "True", reason,
				results(found, "status", "results")
			return status == "True" || status == "False", nil
		})
	if err != nil {
		return result, err
	}
	result.Tasks, err = r.Tasks(ctx)
	return result, err
}

// Ended says whether the run has ended, or is gone.
func (r *Run) Ended(ctx context.Context) (bool, error) {
	found, err := r.App.Objects.Resource(kube.PipelineRuns).Namespace(r.App.Namespace).Get(ctx, r.Name,
		metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	status, _ := succeeded(found)
	return status == "True" || status == "False", nil
}

func succeeded(object *unstructured.Unstructured) (status, reason string) {
	conditions, _, _ := unstructured.NestedSlice(object.Object, "status", "conditions")
	for _, c := range conditions {
		if m, ok := c.(map[string]any); ok && m["type"] == "Succeeded" {
			return fmt.Sprint(m["status"]), fmt.Sprint(m["reason"])
		}
	}
	return "", ""
}

func results(object *unstructured.Unstructured, path ...string) map[string]string {
	found := map[string]string{}
	list, _, _ := unstructured.NestedSlice(object.Object, path...)
	for _, r := range list {
		if m, ok := r.(map[string]any); ok {
			found[fmt.Sprint(m["name"])] = strings.TrimSpace(fmt.Sprint(m["value"]))
		}
	}
	return found
}

// Tasks are those of its tasks that have begun, by their name in the Pipeline.
func (r *Run) Tasks(ctx context.Context) (map[string]Task, error) {
	list, err := r.App.Objects.Resource(taskRuns).Namespace(r.App.Namespace).List(ctx,
		metav1.ListOptions{LabelSelector: "tekton.dev/pipelineRun=" + r.Name})
	if err != nil {
		return nil, err
	}
	tasks := map[string]Task{}
	for _, t := range list.Items {
		status, reason := succeeded(&t)
		task := Task{Succeeded: status == "True", Reason: reason, Results: results(&t, "status", "results"),
			Exits: map[string]int64{}}
		steps, _, _ := unstructured.NestedSlice(t.Object, "status", "steps")
		for _, s := range steps {
			m, _ := s.(map[string]any)
			if code, ok, _ := unstructured.NestedInt64(m, "terminated", "exitCode"); ok {
				task.Exits[fmt.Sprint(m["name"])] = code
			}
		}
		tasks[t.GetLabels()["tekton.dev/pipelineTask"]] = task
	}
	return tasks, nil
}

// Logs writes what every step of the run has logged.
func (r *Run) Logs(ctx context.Context, w io.Writer) error {
	pods, err := r.App.Client.CoreV1().Pods(r.App.Namespace).List(ctx,
		metav1.ListOptions{LabelSelector: "tekton.dev/pipelineRun=" + r.Name})
	if err != nil {
		return err
	}
	slices.SortFunc(pods.Items, func(a,
		b corev1.Pod) int {
		return a.CreationTimestamp.Compare(b.CreationTimestamp.Time)
	})
	for _, pod := range pods.Items {
		for _, c := range pod.Spec.Containers {
			fmt.Fprintf(w, "--- %s %s\n", pod.Name, c.Name)
			log, err := r.App.Client.CoreV1().Pods(r.App.Namespace).GetLogs(pod.Name,
				&corev1.PodLogOptions{Container: c.Name}).DoRaw(ctx)
			if err != nil {
				fmt.Fprintln(w, err)
				continue
			}
			_, _ = w.Write(log)
		}
	}
	return nil
}

func sortEvents(events []corev1.Event) {
	slices.SortFunc(events, func(a, b corev1.Event) int { return cmp.Compare(a.Name, b.Name) })
}
