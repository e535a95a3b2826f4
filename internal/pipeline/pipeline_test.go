package pipeline_test

import (
	"testing"
	"time"

	"github.com/serin-cd/serin/internal/pipeline"
	"github.com/serin-cd/serin/tasks"
)

// TestAnyNumberOfStagesFitsIntoTektonsHour or is refused.
func TestAnyNumberOfStagesFitsIntoTektonsHour(t *testing.T) {
	known, err := pipeline.ReadTasks(tasks.Files)
	if err != nil {
		t.Fatal(err)
	}
	for n := 1; n <= 12; n++ {
		p := pipeline.Shipped()
		p.Weights = nil
		for i := range n {
			p.Weights = append(p.Weights, 1+i*8)
		}
		canary, err := pipeline.Render(known, p)
		if err != nil {
			if n < 8 {
				t.Errorf("%d stages: %v", n, err)
			}
			continue
		}
		if _, err := pipeline.Write(t.Context(), p.Comment(), canary); err != nil {
			t.Errorf("%d stages: %v", n, err)
		}
		total := 3 * canary.Spec.Finally[0].Timeout.Duration
		for _, task := range canary.Spec.Tasks {
			total += task.Timeout.Duration
		}
		if total >= time.Hour {
			t.Errorf("%d stages may take %s in all, want less than 1h", n, total)
		}
	}
}

func TestAMissingTaskIsAnError(t *testing.T) {
	_, err := pipeline.Render(pipeline.Tasks{}, pipeline.Shipped())
	if err == nil || err.Error() != "rendering a Pipeline: no Task canary-prepare" {
		t.Errorf("error %v, want that there is no Task canary-prepare", err)
	}
}
