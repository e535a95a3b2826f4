package status

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	v1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/task/run"
)

// Labels that Tekton gives to TaskRuns.
const (
	pipelineRunLabel  = "tekton.dev/pipelineRun"
	pipelineTaskLabel = "tekton.dev/pipelineTask"
)

// Task is one of a run, as its TaskRun tells.
type Task struct {
	Name     string    `json:"name"` // of the Pipeline's task
	Started  time.Time `json:"started,omitzero"`
	Ended    time.Time `json:"ended,omitzero"`
	Until    time.Time `json:"until,omitzero"`   // when its timeout ends it, if it has not ended
	State    string    `json:"state"`            // the reason of its condition, such as Running or Succeeded
	Weight   int       `json:"weight,omitempty"` // that a stage gives the canary, in percent
	Verdict  string    `json:"verdict,omitempty"`
	Reason   string    `json:"reason,omitempty"`
	Evidence *Evidence `json:"evidence,omitempty"`

	pod, container string // of its step that judges, while it runs
}

// Evidence is the result of that name, as far as it is shown.
type Evidence struct {
	Weight  int        `json:"weight"`
	Since   float64    `json:"since"`             // seconds
	Canary  [2]float64 `json:"canary,omitempty"`  // failed requests, and all
	Primary [2]float64 `json:"primary,omitempty"` // failed requests, and all
	Blame   float64    `json:"blame,omitempty"`
	Acquit  float64    `json:"acquit,omitempty"`
}

// taskRun is what is read of a TaskRun.
type taskRun struct {
	v1.ObjectMeta `json:"metadata"`

	Spec struct {
		Timeout *v1.Duration `json:"timeout"`
		Params  []named      `json:"params"`
	} `json:"spec"`
	Status struct {
		Start      *v1.Time `json:"startTime"`
		Completion *v1.Time `json:"completionTime"`
		Conditions []struct {
			Reason string `json:"reason"`
		} `json:"conditions"`
		Results []named `json:"results"`
		Pod     string  `json:"podName"`
		Steps   []step  `json:"steps"`
	} `json:"status"`
}

// step is what is read of a step; several judge where one Task does everything.
type step struct {
	Name       string    `json:"name"`
	Container  string    `json:"container"`
	Running    *struct{} `json:"running"`
	Terminated *struct{} `json:"terminated"`
}

// judges says whether the step is one whose log has numbers.
func (s step) judges() bool { return strings.HasPrefix(s.Name, judges) }

// waiting is the state of a task that is to come.
const waiting = "Waiting"

// Tasks are those of the application's last run, in the order in which they began; none once it was pruned. While the
// run goes on those that are to come follow, and the stage that is judged has the numbers that its log tells, if that
// can be read.
func (a Application) Tasks(ctx context.Context, c *kube.Cluster) ([]Task, error) {
	if a.record == nil {
		return nil, nil
	}
	all, err := Tasks(ctx, c, a.record.ID)
	if err != nil || !a.Busy() {
		return all, err
	}
	for i := range all {
		all[i].judge(ctx, c, a.Namespace)
	}
	object, err := c.Objects(kube.PipelineRuns, a.Namespace).Get(ctx, a.record.ID.Name, v1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return all, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading PipelineRun %s/%s: %w", a.Namespace, a.record.ID.Name, err)
	}
	for _, name := range planned(object) {
		if !slices.ContainsFunc(all, func(t Task) bool { return t.Name == name }) {
			all = append(all, Task{Name: name, State: waiting})
		}
	}
	return all, nil
}

// planned are the tasks of a run's Pipeline, none until Tekton has resolved it.
func planned(pipelineRun *unstructured.Unstructured) (all []string) {
	for _, part := range []string{"tasks", "finally"} {
		tasks, _, _ := unstructured.NestedSlice(pipelineRun.Object, "status", "pipelineSpec", part)
		for _, t := range tasks {
			if task, ok := t.(map[string]any); ok {
				name, _ := task["name"].(string)
				all = append(all, name)
			}
		}
	}
	return all
}

// judge gives a stage that is judged the numbers that its log tells.
func (t *Task) judge(ctx context.Context, c *kube.Cluster, namespace string) {
	if !t.Ended.IsZero() || t.container == "" {
		return
	}
	log, err := c.Log(ctx, namespace, t.pod, t.container, false)
	if err != nil {
		return // its weight is known all the same
	}
	defer log.Close()
	j := Judging{}
	for lines := bufio.NewScanner(log); lines.Scan(); {
		j.read(lines.Text())
	}
	if j.Weight != 0 {
		t.Evidence = &j.Evidence
	}
}

// Tasks are those of a run, in the order in which they began; none once they were pruned.
func Tasks(ctx context.Context, c *kube.Cluster, of run.ID) ([]Task, error) {
	list, err := kube.List(ctx, c.Objects(kube.TaskRuns, of.Namespace),
		v1.ListOptions{LabelSelector: pipelineRunLabel + "=" + of.Name})
	if err != nil {
		return nil, fmt.Errorf("listing the TaskRuns of %s/%s: %w", of.Namespace, of.Name, err)
	}
	var all []Task
	for i := range list.Items {
		t, err := TaskOf(&list.Items[i])
		if err != nil {
			return nil, err
		}
		all = append(all, t)
	}
	slices.SortStableFunc(all, func(x, y Task) int { return x.Started.Compare(y.Started) })
	return all, nil
}

// TaskOf reads a TaskRun.
func TaskOf(object *unstructured.Unstructured) (Task, error) {
	var r taskRun
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &r); err != nil {
		return Task{}, fmt.Errorf("reading TaskRun %s: %w", object.GetName(), err)
	}
	t := Task{Name: r.Labels[pipelineTaskLabel], State: "Pending"}
	if len(r.Status.Conditions) > 0 {
		t.State = r.Status.Conditions[0].Reason
	}
	if r.Status.Start != nil {
		t.Started = r.Status.Start.Time
	}
	if r.Status.Completion != nil {
		t.Ended = r.Status.Completion.Time
	} else if r.Spec.Timeout != nil && !t.Started.IsZero() {
		t.Until = t.Started.Add(r.Spec.Timeout.Duration)
	}
	for _, given := range r.Spec.Params {
		text, _ := given.Value.(string)
		if n, err := strconv.Atoi(text); given.Name == "weight" && err == nil {
			t.Weight = n
		}
	}
	for _, s := range r.Status.Steps {
		if s.judges() && s.Running != nil {
			t.pod, t.container = r.Status.Pod, s.Container
		}
	}
	for _, result := range r.Status.Results {
		text, _ := result.Value.(string)
		switch result.Name {
		case "verdict":
			t.Verdict = text
		case "reason":
			t.Reason = text
		case "evidence":
			var e Evidence
			if json.Unmarshal([]byte(text), &e) == nil { // one that is cut off says nothing
				t.Evidence = &e
			}
		}
	}
	return t, nil
}
