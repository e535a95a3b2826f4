package judge

import (
	"encoding/json"
	"time"

	"github.com/serin-cd/serin/pkg/task/failure"
	"github.com/serin-cd/serin/pkg/task/run"
)

// ParseRollout reads the phases of a rollout record; what else the record holds does not matter here.
func ParseRollout(text string) ([]run.Stage, error) {
	var record struct {
		Phases []run.Stage `json:"phases"`
	}
	if err := json.Unmarshal([]byte(text), &record); err != nil {
		return nil, failure.Configf("reading rollout: %w, want a JSON object with phases", err)
	}
	return record.Phases, CheckPhases(record.Phases)
}

// CheckPhases refuses phases that cannot have happened.
func CheckPhases(stages []run.Stage) error {
	if len(stages) == 0 {
		return failure.Configf("reading rollout: 0 phases, want at least 1")
	}
	for i, p := range stages {
		if p.Weight < 0 || p.Weight > 100 {
			return failure.Configf("reading rollout: phase %d weight %d, want 0 to 100", i+1, p.Weight)
		}
		if p.At.IsZero() {
			return failure.Configf("reading rollout: phase %d has no at, want a time", i+1)
		}
		if i > 0 && p.At.Before(stages[i-1].At) {
			return failure.Configf("reading rollout: phase %d at %s is before phase %d at %s, want times in order",
				i+1, timeOfDay(p.At), i, timeOfDay(stages[i-1].At))
		}
	}
	return nil
}

func timeOfDay(t time.Time) string { return t.UTC().Format("15:04:05Z") }
