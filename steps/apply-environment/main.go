// Command apply-environment applies an environment repository with Helm, and leaves what Serin holds as it is.
package main

import (
	"context"
	"os"
	"strings"

	"github.com/serin-cd/serin/pkg/gitops/deploy"
	"github.com/serin-cd/serin/pkg/task/step"
)

func main() { os.Exit(step.Main(apply)) }

type config struct{ Environment deploy.Config }

func apply(ctx context.Context, c config, out *step.Results) error {
	done, err := deploy.Step(ctx, c.Environment)
	if err != nil {
		return err
	}
	return out.SetAll("changed", strings.Join(done.Changed, ","), "canaries", strings.Join(done.Canaries, ","))
}
