package status

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

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
	Until    time.Time `json:"until,omitzero"` // when its timeout ends it, if it has not ended
	State    string    `json:"state"`          // the reason of its condition, such as Running or Succeeded
	Verdict  string    `json:"verdict,omitempty"`
	Reason   string    `json:"reason,omitempty"`
	Evidence *Evidence `json:"evidence,omitempty"`
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
	} `json:"spec"`
	Status struct {
		Start      *v1.Time `json:"startTime"`
		Completion *v1.Time `json:"completionTime"`
		Conditions []struct {
			Reason string `json:"reason"`
		} `json:"conditions"`
		Results []named `json:"results"`
	} `json:"status"`
}

// Tasks are those of the application's last run, in the order in which they began; none once it was pruned.
func (a Application) Tasks(ctx context.Context, c *kube.Cluster) ([]Task, error) {
	if a.record == nil {
		return nil, nil
	}
	return Tasks(ctx, c, a.record.ID)
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
