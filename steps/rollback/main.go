// Command rollback takes a run back that did not end by itself, and settles one that did.
package main

import (
	"context"
	"os"
	"time"

	"github.com/serin-cd/serin/pkg/judge/prometheus"
	"github.com/serin-cd/serin/pkg/release"
	"github.com/serin-cd/serin/pkg/release/rollback"
	"github.com/serin-cd/serin/pkg/task/parameter"
	"github.com/serin-cd/serin/pkg/task/run"
	"github.com/serin-cd/serin/pkg/task/step"
)

type config struct {
	Run run.ID `env:", prefix=RUN_"`
	// Application: the name of the Deployment that people change.
	App string `env:"APP, required"`
	// What became of the task prepare: Succeeded, Failed or None.
	PrepareStatus string `env:"PREPARE_STATUS, default=None"`
	// What became of the task promote: Succeeded, Failed or None.
	PromoteStatus string `env:"PROMOTE_STATUS, default=None"`
	// How long the primary's pods may take to become ready.
	ProgressDeadline parameter.Duration `env:"PROGRESS_DEADLINE, default=60s"`
	// How long the canary's pods stay up, at least, after the last request was routed to them.
	Drain      parameter.Duration `env:"DRAIN, default=10s"`
	Prometheus prometheus.Config
}

func main() { os.Exit(step.Main(takeBack)) }

func takeBack(ctx context.Context, c config, out *step.Results) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Duration(c.ProgressDeadline)+2*time.Minute)
	defer cancel()
	r, err := release.Connect(c.App, c.Run)
	if err != nil {
		return err
	}
	if err := r.DrainBy(c.Prometheus, time.Duration(c.Drain)); err != nil {
		return err
	}
	go r.Lease.KeepOn(ctx) // the step before renewed it not long ago, and what is taken back here the janitor would take back too
	record, err := rollback.Run(ctx, r, c.Run, rollback.Reason(c.PrepareStatus, c.PromoteStatus), time.Duration(c.ProgressDeadline))
	outcome, reason := rollback.Outcome(ctx, r, record, c.PrepareStatus == "Succeeded")
	if unset := out.SetAll("outcome", string(outcome), "reason", step.Cut(reason, out.Left("reason"))); err == nil {
		err = unset
	}
	return err
}
