package stage

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	networking "istio.io/client-go/pkg/apis/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/cluster/workload"
	"github.com/serin-cd/serin/pkg/judge/verdict"
	"github.com/serin-cd/serin/pkg/release"
	"github.com/serin-cd/serin/pkg/release/record"
	"github.com/serin-cd/serin/pkg/release/weight"
	"github.com/serin-cd/serin/pkg/task/run"
)

// restartsAllowed is how often one pod may restart in a stage; the next time fails the canary.
const restartsAllowed = 2

// spoiled is what ends a stage beside the judge.
type spoiled struct {
	decision verdict.Decision
	code     string
	text     string
}

// verdict is that of a stage that was spoiled now.
func (s *spoiled) verdict(r *release.Release, stages []run.Stage) verdict.Verdict {
	v := verdict.New(verdict.Target{Namespace: r.App.Namespace, Canary: r.App.Name, Primary: r.App.Primary()},
		stages, r.Cluster.Now())
	v.Decision, v.Code, v.Text = s.decision, s.code, s.text
	return v
}

func (s *spoiled) Error() string { return s.code + ": " + s.text }

func failed(code, format string, args ...any) error {
	return &spoiled{verdict.Fail, code, fmt.Sprintf(format, args...)}
}

func disturbed(code, format string, args ...any) error {
	return &spoiled{verdict.Inconclusive, code, fmt.Sprintf(format, args...)}
}

// watcher notices what spoils a stage while it is judged: by one watch an object, so within a moment.
type watcher struct {
	release *release.Release
	grace   time.Duration // how long fewer pods than wanted may be available
	found   func(error)   // is told what the watcher notices

	watches sync.WaitGroup
	opening chan weight.State // the route as it is when the watch begins
	seen    chan struct{}     // closed when the target is watched
	opened  bool              // the first event of the route was seen
	// the route with the run's record as it last had it, or that alone; of the goroutine that watches the route
	known    weight.State
	record   *record.Record   // as it was when the watch began
	short    *time.Timer      // runs while fewer pods than wanted are available, from the last progress on
	advance  workload.Advance // of the target's pods
	restarts map[string]int32 // of each container when it was first seen
}

func newWatcher(r *release.Release, grace time.Duration, found func(error)) *watcher {
	return &watcher{release: r, grace: grace, found: found, opening: make(chan weight.State, 1),
		seen: make(chan struct{}), restarts: map[string]int32{}}
}

// begin watches until ctx ends, and returns the run's record as it is now.
func (w *watcher) begin(ctx context.Context) (*record.Record, error) {
	w.follow(ctx, w.release.Cluster.VirtualServices(w.release.App.Namespace), w.routes(), w.onRoute(ctx))
	state, err := w.state(ctx)
	if err != nil {
		return nil, err
	}
	if state.Broken != nil {
		return nil, disturbed("route-changed", "%s", state.Damage())
	}
	rec := state.Record
	if rec == nil || rec.ID != w.release.ID || rec.Phase != run.Shifting || rec.Weight() == 0 {
		return nil, fmt.Errorf("judging %s: %w: %s: run shift-weight first", w.release.App, errNotShifted, holder(rec))
	}
	if err := weight.Unmoved(state); err != nil {
		w.found(disturbed("route-changed", "%s", err))
	}
	w.record = rec
	w.follow(ctx, w.release.Deployments.Objects, kube.Named(w.release.App.Name), w.onTarget(ctx))
	w.awaitTarget(ctx)
	return rec, nil
}

// routes selects what is watched of the VirtualServices: the first alone, or with its followers in one watch.
func (w *watcher) routes() metav1.ListOptions {
	if len(w.release.Fence.Selection.Others()) > 0 {
		return metav1.ListOptions{}
	}
	return kube.Named(w.first())
}

// first is the VirtualService with the record.
func (w *watcher) first() string { return w.release.Fence.Selection.First(w.release.App) }

// awaitTarget returns when the target is watched. One that is missing has no event, and is read for its error.
func (w *watcher) awaitTarget(ctx context.Context) {
	select {
	case <-w.seen:
	case <-ctx.Done():
	case <-time.After(2 * time.Second):
		if _, err := w.release.Target(ctx); err != nil {
			w.found(disturbed("target-changed", "%s", err))
		}
	}
}

// state is that of the route when the watch begins. A VirtualService that is missing has no event, and is read for
// its error.
func (w *watcher) state(ctx context.Context) (weight.State, error) {
	select {
	case state := <-w.opening:
		return state, nil
	case <-ctx.Done():
		return weight.State{}, context.Cause(ctx)
	case <-time.After(5 * time.Second):
		return w.release.Fence.Read(ctx)
	}
}

type watchable interface {
	Watch(context.Context, metav1.ListOptions) (watch.Interface, error)
}

func (w *watcher) follow(ctx context.Context, of watchable, selected metav1.ListOptions,
	on func(watch.EventType, runtime.Object) (bool, error)) {
	w.watches.Go(func() {
		if err := kube.Follow(ctx, of, selected, on); err != nil && ctx.Err() == nil {
			w.found(err)
		}
	})
}

// wait returns when nothing is watched any more.
func (w *watcher) wait() {
	w.watches.Wait()
	if w.short != nil {
		w.short.Stop()
	}
}

func (w *watcher) onTarget(ctx context.Context) func(watch.EventType, runtime.Object) (bool, error) {
	var pods sync.Once
	return func(event watch.EventType, object runtime.Object) (bool, error) {
		target, err := workload.FromObject(object)
		if err != nil {
			return false, err
		}
		pods.Do(func() {
			close(w.seen)
			selected := metav1.ListOptions{LabelSelector: metav1.FormatLabelSelector(target.Spec.Selector)}
			w.follow(ctx, w.release.Cluster.Objects(kube.Pods, w.release.App.Namespace), selected, w.onPod)
		})
		if event == watch.Deleted {
			return false, disturbed("target-changed", "Deployment %s was deleted", target.Name)
		}
		if got := target.Revision(); got != w.record.Revision {
			return false, disturbed("target-changed",
				"Deployment %s went from revision %s to %s (%s wrote it): start a run for the new one",
				target.Name, workload.Short(w.record.Revision), workload.Short(got),
				kube.Writer(target, "spec", "template"))
		}
		available, further := target.Status.AvailableReplicas, w.advance.Made(target)
		if available == 0 {
			return false, failed("unavailable", "no pod of the canary is available: %s", target.Progress())
		}
		if w.short != nil && (further || available >= target.Wanted()) {
			w.short.Stop()
			w.short = nil
		}
		if available < target.Wanted() && w.short == nil {
			progress := target.Progress()
			w.short = time.AfterFunc(w.grace, func() {
				w.found(failed("unavailable", "fewer pods than wanted for longer than %s: %s", w.grace, progress))
			})
		}
		return false, nil
	}
}

// onPod counts restarts from the time when the stage began to be watched.
func (w *watcher) onPod(event watch.EventType, object runtime.Object) (bool, error) {
	u, ok := object.(*unstructured.Unstructured)
	if !ok || event == watch.Deleted {
		return false, nil
	}
	var pod pod
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &pod); err != nil {
		return false, fmt.Errorf("reading Pod %s: %w", u.GetName(), err)
	}
	for _, c := range pod.Status.ContainerStatuses {
		key := string(u.GetUID()) + "/" + c.Name
		before, seen := w.restarts[key]
		if !seen {
			w.restarts[key] = c.RestartCount
			continue
		}
		if n := c.RestartCount - before; n > restartsAllowed {
			end := c.LastState.Terminated
			return false, failed("restarts",
				"container %s of pod %s restarted %d times in this stage: %s, exit code %d", c.Name, u.GetName(), n,
				end.Reason, end.ExitCode)
		}
	}
	return false, nil
}

// pod is what is read of a Pod.
type pod struct {
	Status struct {
		ContainerStatuses []struct {
			Name         string `json:"name"`
			RestartCount int32  `json:"restartCount"`
			LastState    struct {
				Terminated struct {
					Reason   string `json:"reason"`
					ExitCode int32  `json:"exitCode"`
				} `json:"terminated"`
			} `json:"lastState"`
		} `json:"containerStatuses"`
	} `json:"status"`
}

func (w *watcher) onRoute(ctx context.Context) func(watch.EventType, runtime.Object) (bool, error) {
	return func(event watch.EventType, object runtime.Object) (bool, error) {
		vs, ok := object.(*networking.VirtualService)
		if !ok {
			return false, nil
		}
		if name := vs.Name; name != w.first() {
			if !slices.Contains(w.release.Fence.Selection.Others(), name) {
				return false, nil
			}
			return false, w.follower(event, vs)
		}
		if event == watch.Deleted {
			w.known.VirtualService = nil
			text := w.release.Remembering(w.known.Record).RemakeEnded(ctx, vs, "route-changed")
			return false, disturbed("route-changed", "%s", text)
		}
		return false, w.changed(vs)
	}
}

// follower looks at a VirtualService that has a copy of the record: it has to be as the copy says, which is as the
// record says when the stage begins.
func (w *watcher) follower(event watch.EventType, vs *networking.VirtualService) error {
	if event == watch.Deleted {
		return disturbed("route-changed", "VirtualService %s was deleted, by whom is not known", vs.Name)
	}
	state, err := weight.Observe(vs, w.release.App, w.release.Fence.Selection)
	switch {
	case err != nil:
		return disturbed("route-changed", "%s (%s wrote it)", err, state.Writer())
	case !state.Record.Open() && state.Record != nil && state.Record.ID == w.release.ID:
		return nil // the run ends: the first tells
	case state.Record == nil || state.Record.ID != w.release.ID || state.Damage() != "":
		return disturbed("route-changed", "VirtualService %s: its copy of the record is not that of this run: %s "+
			"wrote it", vs.Name, state.Writer())
	}
	if err := weight.Unmoved(state); err != nil {
		return disturbed("route-changed", "VirtualService %s: %s", vs.Name, err)
	}
	return nil
}

// changed looks at the route as it is now.
func (w *watcher) changed(vs *networking.VirtualService) error {
	state, err := weight.Observe(vs, w.release.App, w.release.Fence.Selection)
	held := state.Record != nil && state.Record.ID == w.release.ID && state.Record.Phase == run.Shifting
	w.known.VirtualService = nil
	if held && state.Damage() == "" {
		w.known.Record = state.Record
		if err == nil {
			w.known = state
		}
	}
	if err == nil && !w.opened {
		w.opened = true
		w.opening <- state
		return nil
	}
	damage := state.Damage()
	switch {
	case err != nil:
		return disturbed("route-changed", "%s (%s wrote it)", err, state.Writer())
	case !held && damage != "":
		return disturbed("route-changed", "%s", damage)
	case !held:
		return disturbed("closed", "the run no longer holds VirtualService %s: %s", vs.Name, holder(state.Record))
	}
	if err := weight.Unmoved(state); err != nil {
		return disturbed("route-changed", "%s", err)
	}
	return nil
}

func holder(r *record.Record) string {
	if r == nil {
		return "the record is gone"
	}
	return fmt.Sprintf("the record names run %s, phase %s (%s)", r.ID, r.Phase, r.Reason)
}
