package judge

import (
	"encoding/json"
	"time"

	"github.com/serin-cd/serin/pkg/task/failure"
	"github.com/serin-cd/serin/pkg/task/run"
)

// ParseRollout reads the stages of a rollout record; what else the record holds does not matter here.
func ParseRollout(text string) ([]run.Stage, error) {
	var record struct {
		Stages []run.Stage `json:"phases"`
	}
	if err := json.Unmarshal([]byte(text), &record); err != nil {
		return nil, failure.Configf("reading rollout: %w, want a JSON object with phases", err)
	}
	return record.Stages, CheckStages(record.Stages)
}

// CheckStages refuses stages that cannot have happened.
func CheckStages(stages []run.Stage) error {
	if len(stages) == 0 {
		return failure.Configf("reading rollout: 0 phases, want at least 1")
	}
	for i, s := range stages {
		if s.Weight < 0 || s.Weight > 100 {
			return failure.Configf("reading rollout: phase %d weight %d, want 0 to 100", i+1, s.Weight)
		}
		if s.At.IsZero() {
			return failure.Configf("reading rollout: phase %d has no at, want a time", i+1)
		}
		if i > 0 && s.At.Before(stages[i-1].At) {
			return failure.Configf("reading rollout: phase %d at %s is before phase %d at %s, want times in order",
				i+1, timeOfDay(s.At), i, timeOfDay(stages[i-1].At))
		}
	}
	return nil
}

func timeOfDay(t time.Time) string { return t.UTC().Format("15:04:05Z") }
