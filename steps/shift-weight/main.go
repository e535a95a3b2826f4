// Command shift-weight gives the canary a share of the application's traffic.
package main

import (
	"context"
	"os"

	"github.com/serin-cd/serin/pkg/release"
	"github.com/serin-cd/serin/pkg/release/stage"
	"github.com/serin-cd/serin/pkg/task/parameter"
	"github.com/serin-cd/serin/pkg/task/step"
)

type config struct {
	Release release.Config
	// Share of the traffic that the canary gets, in percent, from 0 to 100.
	Weight parameter.Weight `env:"WEIGHT, required"`
	release.Patience
}

func main() { os.Exit(step.Main(shift)) }

func shift(ctx context.Context, c config, _ *step.Results) error {
	r, err := c.Release.Connect()
	if err != nil {
		return err
	}
	return stage.Shift(ctx, r, c.Weight, c.Deadline())
}
