// Command analyze-metrics judges the canary at its present weight, and takes the traffic back on anything but a pass.
package main

import (
	"context"
	"os"
	"time"

	"github.com/serin-cd/serin/pkg/judge"
	"github.com/serin-cd/serin/pkg/judge/prometheus"
	"github.com/serin-cd/serin/pkg/release/stage"
	"github.com/serin-cd/serin/pkg/report"
	"github.com/serin-cd/serin/pkg/task/parameter"
	"github.com/serin-cd/serin/pkg/task/run"
	"github.com/serin-cd/serin/pkg/task/step"
)

type config struct {
	Run run.ID `env:", prefix=RUN_"`
	// How long fewer pods of the canary than wanted may be available.
	ProgressDeadline parameter.Duration `env:"PROGRESS_DEADLINE, default=60s"`
	Target           judge.Target
	Prometheus       prometheus.Config
	Analysis         judge.Config
}

func main() { os.Exit(step.Main(analyze)) }

func analyze(ctx context.Context, c config, out *step.Results) error {
	j, err := judge.New(c.Analysis, c.Target)
	if err != nil {
		return err
	}
	client, err := prometheus.New(c.Prometheus)
	if err != nil {
		return err
	}
	return stage.Analyze(ctx, stage.Analysis{Run: c.Run, Judge: j, Prometheus: client, Series: int(c.Analysis.SeriesLimit),
		Rollout: c.Analysis.Rollout, Report: report.File(c.Analysis.Report), Grace: time.Duration(c.ProgressDeadline)}, out)
}
