package pipeline_test

import (
	"testing"
	"time"

	tekton "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"sigs.k8s.io/yaml"

	"github.com/serin-cd/serin/internal/pipeline"
	"github.com/serin-cd/serin/tasks"
)

// TestAnyNumberOfStagesFitsIntoTektonsHour or is refused.
func TestAnyNumberOfStagesFitsIntoTektonsHour(t *testing.T) {
	known, err := pipeline.Read(tasks.Files)
	if err != nil {
		t.Fatal(err)
	}
	for n := 1; n <= 12; n++ {
		p := pipeline.Pipeline{Name: "canary"}
		for i := range n {
			p.Weights = append(p.Weights, 1+i*8)
		}
		text, err := pipeline.Render(known, p)
		if err != nil {
			if n < 9 {
				t.Errorf("%d stages: %v", n, err)
			}
			continue
		}
		var pipeline tekton.Pipeline
		if err := yaml.UnmarshalStrict(text, &pipeline); err != nil {
			t.Fatalf("%d stages: %v", n, err)
		}
		if err := pipeline.Validate(t.Context()); err != nil {
			t.Errorf("%d stages: %v", n, err)
		}
		total := 3 * pipeline.Spec.Finally[0].Timeout.Duration
		for _, task := range pipeline.Spec.Tasks {
			total += task.Timeout.Duration
		}
		if total >= time.Hour {
			t.Errorf("%d stages may take %s in all, want less than 1h", n, total)
		}
	}
}

func TestAMissingTaskIsAnError(t *testing.T) {
	_, err := pipeline.Render(pipeline.Tasks{}, pipeline.Pipeline{Name: "canary", Weights: []int{50}})
	if err == nil || err.Error() != "rendering a Pipeline: no Task canary-prepare" {
		t.Errorf("error %v, want that there is no Task canary-prepare", err)
	}
}
