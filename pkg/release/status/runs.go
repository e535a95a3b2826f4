package status

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	v1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/judge/verdict"
	"github.com/serin-cd/serin/pkg/task/failure"
	"github.com/serin-cd/serin/pkg/task/run"
)

// Run is one of an application's, as its PipelineRun tells.
type Run struct {
	ID       run.ID      `json:"id"`
	App      string      `json:"app"`
	Pipeline string      `json:"pipeline,omitempty"`
	Created  time.Time   `json:"created"`
	Started  time.Time   `json:"started,omitzero"`
	Ended    time.Time   `json:"ended,omitzero"`
	State    string      `json:"state"` // the reason of its condition, such as Running or Succeeded
	Message  string      `json:"message,omitempty"`
	Outcome  run.Outcome `json:"outcome,omitempty"`
	Reason   string      `json:"reason,omitempty"`
	Revision string      `json:"revision,omitempty"`
	Verdict  string      `json:"verdict,omitempty"` // of its last stage, where its tasks were looked at
}

// Err is the error that a run's end is, nil where it has done what it was for. The verdict decides its kind.
func (r Run) Err() error {
	how := fmt.Errorf("run %s of %s ended %s: %s", r.ID.Name, r.App, cmp.Or(string(r.Outcome), r.State),
		cmp.Or(r.Reason, r.Message))
	switch {
	case r.Outcome.Done():
		return nil
	case r.Outcome == run.Refused:
		return failure.As(failure.ErrConfig, how)
	}
	switch verdict.Decision(r.Verdict) {
	case verdict.Fail:
		return failure.As(failure.ErrRejected, how)
	case verdict.Inconclusive:
		return failure.As(failure.ErrInconclusive, how)
	}
	return how
}

// pipelineRun is what is read of a PipelineRun.
type pipelineRun struct {
	v1.ObjectMeta `json:"metadata"`

	Spec struct {
		PipelineRef struct {
			Name string `json:"name"`
		} `json:"pipelineRef"`
		Params []named `json:"params"`
	} `json:"spec"`
	Status struct {
		Start      *v1.Time `json:"startTime"`
		Completion *v1.Time `json:"completionTime"`
		Conditions []struct {
			Reason  string `json:"reason"`
			Message string `json:"message"`
		} `json:"conditions"`
		Results []named `json:"results"`
	} `json:"status"`
}

// named is a name with a value, which may be no text.
type named struct {
	Name  string `json:"name"`
	Value any    `json:"value"`
}

// RunOf reads a PipelineRun; one without an application is none of Serin's.
func RunOf(object *unstructured.Unstructured) (Run, bool, error) {
	var p pipelineRun
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &p); err != nil {
		return Run{}, false, fmt.Errorf("reading PipelineRun %s: %w", object.GetName(), err)
	}
	r := Run{
		ID:       run.ID{Namespace: p.Namespace, Name: p.Name, UID: string(p.UID)},
		Pipeline: p.Spec.PipelineRef.Name, Created: p.CreationTimestamp.Time, State: "Pending",
	}
	for _, given := range p.Spec.Params {
		if given.Name == "app" {
			r.App, _ = given.Value.(string)
		}
	}
	if len(p.Status.Conditions) > 0 {
		r.State, r.Message = p.Status.Conditions[0].Reason, p.Status.Conditions[0].Message
	}
	if p.Status.Start != nil {
		r.Started = p.Status.Start.Time
	}
	if p.Status.Completion != nil {
		r.Ended = p.Status.Completion.Time
	}
	for _, result := range p.Status.Results {
		text, _ := result.Value.(string)
		switch result.Name {
		case "outcome":
			r.Outcome = run.Outcome(text)
		case "reason":
			r.Reason = text
		case "revision":
			r.Revision = text
		}
	}
	return r, r.App != "", nil
}

// Runs are the PipelineRuns of a namespace that release applications, the newest first.
func Runs(ctx context.Context, c *kube.Cluster, namespace string) ([]Run, error) {
	list, err := kube.List(ctx, c.Objects(kube.PipelineRuns, namespace), v1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("listing the PipelineRuns of %s: %w", cmp.Or(namespace, "all namespaces"), err)
	}
	var all []Run
	for i := range list.Items {
		r, ours, err := RunOf(&list.Items[i])
		if err != nil {
			return nil, err
		}
		if ours {
			all = append(all, r)
		}
	}
	slices.SortStableFunc(all, func(x, y Run) int { return y.Created.Compare(x.Created) })
	return all, nil
}

// Newest is the newest run of an application: one that has not ended before those that have.
func Newest(all []Run, app application.Application) (Run, bool) {
	found := false
	var newest Run
	for _, r := range all {
		if r.App != app.Name || r.ID.Namespace != app.Namespace {
			continue
		}
		if !found || r.Ended.IsZero() && !newest.Ended.IsZero() {
			found, newest = true, r
		}
	}
	return newest, found
}
