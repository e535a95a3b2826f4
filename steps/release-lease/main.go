// Command release-lease gives the application's Lease up, once the run is closed and settled.
package main

import (
	"context"
	"os"

	"github.com/serin-cd/serin/pkg/release"
	"github.com/serin-cd/serin/pkg/release/rollback"
	"github.com/serin-cd/serin/pkg/task/step"
)

type config struct {
	Release release.Config
	// Result settled of rollback: true spares a look at what it has just settled.
	Settled bool `env:"SETTLED, default=false"`
}

func main() { os.Exit(step.Main(let)) }

func let(ctx context.Context, c config, _ *step.Results) error {
	r, err := c.Release.Connect()
	if err != nil {
		return err
	}
	return rollback.ReleaseLease(ctx, r, c.Settled)
}
