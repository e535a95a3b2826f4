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

	tekton "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"knative.dev/pkg/apis"
)

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
	Exits     map[string]int32 // exit code of each step
}

// Start starts a Pipeline for the application, with these parameters beside the usual ones.
func (a *App) Start(ctx context.Context, pipeline, name string, params map[string]string) (*Run, error) {
	return a.StartWith(ctx, pipeline, name, params, nil)
}

// StartWith is Start with a PipelineRun whose spec is changed before it is made.
func (a *App) StartWith(ctx context.Context, pipeline, name string, params map[string]string,
	change func(*tekton.PipelineRunSpec)) (*Run, error) {
	all := map[string]string{"app": a.Name, "hosts": a.Host, "gateways": "public", "interval": Interval,
		"prometheus-url": a.Sandbox.PodPrometheus}
	maps.Copy(all, params)
	spec := tekton.PipelineRunSpec{
		PipelineRef:     &tekton.PipelineRef{Name: pipeline},
		TaskRunTemplate: tekton.PipelineTaskRunTemplate{ServiceAccountName: "serin"},
		Timeouts:        Timeouts(time.Hour, 50*time.Minute, 10*time.Minute),
	}
	for _, k := range slices.Sorted(maps.Keys(all)) {
		spec.Params = append(spec.Params, tekton.Param{Name: k, Value: *tekton.NewStructuredValues(all[k])})
	}
	if change != nil {
		change(&spec)
	}
	_, err := a.Tekton.PipelineRuns(a.Namespace).Create(ctx,
		&tekton.PipelineRun{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: spec}, metav1.CreateOptions{})
	return &Run{App: a, Name: name}, err
}

// Timeouts are those of a PipelineRun; 0 leaves one out.
func Timeouts(pipeline, tasks, finally time.Duration) *tekton.TimeoutFields {
	of := func(d time.Duration) *metav1.Duration {
		if d == 0 {
			return nil
		}
		return &metav1.Duration{Duration: d}
	}
	return &tekton.TimeoutFields{Pipeline: of(pipeline), Tasks: of(tasks), Finally: of(finally)}
}

// Wait waits until the run has ended.
func (r *Run) Wait(ctx context.Context, limit time.Duration) (Result, error) {
	var result Result
	// A PipelineRun is large: to look more often costs the API server more than the steps do.
	err := r.App.eventually(ctx, time.Second, limit, "PipelineRun "+r.Name+" has ended",
		func(ctx context.Context) (bool, error) {
			found, err := r.App.Tekton.PipelineRuns(r.App.Namespace).Get(ctx, r.Name, metav1.GetOptions{})
			if err != nil || !found.IsDone() {
				return false, err
			}
			ended := found.Status.GetCondition(apis.ConditionSucceeded)
			result.Succeeded, result.Reason, result.Results = ended.IsTrue(), ended.Reason, map[string]string{}
			for _, of := range found.Status.Results {
				result.Results[of.Name] = strings.TrimSpace(of.Value.StringVal)
			}
			return true, nil
		})
	if err != nil {
		return result, err
	}
	result.Tasks, err = r.Tasks(ctx)
	return result, err
}

// Ended says whether the run has ended, or is gone.
func (r *Run) Ended(ctx context.Context) (bool, error) {
	found, err := r.App.Tekton.PipelineRuns(r.App.Namespace).Get(ctx, r.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return true, nil
	}
	return err == nil && found.IsDone(), err
}

// Tasks are those of its tasks that have begun, by their name in the Pipeline.
func (r *Run) Tasks(ctx context.Context) (map[string]Task, error) {
	list, err := r.App.Tekton.TaskRuns(r.App.Namespace).List(ctx,
		metav1.ListOptions{LabelSelector: "tekton.dev/pipelineRun=" + r.Name})
	if err != nil {
		return nil, err
	}
	tasks := map[string]Task{}
	for _, t := range list.Items {
		state := t.Status.GetCondition(apis.ConditionSucceeded)
		task := Task{Succeeded: state.IsTrue(), Reason: state.GetReason(), Results: map[string]string{},
			Exits: map[string]int32{}}
		for _, of := range t.Status.Results {
			task.Results[of.Name] = strings.TrimSpace(of.Value.StringVal)
		}
		for _, step := range t.Status.Steps {
			if step.Terminated != nil {
				task.Exits[step.Name] = step.Terminated.ExitCode
			}
		}
		tasks[t.Labels["tekton.dev/pipelineTask"]] = task
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
	slices.SortFunc(pods.Items, func(a, b corev1.Pod) int {
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
