package catalog

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/serin-cd/serin/internal/manifest"
)

// comment is the head of each generated file.
const comment = "# Generated from the configuration of the steps: change that and run `make generate`.\n"

// Manifest is the YAML of a Task.
func (t task) Manifest(root string) ([]byte, error) {
	parameters, err := t.parameters(root)
	if err != nil {
		return nil, err
	}
	spec := manifest.Spec{DisplayName: t.title, Description: t.description}
	variables, err := t.environment(root)
	if err != nil {
		return nil, err
	}
	for _, p := range parameters {
		param := manifest.Param{Name: p.Name, Type: "string", Description: p.Description}
		if !p.Required {
			param.Default = &p.Default
		}
		spec.Params = append(spec.Params, param)
		variables = append(variables, manifest.Env{Name: p.Variable(), Value: "$(params." + p.Name + ")"})
		if strings.HasPrefix(p.Name, "prometheus-") && len(spec.Workspaces) == 0 {
			spec.Workspaces = []manifest.Workspace{Prometheus}
		}
	}
	for _, r := range t.results {
		spec.Results = append(spec.Results, manifest.Result{Name: r.name, Description: r.description, Value: r.from})
	}
	spec.StepTemplate = &manifest.StepTemplate{
		Env:              variables,
		ComputeResources: manifest.ComputeResources{Requests: map[string]string{"cpu": "10m", "memory": "32Mi"}},
		SecurityContext:  manifest.Restricted,
	}
	for _, s := range t.steps {
		spec.Steps = append(spec.Steps, s.manifest())
	}
	return manifest.Write(comment, manifest.Object{
		APIVersion: "tekton.dev/v1", Kind: "Task", Metadata: manifest.About(t.name, t.title), Spec: spec,
	})
}

// Prometheus is the workspace of every Task that asks Prometheus.
var Prometheus = manifest.Workspace{
	Name: "prometheus", Optional: true, ReadOnly: true,
	Description: "A Secret with the bearer token and the CA of Prometheus; name its files in prometheus-token-path and prometheus-ca-path, as /workspace/prometheus/KEY.",
}

// environment is what all steps of the Task have beside its parameters.
func (t task) environment(root string) ([]manifest.Env, error) {
	field := func(path string) *manifest.ValueFrom {
		return &manifest.ValueFrom{FieldRef: manifest.FieldRef{FieldPath: path}}
	}
	all := []manifest.Env{
		{Name: "RUN_NAMESPACE", ValueFrom: field("metadata.namespace")},
		{Name: "RUN_NAME", ValueFrom: field("metadata.labels['tekton.dev/pipelineRun']")},
		{Name: "RUN_UID", ValueFrom: field("metadata.labels['tekton.dev/pipelineRunUID']")},
		{Name: "RESULTS_BUDGET", Value: fmt.Sprint(t.budget())},
	}
	names, err := t.derivedBy(root)
	for _, name := range names {
		all = append(all, manifest.Env{Name: variable("PARAM_", name), Value: derived[name]})
	}
	return all, err
}

func (s step) manifest() manifest.Step {
	m := manifest.Step{Name: s.label(), Image: "ko://" + module + "/steps/" + s.program, Command: []string{"/ko-app/" + s.program}}
	for _, name := range slices.Sorted(maps.Keys(s.fixed)) {
		m.Env = append(m.Env, manifest.Env{Name: variable("PARAM_", name), Value: s.fixed[name]})
	}
	for _, name := range slices.Sorted(maps.Keys(s.results)) {
		m.Env = append(m.Env, manifest.Env{Name: variable("RESULT_", name), Value: s.results[name]})
		if strings.HasPrefix(s.results[name], "$(step.") {
			m.Results = append(m.Results, manifest.Result{Name: name})
		}
	}
	if s.when != "" {
		m.When = []manifest.When{{Input: s.when, Operator: "in", Values: []string{"proceed"}}}
	}
	if s.keepOn {
		m.OnError = "continue"
	}
	return m
}
