package pipeline

import (
	"fmt"
	"slices"
	"time"

	tekton "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serin-cd/serin/pkg/release/timeout"
)

// defaults are the parameters whose default in a Pipeline differs from that in its Tasks: a check a minute,
// five failures, the bounds, and a canary without traffic that is not judged, rather than failed.
var defaults = map[string]string{
	"interval": "1m", "threshold": "5", "no-values": "inconclusive",
	"success-rate": "99", "request-duration": "1000",
}

// always are the parameters that a Pipeline sets in each Task that does not set them otherwise.
var always = map[string]string{"min-dwell": "$(params.interval)", "gate": Gate(false)}

// builder makes tasks and collects what they need from the Pipeline.
type builder struct {
	tasks      Tasks
	fixed      map[string]string // the parameters that the Pipeline sets itself
	timeouts   timeout.Tasks
	defaults   map[string]string // that differ from those of the Tasks in this Pipeline
	params     tekton.ParamSpecs
	workspaces []tekton.PipelineWorkspaceDeclaration
	err        error
}

func (b *builder) task(name, title, ref string, timeout time.Duration) tekton.PipelineTask {
	task, ok := b.tasks[ref]
	if !ok {
		task = &tekton.Task{}
		if b.err == nil {
			b.err = fmt.Errorf("rendering a Pipeline: no Task %s", ref)
		}
	}
	t := tekton.PipelineTask{
		Name: name, DisplayName: title,
		TaskRef: &tekton.TaskRef{Name: ref}, Timeout: &metav1.Duration{Duration: timeout},
	}
	for _, p := range task.Spec.Params {
		value, fixed := b.fixed[p.Name]
		if !fixed {
			value, fixed = always[p.Name]
		}
		if !fixed {
			value = "$(params." + p.Name + ")"
			b.offer(p)
		}
		t.Params = append(t.Params, tekton.Param{Name: p.Name, Value: *tekton.NewStructuredValues(value)})
	}
	for _, w := range task.Spec.Workspaces {
		b.bind(w)
		t.Workspaces = append(t.Workspaces, tekton.WorkspacePipelineTaskBinding{Name: w.Name, Workspace: w.Name})
	}
	return t
}

// offer makes a Task's parameter one of the Pipeline's.
func (b *builder) offer(p tekton.ParamSpec) {
	if slices.ContainsFunc(b.params, func(o tekton.ParamSpec) bool { return o.Name == p.Name }) {
		return
	}
	for _, all := range []map[string]string{defaults, b.defaults} {
		if d, ok := all[p.Name]; ok && p.Default != nil {
			p.Default = tekton.NewStructuredValues(d)
		}
	}
	b.params = append(b.params, p)
}

// bind makes a Task's workspace one of the Pipeline's.
func (b *builder) bind(w tekton.WorkspaceDeclaration) {
	if slices.ContainsFunc(b.workspaces, func(o tekton.PipelineWorkspaceDeclaration) bool { return o.Name == w.Name }) {
		return
	}
	b.workspaces = append(b.workspaces, tekton.PipelineWorkspaceDeclaration{
		Name: w.Name, Description: w.Description, Optional: w.Optional,
	})
}

// finish takes parameters and states only: a finally task that needs a result which is missing would be skipped.
func (b *builder) finish(prepare, promote string) tekton.PipelineTask {
	b.fixed = map[string]string{
		"prepare-status": "$(tasks." + prepare + ".status)", "promote-status": "$(tasks." + promote + ".status)",
	}
	t := b.task("finish", "Settle and report", "canary-finish", b.timeouts.Finish)
	t.Retries = finishRetries
	return t
}
