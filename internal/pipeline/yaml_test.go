package pipeline_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	tekton "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serin-cd/serin/internal/pipeline"
)

// a task with the kinds of values that YAML may take for something else.
func example() *tekton.Task {
	return &tekton.Task{
		TypeMeta:   metav1.TypeMeta{APIVersion: "tekton.dev/v1", Kind: "Task"},
		ObjectMeta: metav1.ObjectMeta{Name: "example", Annotations: map[string]string{"b": "false", "a": "1.0"}},
		Spec: tekton.TaskSpec{
			Params: tekton.ParamSpecs{
				{Name: "app", Type: tekton.ParamTypeString, Description: "It's a name: the application's."},
				{Name: "check", Type: tekton.ParamTypeString, Default: tekton.NewStructuredValues("on")},
				{Name: "none", Type: tekton.ParamTypeString, Default: tekton.NewStructuredValues("")},
				{Name: "object", Type: tekton.ParamTypeString, Default: tekton.NewStructuredValues("{}")},
			},
			Steps: []tekton.Step{{
				Name: "go", Image: "image", Command: []string{"/go", "on"}, OnError: tekton.Continue,
				Env: []corev1.EnvVar{{Name: "APP", Value: "$(params.app)"}},
			}},
		},
	}
}

// TestYAMLIsReadableByPeople: the name comes first, a command stands in one line, and what says nothing is left out.
func TestYAMLIsReadableByPeople(t *testing.T) {
	got, err := pipeline.Write(t.Context(), "# A comment.\n", example())
	if err != nil {
		t.Fatal(err)
	}
	const want = `# A comment.
apiVersion: tekton.dev/v1
kind: Task
metadata:
  name: example
  annotations:
    a: "1.0"
    b: "false"
spec:
  params:
    - name: app
      type: string
      description: 'It''s a name: the application''s.'
    - name: check
      type: string
      default: "on"
    - name: none
      type: string
      default: ""
    - name: object
      type: string
      default: '{}'
  steps:
    - name: go
      image: image
      command: [/go, "on"]
      env:
        - name: APP
          value: $(params.app)
      onError: continue
`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestWhatTektonWouldRefuseIsNotWritten(t *testing.T) {
	task := example()
	task.Spec.Steps[0].Env[0].Value = "$(params.missing)"
	text, err := pipeline.Write(t.Context(), "", task)
	if err == nil || !strings.Contains(err.Error(), "writing Task example: Tekton would refuse it: ") ||
		!strings.Contains(err.Error(), "$(params.missing)") {
		t.Errorf("got %q and error %v, want an error that names the parameter", text, err)
	}
	task = example()
	if _, err := pipeline.Write(t.Context(), "", task); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(example(), task); diff != "" {
		t.Errorf("writing changed the Task (-want +got):\n%s", diff)
	}
}
