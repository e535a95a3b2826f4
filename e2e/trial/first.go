package trial

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/release"
	"github.com/serin-cd/serin/pkg/release/prepare"
	"github.com/serin-cd/serin/pkg/task/run"
)

// Initialize gives the application its first release as prepare-canary does, but in this process: it takes two pods
// less than a PipelineRun. Nobody may send requests yet, for nothing is drained.
func (a *App) Initialize(ctx context.Context) (err error) {
	config, err := a.Sandbox.REST()
	if err != nil {
		return err
	}
	cluster, err := kube.New(config)
	if err != nil {
		return err
	}
	r, err := release.New(cluster, a.Name, run.ID{Namespace: a.Namespace, Name: "first", UID: "of-no-pipelinerun"})
	if err != nil {
		return err
	}
	r.Drain = func(context.Context) error { return nil }
	if _, err := prepare.Acquire(ctx, r, prepare.Queue{OnBusy: prepare.Fail}); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Lease.Release(ctx)) }()
	outcome, _, err := prepare.Run(ctx, r, prepare.Preparation{
		Config:   prepare.Config{Hosts: []string{a.Host}, Gateways: []string{"public"}, Port: 80},
		Deadline: 2 * time.Minute,
		Probe:    func(context.Context) error { return nil },
	})
	if err == nil && outcome != run.Initialized {
		err = fmt.Errorf("first release of %s/%s: outcome %q, want %q", a.Namespace, a.Name, outcome, run.Initialized)
	}
	return err
}
