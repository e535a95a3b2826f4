// Command analyze-metrics judges the canary at its present weight, and takes the traffic back on anything but a pass.
package main

import (
	"context"
	"os"

	"github.com/serin-cd/serin/pkg/release/stage"
	"github.com/serin-cd/serin/pkg/report"
	"github.com/serin-cd/serin/pkg/task/step"
)

type config struct {
	Stage stage.Config
}

func main() { os.Exit(step.Main(analyze)) }

func analyze(ctx context.Context, c config, out *step.Results) error {
	a, err := stage.NewAnalysis(c.Stage)
	if err != nil {
		return err
	}
	a.Report = report.File(c.Stage.Judge.Report)
	return stage.Analyze(ctx, a, out)
}
