// Command shift-weight gives the canary a share of the application's traffic.
package main

import (
	"context"
	"os"
	"time"

	"github.com/serin-cd/serin/pkg/release"
	"github.com/serin-cd/serin/pkg/release/stage"
	"github.com/serin-cd/serin/pkg/task/parameter"
	"github.com/serin-cd/serin/pkg/task/run"
	"github.com/serin-cd/serin/pkg/task/step"
)

type config struct {
	Run run.ID `env:", prefix=RUN_"`
	// Application: the name of the Deployment that people change.
	App string `env:"APP, required"`
	// Share of the traffic that the canary gets, in percent, 0 to 100.
	Weight parameter.Weight `env:"WEIGHT, required"`
}

func main() { os.Exit(step.Main(shift)) }

func shift(ctx context.Context, c config, _ *step.Results) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	r, err := release.Connect(c.App, c.Run)
	if err != nil {
		return err
	}
	go r.Lease.Keep(ctx)
	return stage.Shift(ctx, r, c.Weight)
}
