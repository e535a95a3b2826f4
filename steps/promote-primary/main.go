// Command promote-primary gives the primary the revision that was judged, then all traffic.
package main

import (
	"context"
	"os"

	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/autoscaler"
	"github.com/serin-cd/serin/pkg/cluster/workload"
	"github.com/serin-cd/serin/pkg/release"
	"github.com/serin-cd/serin/pkg/release/promote"
	"github.com/serin-cd/serin/pkg/task/run"
	"github.com/serin-cd/serin/pkg/task/step"
)

type config struct {
	Release  release.Config
	Settling release.Settling
	Metadata application.Metadata
	Bounds   autoscaler.Bounds
}

func main() { os.Exit(step.Main(promotePrimary)) }

func promotePrimary(ctx context.Context, c config, out *step.Results) error {
	r, err := c.Release.ConnectSettling(c.Settling)
	if err != nil {
		return err
	}
	r.Take(c.Metadata)
	r.Autoscalers.Bounds = c.Bounds
	revision, err := promote.Step(ctx, r, c.Settling.Deadline())
	if err != nil {
		return err
	}
	return out.SetAll("outcome", string(run.Promoted), "revision", workload.Short(revision))
}
