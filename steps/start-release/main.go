// Command start-release releases the applications of an environment that have changed.
package main

import (
	"context"
	"os"

	"github.com/serin-cd/serin/pkg/gitops/start"
	"github.com/serin-cd/serin/pkg/task/step"
)

type config struct{ Start start.Config }

func main() { os.Exit(step.Main(release)) }

func release(ctx context.Context, c config, out *step.Results) error {
	all, failed := start.Step(ctx, c.Start)
	err := out.SetAll("apps", all.Names(), "runs", all.Runs(), "failed", all.Failed(),
		"verdict", string(all.Verdict()))
	if failed != nil {
		return failed
	}
	return err
}
