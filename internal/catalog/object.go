package catalog

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	tekton "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serin-cd/serin/internal/pipeline"
	"github.com/serin-cd/serin/pkg/task/parameter"
)

// object is the Task as Tekton has it.
func (t task) object(root string) (*tekton.Task, error) {
	parameters, err := t.parameters(root)
	if err != nil {
		return nil, err
	}
	variables, err := t.environment(root)
	if err != nil {
		return nil, err
	}
	spec := tekton.TaskSpec{DisplayName: t.title, Description: t.description}
	for _, p := range parameters {
		spec.Params = append(spec.Params, p.spec())
		variables = append(variables, corev1.EnvVar{Name: p.Variable(), Value: "$(params." + p.Name + ")"})
		if strings.HasPrefix(p.Name, "prometheus-") && len(spec.Workspaces) == 0 {
			spec.Workspaces = []tekton.WorkspaceDeclaration{prometheus}
		}
	}
	spec.Workspaces = append(spec.Workspaces, t.workspaces...)
	for _, r := range t.results {
		spec.Results = append(spec.Results, r.object())
	}
	spec.StepTemplate = &tekton.StepTemplate{
		Env: variables,
		ComputeResources: corev1.ResourceRequirements{Requests: corev1.ResourceList{
			corev1.ResourceCPU: resource.MustParse("10m"), corev1.ResourceMemory: resource.MustParse("32Mi"),
		}},
		SecurityContext: restricted(),
	}
	for _, s := range t.steps {
		spec.Steps = append(spec.Steps, s.object())
	}
	return &tekton.Task{
		TypeMeta:   metav1.TypeMeta{APIVersion: tekton.SchemeGroupVersion.String(), Kind: "Task"},
		ObjectMeta: pipeline.About(t.name, t.title),
		Spec:       spec,
	}, nil
}

// prometheus is the workspace of every Task that asks Prometheus.
var prometheus = tekton.WorkspaceDeclaration{
	Name: "prometheus", Optional: true, ReadOnly: true,
	Description: "A Secret with the bearer token and the CA certificate of Prometheus. Name its " +
		"files in prometheus-token-path and prometheus-ca-path, as /workspace/prometheus/KEY.",
}

// restricted is what Pod Security "restricted" asks for, and more. It names no user: that is the image's, or the one
// that the platform assigns.
func restricted() *corev1.SecurityContext {
	return &corev1.SecurityContext{
		RunAsNonRoot:             new(true),
		ReadOnlyRootFilesystem:   new(true),
		AllowPrivilegeEscalation: new(false),
		Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		SeccompProfile:           &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
}

// environment is what all steps of the Task have beside its parameters.
func (t task) environment(root string) ([]corev1.EnvVar, error) {
	field := func(path string) *corev1.EnvVarSource {
		return &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: path}}
	}
	all := []corev1.EnvVar{
		{Name: "RUN_NAMESPACE", ValueFrom: field("metadata.namespace")},
		{Name: "RUN_NAME", ValueFrom: field("metadata.labels['tekton.dev/pipelineRun']")},
		{Name: "RUN_UID", ValueFrom: field("metadata.labels['tekton.dev/pipelineRunUID']")},
		{Name: "RESULTS_BUDGET", Value: fmt.Sprint(t.budget())},
	}
	names, err := t.derivedBy(root)
	for _, name := range names {
		all = append(all, corev1.EnvVar{Name: variable(name), Value: derived[name]})
	}
	return all, err
}

func (p Parameter) spec() tekton.ParamSpec {
	spec := tekton.ParamSpec{Name: p.Name, Type: tekton.ParamTypeString, Description: p.Description}
	if !p.Required {
		spec.Default = tekton.NewStructuredValues(p.Default)
	}
	return spec
}

func (r result) object() tekton.TaskResult {
	o := tekton.TaskResult{Name: r.name, Description: r.description}
	if r.from != "" {
		o.Value = tekton.NewStructuredValues(r.from)
	}
	return o
}

func (s step) object() tekton.Step {
	o := tekton.Step{
		Name: s.label(), Image: "ko://" + module + "/steps/" + s.program, Command: []string{"/ko-app/" + s.program},
	}
	for _, name := range slices.Sorted(maps.Keys(s.fixed)) {
		o.Env = append(o.Env, corev1.EnvVar{Name: variable(name), Value: s.fixed[name]})
	}
	for _, name := range slices.Sorted(maps.Keys(s.results)) {
		o.Env = append(o.Env, corev1.EnvVar{Name: "RESULT_" + parameter.Key(name), Value: s.results[name]})
		if strings.HasPrefix(s.results[name], "$(step.") {
			o.Results = append(o.Results, tekton.StepResult{Name: name})
		}
	}
	if len(s.when) > 0 {
		o.When = pipeline.When(prepared, s.when...)
	}
	if s.keepOn {
		o.OnError = tekton.Continue
	}
	return o
}
