// Command release-lease ends a run's hold on its application, once the run is closed and settled.
package main

import (
	"context"
	"os"
	"time"

	"github.com/serin-cd/serin/pkg/release"
	"github.com/serin-cd/serin/pkg/release/rollback"
	"github.com/serin-cd/serin/pkg/task/run"
	"github.com/serin-cd/serin/pkg/task/step"
)

type config struct {
	Run run.ID `env:", prefix=RUN_"`
	// Application: the name of the Deployment that people change.
	App string `env:"APP, required"`
}

func main() { os.Exit(step.Main(let)) }

func let(ctx context.Context, c config, _ *step.Results) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	r, err := release.Connect(c.App, c.Run)
	if err != nil {
		return err
	}
	if err := rollback.Settled(ctx, r); err != nil {
		return err
	}
	return r.Lease.Release(ctx)
}
