// Command acquire-lease makes sure that a run is the only one at work on its application.
package main

import (
	"context"
	"os"
	"time"

	"github.com/serin-cd/serin/pkg/release"
	"github.com/serin-cd/serin/pkg/release/prepare"
	"github.com/serin-cd/serin/pkg/task/parameter"
	"github.com/serin-cd/serin/pkg/task/run"
	"github.com/serin-cd/serin/pkg/task/step"
)

type config struct {
	Run run.ID `env:", prefix=RUN_"`
	// Application: the name of the Deployment that people change.
	App string `env:"APP, required"`
	// What to do while another run has the application: fail, wait until it has ended, or supersede, which ends it. Of several that wait the newest stays.
	OnBusy prepare.Busy `env:"ON_BUSY, default=fail"`
	// How long to wait for another run.
	BusyTimeout parameter.Duration `env:"BUSY_TIMEOUT, default=1m"`
}

func main() { os.Exit(step.Main(acquire)) }

func acquire(ctx context.Context, c config, out *step.Results) error {
	ctx, cancel := context.WithTimeout(ctx, max(time.Minute, time.Duration(c.BusyTimeout)))
	defer cancel()
	r, err := release.Connect(c.App, c.Run)
	if err != nil {
		return err
	}
	superseded, err := prepare.Acquire(ctx, r, c.OnBusy)
	if err != nil {
		return err
	}
	if superseded {
		return out.Set("turn", string(run.Superseded))
	}
	return out.Set("turn", "taken")
}
