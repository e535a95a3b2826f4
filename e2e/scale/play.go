package scale

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/serin-cd/serin/pkg/task/run"
)

const (
	patience = "4m" // for pods to become ready: controllers share the processors with all that waits for them
	started  = 60   // runs that prepare at once: Tekton, too, starts many pods one after the other
)

func (w *world) play(ctx context.Context) error {
	w.say("deploying %d applications", len(w.apps))
	if err := w.deploy(ctx); err != nil {
		return err
	}
	w.say("first releases")
	if err := w.each(ctx, started, w.first); err != nil {
		return err
	}
	w.say("releases, all at once")
	begin := time.Now()
	var prepared sync.WaitGroup
	prepared.Add(len(w.apps))
	all, preparing := make(chan struct{}), make(chan struct{}, started)
	go func() { prepared.Wait(); close(all) }()
	err := w.each(ctx, len(w.apps), func(ctx context.Context, a *app) error {
		preparing <- struct{}{}
		come := sync.OnceFunc(func() { <-preparing; prepared.Done() })
		defer come()
		return w.release(ctx, a, come, all)
	})
	if err != nil {
		return err
	}
	w.took = time.Since(begin)
	w.say("looking at what became of them")
	return w.verify(ctx)
}

// each does something for all applications, so many at the same time.
func (w *world) each(ctx context.Context, most int, do func(context.Context, *app) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(most)
	for _, a := range w.apps {
		g.Go(func() error { return do(ctx, a) })
	}
	return g.Wait()
}

// given are the Pipeline's parameters.
func (w *world) given(a *app) map[string]string {
	return map[string]string{
		"app": a.Name, "interval": w.Interval.String(), "progress-deadline": patience, "prometheus-url": w.prometheus,
		"hosts": a.Name + "." + a.Namespace + ".test", "gateways": "public",
	}
}

func (w *world) first(ctx context.Context, a *app) error {
	r, err := w.start(ctx, a, "first", w.given(a))
	if err != nil {
		return err
	}
	if err := r.play(ctx, func(string) error { return nil }); err != nil {
		return err
	}
	if got := r.result("outcome"); got != string(run.Initialized) {
		return fmt.Errorf("releasing %s for the first time: outcome %q (%s), want %q", a, got, r.result("reason"),
			run.Initialized)
	}
	return nil
}

// release pushes a version and releases it. Once it is prepared it says so, and waits for the others: a run that has
// no traffic yet may wait for as long as Tekton likes.
func (w *world) release(ctx context.Context, a *app, come func(), all <-chan struct{}) error {
	if a.ending.pushed {
		if err := w.push(ctx, a); err != nil {
			return err
		}
	}
	r, err := w.start(ctx, a, "release", w.given(a))
	if err != nil {
		return err
	}
	ctx, end := context.WithCancel(ctx)
	defer end()
	if a.ending.due != nil && a.ending.kill == nil {
		go w.edit(ctx, a)
	}
	err = r.play(ctx, func(task string) error {
		if task != "prepare" {
			return nil
		}
		come()
		select {
		case <-all:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	})
	if err != nil {
		return err
	}
	if got := r.result("outcome"); got != string(a.ending.outcome) {
		w.wrongly("%s in %s (%s): outcome %q (%s), want %q", r.name, a.Namespace, a.ending.name, got,
			r.result("reason"), a.ending.outcome)
	}
	return nil
}

// edit labels the VirtualService when it is due, as somebody who knows nothing of the release.
func (w *world) edit(ctx context.Context, a *app) {
	select {
	case <-ctx.Done():
		return
	case <-w.traffic.due(a):
	}
	_, err := w.cluster.VirtualServices(a.Namespace).Patch(ctx, a.Name, types.MergePatchType,
		[]byte(`{"metadata":{"labels":{"edited":"yes"}}}`), metav1.PatchOptions{FieldManager: "somebody"})
	if err != nil && ctx.Err() == nil {
		w.wrongly("labelling VirtualService %s: %v", a, err)
	}
}

// wrongly remembers something that ended otherwise than it must, and says so.
func (w *world) wrongly(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.wrong = append(w.wrong, fmt.Sprintf(format, args...))
	w.say("WRONG: "+format, args...)
}

// ended remembers how a step has ended.
func (w *world) ended(e exit) {
	want := 0
	if e.run == e.app.release() {
		want = e.app.ending.exit(e.task, e.step)
	}
	if e.code != want {
		w.wrongly("%s in %s (%s): %s of %s ended with %d, want %d: %s", e.run, e.app.Namespace, e.app.ending.name,
			e.step, e.task, e.code, want, e.said)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.exits = append(w.exits, e)
}

func (w *world) remember(pod podKey, of podOf) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pods[pod] = of
}
