// Command start-release releases the applications of an environment that have changed.
package main

import (
	"context"
	"errors"
	"os"

	"github.com/serin-cd/serin/pkg/gitops/start"
	"github.com/serin-cd/serin/pkg/task/step"
)

type config struct{ Start start.Config }

func main() { os.Exit(step.Main(release)) }

func release(ctx context.Context, c config, out *step.Results) error {
	all, failed := start.Step(ctx, c.Start)
	err := out.SetAll("verdict", string(start.Verdict(failed)), "failed", all.Failed())
	if failed != nil || err != nil {
		return errors.Join(failed, err)
	}
	return errors.Join(out.SetText("apps", all.Names()), out.SetText("runs", all.Runs()))
}
