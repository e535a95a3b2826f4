package status

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	networking "istio.io/client-go/pkg/apis/networking/v1"
	v1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"

	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/release/record"
	"github.com/serin-cd/serin/pkg/task/failure"
	"github.com/serin-cd/serin/pkg/task/run"
)

// Change is what happened to a run: one of its members is set.
type Change struct {
	At     time.Time  `json:"at"`
	Weight *run.Stage `json:"weight,omitempty"` // was written
	Phase  run.Phase  `json:"phase,omitempty"`  // was reached
	Task   *Task      `json:"task,omitempty"`   // has begun or ended
	Ended  *Run       `json:"ended,omitempty"`

	// What only those are told who follow closely.
	Plan    []string `json:"plan,omitempty"`    // tasks of the Pipeline, in order
	Serving *Version `json:"serving,omitempty"` // of the primary
	Canary  *Version `json:"canary,omitempty"`  // of the target
	Judging *Judging `json:"judging,omitempty"` // how far it is
	Event   string   `json:"event,omitempty"`   // of Serin's, on the target
	Unread  string   `json:"unread,omitempty"`  // what cannot be read, and why
}

var errDeleted = failure.Configf("it was deleted: see tkn canary status for what became of the application")

// follower tells each change once.
type follower struct {
	id      run.ID
	mu      sync.Mutex
	tell    func(Change)
	weights int             // told
	phase   run.Phase       // told
	begun   map[string]bool // tasks
	ended   map[string]bool // tasks
	begin   time.Time       // of the task that has begun last
	verdict string          // of the last stage
	run     Run

	detail *detail // nil unless it is followed closely
}

// source is a watch, and what to do with what it sees.
type source struct {
	of       watcher
	selected v1.ListOptions
	see      func(watch.EventType, runtime.Object) (bool, error)
}

// Follow tells what happens to a run, from what has happened already on, until it has ended. It watches, and asks
// nothing while nothing changes.
func Follow(ctx context.Context, c *kube.Cluster, id run.ID, tell func(Change)) (Run, error) {
	return newFollower(id, tell).follow(ctx, c)
}

func newFollower(id run.ID, tell func(Change)) *follower {
	return &follower{id: id, tell: tell, begun: map[string]bool{}, ended: map[string]bool{}}
}

func (f *follower) follow(ctx context.Context, c *kube.Cluster) (Run, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if f.detail != nil {
		f.detail.begin(ctx)
	}
	f.catchUp(ctx, c)
	var watching sync.WaitGroup
	for _, s := range []source{
		{c.Objects(kube.TaskRuns, f.id.Namespace),
			v1.ListOptions{LabelSelector: pipelineRunLabel + "=" + f.id.Name}, f.seeTask},
		{c.VirtualServices(f.id.Namespace), v1.ListOptions{}, f.seeRoute},
	} {
		watching.Go(func() {
			if err := kube.Follow(ctx, s.of, s.selected, s.see); err != nil {
				cancel(err)
			}
		})
	}
	err := f.untilEnded(ctx, c)
	cause := context.Cause(ctx)
	cancel(nil)
	watching.Wait()
	if f.detail != nil {
		f.detail.reading.Wait()
	}
	if err != nil && cause != nil {
		err = cause // of why it is not watched any more
	}
	if err != nil {
		return f.run, fmt.Errorf("watching run %s/%s: %w", f.id.Namespace, f.id.Name, err)
	}
	f.run.Verdict = f.verdict
	f.tell(Change{At: f.run.Ended, Ended: &f.run})
	return f.run, nil
}

// catchUp tells what has happened already, in its order. What it cannot read the watches tell, or say why not.
func (f *follower) catchUp(ctx context.Context, c *kube.Cluster) {
	var past []Change
	f.mu.Lock()
	tell := f.tell
	f.tell = func(c Change) { past = append(past, c) }
	f.mu.Unlock()
	if tasks, err := c.Objects(kube.TaskRuns, f.id.Namespace).List(ctx,
		v1.ListOptions{LabelSelector: pipelineRunLabel + "=" + f.id.Name}); err == nil {
		for i := range tasks.Items {
			_, _ = f.seeTask(watch.Added, &tasks.Items[i])
		}
	}
	if routes, err := c.VirtualServices(f.id.Namespace).List(ctx, v1.ListOptions{}); err == nil {
		for _, vs := range routes.Items {
			_, _ = f.seeRoute(watch.Added, vs)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tell = tell
	slices.SortStableFunc(past, func(a, b Change) int {
		return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.rank(), b.rank()))
	})
	for _, c := range past {
		f.tell(c)
	}
}

// rank orders what has happened in the same second: tasks end, others begin, weights are written and phases reached.
func (c Change) rank() int {
	switch {
	case c.Task != nil && c.Task.Ended.IsZero():
		return 1
	case c.Weight != nil:
		return 2
	case c.Phase != "":
		return 3
	case c.Task != nil && c.Task.Started.Equal(c.Task.Ended):
		return 4
	}
	return 0
}

// untilEnded waits until the PipelineRun has ended.
func (f *follower) untilEnded(ctx context.Context, c *kube.Cluster) error {
	runs := c.Objects(kube.PipelineRuns, f.id.Namespace)
	selected := kube.Named(f.id.Name).FieldSelector
	source := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o v1.ListOptions) (runtime.Object, error) {
			o.FieldSelector = selected
			return runs.List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o v1.ListOptions) (watch.Interface, error) {
			o.FieldSelector = selected
			return runs.Watch(ctx, o)
		},
	}
	there := func(store cache.Store) (bool, error) {
		if len(store.ListKeys()) == 0 {
			return false, errDeleted
		}
		return false, nil
	}
	_, err := watchtools.UntilWithSync(ctx, source, &unstructured.Unstructured{}, there,
		func(e watch.Event) (bool, error) { return f.seeRun(e.Type, e.Object) })
	return err
}

type watcher interface {
	Watch(ctx context.Context, opts v1.ListOptions) (watch.Interface, error)
}

func (f *follower) seeRun(kind watch.EventType, o runtime.Object) (ended bool, err error) {
	u, ok := o.(*unstructured.Unstructured)
	if !ok {
		return false, fmt.Errorf("reading a PipelineRun: got %T", o)
	}
	if kind == watch.Deleted {
		return false, errDeleted
	}
	r, _, err := RunOf(u)
	if err != nil || r.ID.UID != f.id.UID {
		return false, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.run = r
	if f.detail != nil {
		f.detail.plan(u)
	}
	return !r.Ended.IsZero(), nil
}

func (f *follower) seeTask(_ watch.EventType, o runtime.Object) (bool, error) {
	u, ok := o.(*unstructured.Unstructured)
	if !ok {
		return false, fmt.Errorf("reading a TaskRun: got %T", o)
	}
	t, err := TaskOf(u)
	if err != nil {
		return false, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !t.Started.IsZero() && !f.begun[u.GetName()] {
		f.begun[u.GetName()] = true
		if t.Started.After(f.begin) {
			f.begin = t.Started
		}
		begun := t
		begun.Ended = time.Time{}
		f.tell(Change{At: t.Started, Task: &begun})
	}
	if t.Verdict != "" {
		f.verdict = t.Verdict
	}
	if f.detail != nil {
		if err := f.detail.read(t, u); err != nil {
			return false, err
		}
	}
	if !t.Ended.IsZero() && !f.ended[u.GetName()] {
		f.ended[u.GetName()] = true
		f.tell(Change{At: t.Ended, Task: &t})
	}
	return false, nil
}

func (f *follower) seeRoute(_ watch.EventType, o runtime.Object) (bool, error) {
	vs, ok := o.(*networking.VirtualService)
	if !ok {
		return false, fmt.Errorf("reading a VirtualService: got %T", o)
	}
	rec, err := record.Parse(vs.Annotations[application.RunAnnotation])
	if err != nil || rec.ID != f.id || rec.Copied(vs.Name) {
		return false, nil // of none of this run's routes
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for ; f.weights < len(rec.Stages); f.weights++ {
		s := rec.Stages[f.weights]
		f.tell(Change{At: s.At, Weight: &s})
	}
	if rec.Phase != f.phase {
		f.phase = rec.Phase
		at := reached(rec)
		if rec.Phase == run.Promoting && at.Before(f.begin) {
			at = f.begin // when the task began that has written it
		}
		f.tell(Change{At: at, Phase: rec.Phase})
	}
	return false, nil
}

// reached is when a record came to its phase, as far as it tells.
func reached(rec *record.Record) time.Time {
	switch {
	case !rec.Ended.IsZero():
		return rec.Ended
	case !rec.Passed.IsZero() && rec.Phase == run.Promoting:
		return rec.Passed
	case len(rec.Stages) > 0:
		return rec.Stages[len(rec.Stages)-1].At
	}
	return rec.Created
}
