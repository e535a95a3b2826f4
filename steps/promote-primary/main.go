// Command promote-primary makes the primary the revision that was judged, and gives it all traffic.
package main

import (
	"context"
	"os"
	"time"

	"github.com/serin-cd/serin/pkg/cluster/workload"
	"github.com/serin-cd/serin/pkg/judge/prometheus"
	"github.com/serin-cd/serin/pkg/release/promote"
	"github.com/serin-cd/serin/pkg/task/parameter"
	"github.com/serin-cd/serin/pkg/task/run"
	"github.com/serin-cd/serin/pkg/task/step"

	"github.com/serin-cd/serin/pkg/release"
)

type config struct {
	Run run.ID `env:", prefix=RUN_"`
	// Application: the name of the Deployment that people change.
	App string `env:"APP, required"`
	// How long the primary's pods may take to become ready.
	ProgressDeadline parameter.Duration `env:"PROGRESS_DEADLINE, default=60s"`
	// How long the canary's pods stay up, at least, after the last request was routed to them.
	Drain      parameter.Duration `env:"DRAIN, default=10s"`
	Prometheus prometheus.Config
}

func main() { os.Exit(step.Main(promotePrimary)) }

func promotePrimary(ctx context.Context, c config, out *step.Results) error {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(c.ProgressDeadline)+3*time.Minute)
	defer cancel()
	r, err := release.Connect(c.App, c.Run)
	if err != nil {
		return err
	}
	if err := r.DrainBy(c.Prometheus, time.Duration(c.Drain)); err != nil {
		return err
	}
	go r.Lease.Keep(ctx)
	revision, err := promote.Run(ctx, r, time.Duration(c.ProgressDeadline))
	if err != nil {
		return err
	}
	return out.SetAll("outcome", string(run.Promoted), "revision", workload.Short(revision))
}
