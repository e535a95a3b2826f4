// Command prepare-canary brings an application to rest and starts the canary of a new revision.
package main

import (
	"context"
	"os"

	"github.com/serin-cd/serin/pkg/cluster/workload"
	"github.com/serin-cd/serin/pkg/judge"
	"github.com/serin-cd/serin/pkg/release"
	"github.com/serin-cd/serin/pkg/release/prepare"
	"github.com/serin-cd/serin/pkg/release/rollback"
	"github.com/serin-cd/serin/pkg/task/step"
)

type config struct {
	Release  release.Config
	Prepare  prepare.Config
	Settling release.Settling
	Judge    judge.Config
	Limits   prepare.Limits
	Keep     rollback.Keep
}

func main() { os.Exit(step.Main(prepareCanary)) }

func prepareCanary(ctx context.Context, c config, out *step.Results) error {
	r, err := c.Release.ConnectSettling(c.Settling)
	if err != nil {
		return err
	}
	if err := c.Keep.Check(); err != nil {
		return err
	}
	if err := c.Limits.Check(r.App, c.Settling, c.Judge); err != nil {
		return err
	}
	outcome, revision, err := prepare.Step(ctx, r, c.Prepare, c.Settling, c.Judge)
	if err != nil {
		return err
	}
	return out.SetAll("outcome", string(outcome), "revision", workload.Short(revision))
}
