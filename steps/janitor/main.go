// Command janitor takes back the abandoned runs of a namespace. It runs once; a CronJob repeats it.
package main

import (
	"context"
	"os"

	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/release"
	"github.com/serin-cd/serin/pkg/release/janitor"
	"github.com/serin-cd/serin/pkg/task/step"
)

type config struct {
	// Namespace whose runs it looks after.
	Namespace string `env:"NAMESPACE, required"`
	Settling  release.Settling
}

func main() { os.Exit(step.Main(sweep)) }

func sweep(ctx context.Context, c config, _ *step.Results) error {
	cluster, err := kube.Connect()
	if err != nil {
		return err
	}
	j := janitor.Janitor{Cluster: cluster, Namespace: c.Namespace, Deadline: c.Settling.Deadline(),
		Drain: c.Settling.Observe}
	return j.Sweep(ctx)
}
