package bench

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/serin-cd/serin/e2e/load"
	"github.com/serin-cd/serin/e2e/trial"
	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/release/record"
	"github.com/serin-cd/serin/pkg/task/parameter"
)

// rate is the load of releases, in requests a second.
const rate = 150

// played is a release that has ended.
type played struct {
	result  trial.Result
	took    time.Duration // from the push
	sent    int
	lost    int
	exposed time.Duration // from the first bad answer to weight 0
	calls   Calls
}

// play pushes a version and releases it, and fails where it does not end with the outcome.
func play(ctx context.Context, app *trial.App, c *trial.Clients, name string, version trial.Version, outcome string,
	params map[string]string) (played, error) {
	watched, stop := context.WithCancel(ctx)
	defer stop()
	zero := weightZero(watched, app)
	if c != nil {
		c.Reset()
	}
	p, err := roll(ctx, app, name, version, outcome, params)
	if err != nil {
		return p, err
	}
	stop()
	back := <-zero
	if c != nil {
		var failed []load.Answer
		p.sent, failed = c.Seen()
		if p.lost = len(failed); p.lost > 0 && !back.IsZero() {
			p.exposed = back.Sub(failed[0].At)
		}
	}
	p.calls, err = countFile(app.Sandbox.AuditLog, app.Namespace, name)
	return p, err
}

// roll pushes a version and plays its run to the end.
func roll(ctx context.Context, app *trial.App, name string, version trial.Version, outcome string,
	params map[string]string) (p played, err error) {
	begin := time.Now()
	if err := app.Push(ctx, version); err != nil {
		return p, err
	}
	started, err := app.Start(ctx, "canary", name, params)
	if err != nil {
		return p, err
	}
	if p.result, err = started.Wait(ctx, 15*time.Minute); err != nil {
		return p, err
	}
	p.took = ended(ctx, app, name).Sub(begin)
	if got := p.result.Results["outcome"]; got != outcome {
		return p, fmt.Errorf("releasing %s: outcome %q (%s), want %q", version, got, p.result.Results["reason"],
			outcome)
	}
	return p, nil
}

// ended is when Tekton says that the run ended; Tekton writes whole seconds.
func ended(ctx context.Context, app *trial.App, name string) time.Time {
	found, err := app.Tekton.PipelineRuns(app.Namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil || found.Status.CompletionTime == nil {
		return time.Now()
	}
	return found.Status.CompletionTime.Time
}

// weightZero watches the route until ctx ends, and then tells when the canary's share last fell to 0. The record
// and the weights are written together.
func weightZero(ctx context.Context, app *trial.App) <-chan time.Time {
	out := make(chan time.Time, 1)
	go func() {
		var fell time.Time
		var before parameter.Weight
		defer func() { out <- fell }()
		for ctx.Err() == nil {
			w, err := app.Objects.Resource(trial.VirtualServices).Namespace(app.Namespace).Watch(ctx,
				metav1.ListOptions{})
			if err != nil {
				time.Sleep(100 * time.Millisecond)
				continue
			}
			for e := range w.ResultChan() {
				vs, ok := e.Object.(*unstructured.Unstructured)
				if !ok || vs.GetName() != app.Name {
					continue
				}
				rec, err := record.Parse(vs.GetAnnotations()[application.RunAnnotation])
				if err != nil {
					continue
				}
				if rec.Weight() == 0 && before > 0 {
					fell = time.Now()
				}
				before = rec.Weight()
			}
		}
	}()
	return out
}
