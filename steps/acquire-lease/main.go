// Command acquire-lease makes sure that a run is the only one at work on its application.
package main

import (
	"context"
	"os"

	"github.com/serin-cd/serin/pkg/release"
	"github.com/serin-cd/serin/pkg/release/prepare"
	"github.com/serin-cd/serin/pkg/task/step"
)

type config struct {
	Release release.Config
	Queue   prepare.Queue
	Limits  prepare.Limits
}

func main() { os.Exit(step.Main(acquire)) }

func acquire(ctx context.Context, c config, out *step.Results) error {
	r, err := c.Release.Connect()
	if err != nil {
		return err
	}
	if err := c.Limits.CheckQueue(r, c.Queue); err != nil {
		return err
	}
	turn, err := prepare.Acquire(ctx, r, c.Queue)
	if err != nil {
		return err
	}
	return out.Set("turn", string(turn))
}
