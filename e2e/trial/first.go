package trial

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	tekton "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/cluster/mesh"
	"github.com/serin-cd/serin/pkg/release"
	"github.com/serin-cd/serin/pkg/release/prepare"
	"github.com/serin-cd/serin/pkg/task/run"
)

// Initialize gives the application its first release as prepare-canary does, but in this process: it takes two pods
// less than a PipelineRun. Nobody may send requests yet, for nothing is drained. It shifts the routes of these
// VirtualServices, separated by commas; empty for that of the application's name.
func (a *App) Initialize(ctx context.Context, virtualServices string) (err error) {
	// A janitor takes a run back whose PipelineRun is gone. This one is there, and is never played.
	runs := a.Tekton.PipelineRuns(a.Namespace)
	first, err := runs.Create(ctx, &tekton.PipelineRun{
		ObjectMeta: metav1.ObjectMeta{Name: "first"},
		Spec: tekton.PipelineRunSpec{PipelineRef: &tekton.PipelineRef{Name: "canary"},
			Status: tekton.PipelineRunSpecStatusPending},
	}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, runs.Delete(ctx, first.Name, metav1.DeleteOptions{})) }()
	config, err := a.Sandbox.REST()
	if err != nil {
		return err
	}
	cluster, err := kube.New(config)
	if err != nil {
		return err
	}
	r, err := release.New(cluster, a.Name, run.ID{Namespace: a.Namespace, Name: first.Name, UID: string(first.UID)})
	if err != nil {
		return err
	}
	if virtualServices != "" {
		if err := r.Select(mesh.Selection{VirtualServices: strings.Split(virtualServices, ",")}); err != nil {
			return err
		}
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
