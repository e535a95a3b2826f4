package weight_test

import (
	"time"

	"github.com/serin-cd/serin/pkg/release/record"
	"github.com/serin-cd/serin/pkg/task/parameter"
	"github.com/serin-cd/serin/pkg/task/run"
)

var (
	theirs = run.ID{Namespace: "prod", Name: "theirs", UID: "2"}
	noon   = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
)

// recorded is a run that began at noon, and was given these weights then, at a phase.
func recorded(id run.ID, phase run.Phase, weights ...parameter.Weight) *record.Record {
	r := &record.Record{ID: id, Created: noon, Phase: phase, Revision: "new", Previous: "old"}
	for _, w := range weights {
		r.Stages = append(r.Stages, run.Stage{Weight: w, At: noon})
	}
	return r
}
