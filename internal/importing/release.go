package importing

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	tekton "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serin-cd/serin/internal/parameters"
	"github.com/serin-cd/serin/internal/pipeline"
	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/release/timeout"
	"github.com/serin-cd/serin/pkg/task/failure"
)

// account is the ServiceAccount that the installation makes for runs.
const account = "serin"

// Release is how an application is released: what settings become.
type Release struct {
	App        application.Application
	Plan       pipeline.Plan
	Parameters map[string]string // of a run
	Fields     []Field           // of what was read
}

// New is the release of an application with the Pipeline as it is shipped, under a name of its own.
func New(app application.Application) *Release {
	plan := pipeline.Shipped()
	plan.Name = "canary-" + app.Name
	return &Release{App: app, Plan: plan, Parameters: map[string]string{"app": app.Name}}
}

// Set gives a parameter a value, and says so.
func (r *Release) Set(name, value string) (Fate, string, error) {
	r.Parameters[name] = value
	return Taken, Assignment(name, value), nil
}

// Assignment is a parameter with its value, for a reader.
func Assignment(name, value string) string {
	if value == "" || strings.ContainsAny(value, " \t\n") {
		value = strconv.Quote(value)
	}
	return name + "=" + value
}

// Interval sets the time from check to check.
func (r *Release) Interval(d time.Duration) (Fate, string, error) {
	r.Plan.Interval = d
	return r.Set("interval", timeout.Short(d))
}

// Threshold sets how many failed checks end a run.
func (r *Release) Threshold(checks int) (Fate, string, error) {
	r.Plan.Threshold = checks
	return r.Set("threshold", strconv.Itoa(checks))
}

// ProgressDeadline sets how long pods may take to become ready without progress.
func (r *Release) ProgressDeadline(d time.Duration) (Fate, string, error) {
	r.Plan.ProgressDeadline = d
	return r.Set("progress-deadline", timeout.Short(d))
}

// Steps are the weights up to the greatest, which is the last one even where it is no multiple of the step. All
// traffic is not a stage: it is what promotion gives.
func Steps(step, most int) []int {
	var all []int
	for w := step; w < most; w += step {
		all = append(all, w)
	}
	return append(all, min(most, 99))
}

// Weights names stages by their weights, for a reader.
func Weights(all []int) string {
	var text []string
	for _, w := range all {
		text = append(text, strconv.Itoa(w))
	}
	return "weights " + strings.Join(text, ",")
}

// Pipeline is the one that plays the release, as YAML. Where it takes longer than the hour that Tekton gives a run, its
// runs have timeouts of their own.
func (r *Release) Pipeline(ctx context.Context, tasks pipeline.Tasks) ([]byte, error) {
	r.Plan = r.Plan.Roomy()
	p, err := pipeline.Render(tasks, r.Plan)
	if err != nil {
		return nil, failure.As(failure.ErrConfig, err)
	}
	if err := Known(p, r.Parameters); err != nil {
		return nil, err
	}
	if err := parameters.Check(ctx, r.App, p, r.Parameters); err != nil {
		return nil, err
	}
	p.Namespace = r.App.Namespace
	return pipeline.Write(ctx, r.Plan.Comment(), p)
}

// Known refuses parameters that a Pipeline does not have.
func Known(p *tekton.Pipeline, parameters map[string]string) error {
	var known []string
	for _, offered := range p.Spec.Params {
		known = append(known, offered.Name)
	}
	for _, name := range slices.Sorted(maps.Keys(parameters)) {
		if !slices.Contains(known, name) {
			return failure.Configf("reading param: Pipeline %s has no parameter %s%s", p.Name, name,
				nearest(name, known))
		}
	}
	return nil
}

// Run is a PipelineRun that plays the release, as YAML.
func (r *Release) Run(ctx context.Context) ([]byte, error) {
	timeouts, err := r.Plan.Timeouts()
	if err != nil {
		return nil, err
	}
	run := &tekton.PipelineRun{
		TypeMeta:   metav1.TypeMeta{APIVersion: tekton.SchemeGroupVersion.String(), Kind: "PipelineRun"},
		ObjectMeta: metav1.ObjectMeta{Name: r.App.Name + "-1", Namespace: r.App.Namespace},
		Spec: tekton.PipelineRunSpec{
			PipelineRef:     &tekton.PipelineRef{Name: r.Plan.Name},
			TaskRunTemplate: tekton.PipelineTaskRunTemplate{ServiceAccountName: account},
			Timeouts:        timeouts,
		},
	}
	for _, name := range slices.Sorted(maps.Keys(r.Parameters)) {
		run.Spec.Params = append(run.Spec.Params,
			tekton.Param{Name: name, Value: *tekton.NewStructuredValues(r.Parameters[name])})
	}
	return pipeline.Write(ctx, "", run)
}
