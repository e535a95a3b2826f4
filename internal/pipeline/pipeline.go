package pipeline

import (
	"fmt"

	tekton "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/selection"

	"github.com/serin-cd/serin/pkg/release/prepare"
)

// Render is the Pipeline of a plan.
func Render(tasks Tasks, p Plan) (*tekton.Pipeline, error) {
	p, timeouts, err := p.fitted()
	if err != nil {
		return nil, err
	}
	b := builder{tasks: tasks, defaults: p.defaults(), timeouts: timeouts}
	if p.Compact {
		return b.compact(p)
	}
	return b.canary(p)
}

// canary is the Pipeline with one task for each weight.
func (b *builder) canary(p Plan) (*tekton.Pipeline, error) {
	t := b.timeouts
	b.fixed = map[string]string{"timeouts": t.String()}
	all := []tekton.PipelineTask{b.task("prepare", "Prepare the canary", "canary-prepare", t.Prepare)}
	add := func(t tekton.PipelineTask, on ...string) {
		t.RunAfter = []string{all[len(all)-1].Name}
		t.When = When("$(tasks.prepare.results.outcome)", on...)
		all = append(all, t)
	}
	for i, w := range p.Weights {
		last, limit := i == len(p.Weights)-1, t.Stage
		if last {
			limit = t.Prove
		}
		b.fixed = map[string]string{"weight": fmt.Sprint(w), "gate": Gate(last)}
		add(b.task(stageName(w), fmt.Sprintf("Traffic to %d %%", w), "canary-stage", limit), Judged)
	}
	add(b.task("promote", "Promote the canary", "canary-promote", t.Promote), Judged, Unjudged)
	return b.pipeline(p.Name, "Canary release", tekton.PipelineSpec{
		Description: p.describe(),
		Tasks:       all,
		Finally:     []tekton.PipelineTask{b.finish("prepare", "promote")},
		Results:     results("prepare"),
	})
}

// compact is the Pipeline that does all in one pod, before finally.
func (b *builder) compact(p Plan) (*tekton.Pipeline, error) {
	b.timeouts = b.timeouts.Compact(len(p.Weights))
	b.fixed = map[string]string{"timeouts": b.timeouts.String()}
	release := b.task("release", "Release by canary", "canary-compact", b.timeouts.Release)
	return b.pipeline(p.Name, "Canary release in one pod", tekton.PipelineSpec{
		Description: p.describe(),
		Tasks:       []tekton.PipelineTask{release},
		Finally:     []tekton.PipelineTask{b.finish("release", "release")},
		Results:     results("release"),
	})
}

// Gate is what a stage needs to pass: an early one limits the damage, the last one proves.
func Gate(last bool) string {
	if last {
		return "prove"
	}
	return "time-box"
}

// The outcomes of a preparation after which a run goes on.
const (
	Judged   = string(prepare.Proceed) // with a canary that stages judge
	Unjudged = string(prepare.Promote) // with one that is promoted without analysis
)

// When is the condition that an outcome is one of those.
func When(outcome string, on ...string) tekton.WhenExpressions {
	return tekton.WhenExpressions{{Input: outcome, Operator: selection.In, Values: on}}
}

// pipeline is what has been built, with what its tasks ask of it.
func (b *builder) pipeline(name, title string, spec tekton.PipelineSpec) (*tekton.Pipeline, error) {
	spec.DisplayName, spec.Params, spec.Workspaces = title, b.params, b.workspaces
	return &tekton.Pipeline{
		TypeMeta:   metav1.TypeMeta{APIVersion: tekton.SchemeGroupVersion.String(), Kind: "Pipeline"},
		ObjectMeta: About(name, title),
		Spec:       spec,
	}, b.err
}

func results(prepare string) []tekton.PipelineResult {
	result := func(name, from, description string) tekton.PipelineResult {
		value := *tekton.NewStructuredValues("$(" + from + ".results." + name + ")")
		return tekton.PipelineResult{Name: name, Description: description, Value: value}
	}
	return []tekton.PipelineResult{
		result("outcome", "finally.finish",
			"initialized, unchanged, promoted, rolled-back, superseded, refused or failed."),
		result("reason", "finally.finish", "Why, in a sentence."),
		result("revision", "tasks."+prepare, "The first 12 hex digits of the revision that was to be released."),
	}
}
