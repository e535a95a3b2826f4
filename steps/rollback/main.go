// Command rollback takes a run back that did not end by itself, and settles one that did.
package main

import (
	"context"
	"errors"
	"os"
	"strconv"
	"time"

	"github.com/serin-cd/serin/pkg/release"
	"github.com/serin-cd/serin/pkg/release/rollback"
	"github.com/serin-cd/serin/pkg/task/step"
)

type config struct {
	Release  release.Config
	Tasks    rollback.Tasks
	Settling release.Settling
	Keep     rollback.Keep
}

func main() { os.Exit(step.Main(takeBack)) }

func takeBack(ctx context.Context, c config, out *step.Results) error {
	r, err := c.Release.ConnectSettling(c.Settling)
	if err != nil {
		return err
	}
	r.Keep = time.Duration(c.Keep.KeepFailed) // prepare-canary has checked it
	outcome, reason, err := rollback.Finish(ctx, r, c.Tasks, c.Settling.Deadline())
	return errors.Join(err, out.SetAll("outcome", string(outcome), "settled", strconv.FormatBool(err == nil)),
		out.SetText("reason", reason))
}
