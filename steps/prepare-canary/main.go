// Command prepare-canary brings an application to its place of rest and starts the canary of a new revision.
package main

import (
	"context"
	"os"
	"time"

	"github.com/serin-cd/serin/pkg/cluster/workload"
	"github.com/serin-cd/serin/pkg/judge"
	"github.com/serin-cd/serin/pkg/judge/prometheus"
	"github.com/serin-cd/serin/pkg/release/prepare"
	"github.com/serin-cd/serin/pkg/task/parameter"
	"github.com/serin-cd/serin/pkg/task/run"
	"github.com/serin-cd/serin/pkg/task/step"

	"github.com/serin-cd/serin/pkg/release"
)

type config struct {
	Run run.ID `env:", prefix=RUN_"`
	// Application: the name of the Deployment that people change.
	App string `env:"APP, required"`
	// What acquire-lease has set as its result turn: superseded leaves the application alone.
	Turn string `env:"TURN"`
	// What to do while another run has the application.
	OnBusy prepare.Busy `env:"ON_BUSY, default=fail"`
	// Image to release; empty takes the Deployment as it is.
	Image string `env:"IMAGE"`
	// Container that gets the image; needed where the pod has several.
	Container string `env:"CONTAINER"`
	// Hosts of the VirtualService where it has to be made, separated by commas; the application's name is added.
	Hosts []string `env:"HOSTS"`
	// Gateways of the VirtualService where it has to be made, separated by commas; mesh stands for all sidecars.
	Gateways []string `env:"GATEWAYS, default=mesh"`
	// Port of the Services where the application has none of its own.
	Port parameter.Count `env:"PORT, default=80"`
	// How long the pods of a new revision may take to become ready.
	ProgressDeadline parameter.Duration `env:"PROGRESS_DEADLINE, default=60s"`
	// How long the canary's pods stay up, at least, after the last request was routed to them.
	Drain      parameter.Duration `env:"DRAIN, default=10s"`
	Prometheus prometheus.Config
	Analysis   judge.Config
}

func main() { os.Exit(step.Main(prepareCanary)) }

func prepareCanary(ctx context.Context, c config, out *step.Results) error {
	if c.Turn == string(run.Superseded) {
		return out.SetAll("outcome", c.Turn, "revision", "none")
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Duration(c.ProgressDeadline)+2*time.Minute)
	defer cancel()
	r, err := release.Connect(c.App, c.Run)
	if err != nil {
		return err
	}
	probe, err := prepare.Prober(r.App, c.Analysis, c.Prometheus)
	if err != nil {
		return err
	}
	if err := r.DrainBy(c.Prometheus, time.Duration(c.Drain)); err != nil {
		return err
	}
	go r.Lease.KeepOn(ctx)
	outcome, revision, err := prepare.Run(ctx, r, prepare.Preparation{
		Image: c.Image, Container: c.Container, Hosts: c.Hosts, Gateways: c.Gateways, Port: int32(c.Port),
		Deadline: time.Duration(c.ProgressDeadline), OnBusy: c.OnBusy, Probe: probe,
	})
	if err != nil {
		return err
	}
	return out.SetAll("outcome", string(outcome), "revision", workload.Short(revision))
}
