// Package manifest writes Tekton's Tasks and Pipelines as YAML with their fields in the order in which people read them.
//
// Tekton's own types would sort them by name, and bring 18 MB into the CLI.
package manifest

import (
	"bytes"

	"go.yaml.in/yaml/v3"
)

// Version is Serin's, in labels.
const Version = "0.1.0"

// MinVersion is the oldest Tekton Pipelines that runs finally after timeouts.tasks.
const MinVersion = "1.13.0"

// Object is a Task or a Pipeline.
type Object struct {
	APIVersion string   `yaml:"apiVersion"`
	Kind       string   `yaml:"kind"`
	Metadata   Metadata `yaml:"metadata"`
	Spec       Spec     `yaml:"spec"`
}

// Metadata is an object's.
type Metadata struct {
	Name        string            `yaml:"name"`
	Labels      map[string]string `yaml:"labels,omitempty"`
	Annotations map[string]string `yaml:"annotations,omitempty"`
}

// Spec is a Task's or a Pipeline's.
type Spec struct {
	DisplayName  string         `yaml:"displayName,omitempty"`
	Description  string         `yaml:"description,omitempty"`
	Params       []Param        `yaml:"params,omitempty"`
	Workspaces   []Workspace    `yaml:"workspaces,omitempty"`
	Results      []Result       `yaml:"results,omitempty"`
	StepTemplate *StepTemplate  `yaml:"stepTemplate,omitempty"`
	Steps        []Step         `yaml:"steps,omitempty"`
	Tasks        []PipelineTask `yaml:"tasks,omitempty"`
	Finally      []PipelineTask `yaml:"finally,omitempty"`
}

// Param is declared, with a type, or given, with a value.
type Param struct {
	Name        string  `yaml:"name"`
	Type        string  `yaml:"type,omitempty"`
	Description string  `yaml:"description,omitempty"`
	Default     *string `yaml:"default,omitempty"`
	Value       string  `yaml:"value,omitempty"`
}

// Workspace is declared, or bound to another.
type Workspace struct {
	Name        string `yaml:"name"`
	Description string `yaml:"description,omitempty"`
	Optional    bool   `yaml:"optional,omitempty"`
	ReadOnly    bool   `yaml:"readOnly,omitempty"`
	Workspace   string `yaml:"workspace,omitempty"`
}

// Result is of a Task, a step or a Pipeline.
type Result struct {
	Name        string `yaml:"name"`
	Description string `yaml:"description,omitempty"`
	Value       string `yaml:"value,omitempty"`
}

// StepTemplate is what all steps have.
type StepTemplate struct {
	Env              []Env            `yaml:"env,omitempty"`
	ComputeResources ComputeResources `yaml:"computeResources"`
	SecurityContext  SecurityContext  `yaml:"securityContext"`
}

// Env is a variable, with a value or a field of the pod.
type Env struct {
	Name      string     `yaml:"name"`
	Value     string     `yaml:"value"`
	ValueFrom *ValueFrom `yaml:"valueFrom,omitempty"`
}

// MarshalYAML leaves the value out where it comes from elsewhere.
func (e Env) MarshalYAML() (any, error) {
	if e.ValueFrom != nil {
		return struct {
			Name      string     `yaml:"name"`
			ValueFrom *ValueFrom `yaml:"valueFrom"`
		}{e.Name, e.ValueFrom}, nil
	}
	return struct {
		Name  string `yaml:"name"`
		Value string `yaml:"value"`
	}{e.Name, e.Value}, nil
}

// ValueFrom is the downward API.
type ValueFrom struct {
	FieldRef FieldRef `yaml:"fieldRef"`
}

// FieldRef is a field of the pod.
type FieldRef struct {
	FieldPath string `yaml:"fieldPath"`
}

// ComputeResources is what a step asks for.
type ComputeResources struct {
	Requests map[string]string `yaml:"requests"`
}

// SecurityContext is a container's.
type SecurityContext struct {
	RunAsNonRoot             bool           `yaml:"runAsNonRoot"`
	RunAsUser                int            `yaml:"runAsUser"`
	RunAsGroup               int            `yaml:"runAsGroup"`
	ReadOnlyRootFilesystem   bool           `yaml:"readOnlyRootFilesystem"`
	AllowPrivilegeEscalation bool           `yaml:"allowPrivilegeEscalation"`
	Capabilities             Capabilities   `yaml:"capabilities"`
	SeccompProfile           SeccompProfile `yaml:"seccompProfile"`
}

// Capabilities are those that a container gives up.
type Capabilities struct {
	Drop []string `yaml:"drop"`
}

// SeccompProfile is a container's.
type SeccompProfile struct {
	Type string `yaml:"type"`
}

// Restricted is what Pod Security "restricted" asks for, and more.
var Restricted = SecurityContext{
	RunAsNonRoot: true, RunAsUser: 65532, RunAsGroup: 65532, ReadOnlyRootFilesystem: true,
	Capabilities: Capabilities{Drop: []string{"ALL"}}, SeccompProfile: SeccompProfile{Type: "RuntimeDefault"},
}

// Step is a container of a Task.
type Step struct {
	Name    string   `yaml:"name"`
	Image   string   `yaml:"image"`
	Command []string `yaml:"command,flow"`
	Env     []Env    `yaml:"env,omitempty"`
	Results []Result `yaml:"results,omitempty"`
	When    []When   `yaml:"when,omitempty"`
	OnError string   `yaml:"onError,omitempty"`
}

// When is the condition of a step or of a task in a Pipeline.
type When struct {
	Input    string   `yaml:"input"`
	Operator string   `yaml:"operator"`
	Values   []string `yaml:"values,flow"`
}

// PipelineTask is a task in a Pipeline.
type PipelineTask struct {
	Name        string      `yaml:"name"`
	DisplayName string      `yaml:"displayName,omitempty"`
	TaskRef     Ref         `yaml:"taskRef"`
	RunAfter    []string    `yaml:"runAfter,flow,omitempty"`
	When        []When      `yaml:"when,omitempty"`
	Timeout     string      `yaml:"timeout"`
	Retries     int         `yaml:"retries,omitempty"`
	Params      []Param     `yaml:"params,omitempty"`
	Workspaces  []Workspace `yaml:"workspaces,omitempty"`
}

// Ref names a Task.
type Ref struct {
	Name string `yaml:"name"`
}

// About is the metadata that the catalogs of Tekton ask for.
func About(name, title string) Metadata {
	return Metadata{
		Name:   name,
		Labels: map[string]string{"app.kubernetes.io/part-of": "serin", "app.kubernetes.io/version": Version},
		Annotations: map[string]string{
			"sidecar.istio.io/inject":         "false",
			"tekton.dev/pipelines.minVersion": MinVersion,
			"tekton.dev/categories":           "Deployment, Networking",
			"tekton.dev/tags":                 "canary, istio, progressive-delivery",
			"tekton.dev/displayName":          title,
			"tekton.dev/platforms":            "linux/amd64,linux/arm64",
		},
	}
}

// Write is the object as YAML, below lines of comment.
func Write(comment string, o Object) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString(comment)
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := e.Encode(o); err != nil {
		return nil, err
	}
	return b.Bytes(), e.Close()
}

// Read is Write in reverse.
func Read(text []byte) (o Object, err error) {
	return o, yaml.Unmarshal(text, &o)
}
