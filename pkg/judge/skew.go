package judge

import (
	"fmt"
	"time"

	"github.com/serin-cd/serin/pkg/task/run"
)

// Skew is how far Prometheus's clock is ahead of the one that a rollout's times are from, the API server's; below zero
// where it is behind.
type Skew time.Duration

// SkewOf compares what the two clocks show at one moment. Up to five seconds count as none, and it is a multiple of
// them: the API server tells whole seconds, and who judges again, a moment later, should judge the same.
func SkewOf(prometheus, other time.Time) Skew {
	skew := prometheus.Sub(other)
	if skew.Abs() <= ahead {
		return 0
	}
	return Skew(skew.Round(ahead))
}

// Stages are the stages of a rollout on Prometheus's clock.
func (s Skew) Stages(stages []run.Stage) []run.Stage {
	translated := make([]run.Stage, len(stages))
	for i, stage := range stages {
		translated[i] = run.Stage{Weight: stage.Weight, At: stage.At.Add(time.Duration(s))}
	}
	return translated
}

// Warnings says so where there is a skew.
func (s Skew) Warnings() []string {
	by, where := time.Duration(s), "ahead of"
	if s < 0 {
		by, where = -by, "behind"
	}
	if s == 0 {
		return nil
	}
	return []string{fmt.Sprintf("clock-skew: Prometheus's clock is %s %s the API server's: "+
		"times are shown on Prometheus's", by, where)}
}

// On is Prometheus's clock as the other one lets it be known.
func (s Skew) On(other clock) skewed { return skewed{other, time.Duration(s)} }

type skewed struct {
	clock
	by time.Duration
}

// Now is the time that Prometheus's clock shows.
func (s skewed) Now() time.Time { return s.clock.Now().Add(s.by) }
