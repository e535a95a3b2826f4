// Command janitor takes back the runs of a namespace that nobody works on any more. It runs once; a CronJob repeats it.
package main

import (
	"context"
	"os"
	"time"

	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/judge/prometheus"
	"github.com/serin-cd/serin/pkg/release/janitor"
	"github.com/serin-cd/serin/pkg/task/parameter"
	"github.com/serin-cd/serin/pkg/task/step"

	"github.com/serin-cd/serin/pkg/release"
)

type config struct {
	// Namespace whose runs are looked after.
	Namespace string `env:"NAMESPACE, required"`
	// How long the primary's pods may take to become ready.
	ProgressDeadline parameter.Duration `env:"PROGRESS_DEADLINE, default=60s"`
	// How long the canary's pods stay up, at least, after the last request was routed to them.
	Drain      parameter.Duration `env:"DRAIN, default=10s"`
	Prometheus prometheus.Config
}

func main() { os.Exit(step.Main(sweep)) }

func sweep(ctx context.Context, c config, _ *step.Results) error {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(c.ProgressDeadline)+2*time.Minute)
	defer cancel()
	cluster, err := kube.Connect()
	if err != nil {
		return err
	}
	return janitor.Janitor{
		Cluster: cluster, Namespace: c.Namespace, Deadline: time.Duration(c.ProgressDeadline),
		Drain: func(r *release.Release) error { return r.DrainBy(c.Prometheus, time.Duration(c.Drain)) },
	}.Sweep(ctx)
}
