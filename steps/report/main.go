// Command report keeps what a run has seen and decided, in the log and as a ConfigMap of the PipelineRun.
package main

import (
	"context"
	"os"
	"time"

	"github.com/serin-cd/serin/pkg/judge"
	"github.com/serin-cd/serin/pkg/judge/prometheus"
	"github.com/serin-cd/serin/pkg/release"
	"github.com/serin-cd/serin/pkg/report/summary"
	"github.com/serin-cd/serin/pkg/task/step"
)

type config struct {
	Release    release.Config
	Prometheus prometheus.Config
	Judge      judge.Config
}

func main() { os.Exit(step.Main(write)) }

func write(ctx context.Context, c config, _ *step.Results) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	r, err := c.Release.Connect()
	if err != nil {
		return err
	}
	return summary.Keep(ctx, r, c.Judge, c.Prometheus, os.Stdout)
}
