package lease

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	coordination "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/task/run"
)

// waiting is the annotation of the Lease that names the newest of the runs that wait for it.
const waiting = "serin.dev/waiting"

// ErrOvertaken says that a newer run has the Lease, or waits for it.
var ErrOvertaken = errors.New("overtaken by a newer run")

// Place is a run's place in the queue.
type Place struct {
	Run     run.ID    `json:"run"`
	Created time.Time `json:"created"` // when its PipelineRun was made
}

// Newer says whether a run was made after another. Times are whole seconds; within one the names decide.
func (p Place) Newer(than Place) bool {
	if p.Created.Equal(than.Created) {
		return p.Run.String() > than.Run.String()
	}
	return p.Created.After(than.Created)
}

// waiter is a run that queues; nil is one that does not.
type waiter struct {
	place Place
	alive func(run.ID) bool
}

// Wait acquires the Lease as Acquire does, and waits as long as another run has it. Of several runs that wait the
// newest stays: the others, and one whose turn has come after that of a newer run, fail with ErrOvertaken. alive says
// of a run that waits whether it still does.
func (l Lease) Wait(ctx context.Context, place Place, alive func(run.ID) bool,
	abandoned func(holder string, expired bool) (bool, error)) error {
	for {
		err := l.acquireAs(ctx, &waiter{place, alive}, abandoned)
		var held *HeldError
		if !errors.As(err, &held) {
			return err
		}
		if err := l.change(ctx, held.Holder); err != nil {
			return fmt.Errorf("%w: %w", held, err)
		}
	}
}

// change returns when the Lease has another holder, or somebody else waits for it. A holder that has died writes
// nothing, so it also returns when the Lease of one would have expired.
func (l Lease) change(ctx context.Context, holder string) error {
	limited, cancel := context.WithTimeout(ctx, Unattended)
	defer cancel()
	err := kube.Follow(limited, l.Objects, kube.Named(l.App.Lease()),
		func(event watch.EventType, object runtime.Object) (bool, error) {
			u, ok := object.(*unstructured.Unstructured)
			if !ok {
				return false, nil
			}
			var now coordination.Lease
			if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &now); err != nil {
				return false, err
			}
			first := newest(&now)
			return event == watch.Deleted || Holder(&now) != holder || first == nil || first.Run != l.Holder, nil
		})
	if limited.Err() != nil && ctx.Err() == nil {
		return nil
	}
	return err
}

// newest is the run that waits; nil for none.
func newest(l *coordination.Lease) *Place {
	var p Place
	if json.Unmarshal([]byte(l.Annotations[waiting]), &p) != nil || p.Run == (run.ID{}) {
		return nil
	}
	return &p
}

// overtaken is an error where a newer run waits.
func (w *waiter) overtaken(now *coordination.Lease) error {
	if w == nil {
		return nil
	}
	if first := newest(now); first != nil && first.Newer(w.place) && w.alive(first.Run) {
		return ErrOvertaken
	}
	return nil
}

// enqueue writes that this run waits, in the place of an older one or of one that no longer waits.
func (l Lease) enqueue(ctx context.Context, now *coordination.Lease, w *waiter) error {
	if first := newest(now); w == nil || first != nil && first.Run == w.place.Run {
		return nil
	}
	text, err := json.Marshal(w.place)
	if err != nil {
		return err
	}
	ops := append([]kube.Operation{kube.Test("/metadata/resourceVersion", now.ResourceVersion)},
		kube.Annotate(now.Annotations, waiting, string(text))...)
	return l.patch(ctx, ops...)
}

// leave are the operations by which a run whose turn has come no longer waits.
func (w *waiter) leave(now *coordination.Lease) []kube.Operation {
	if first := newest(now); w == nil || first == nil || first.Run != w.place.Run {
		return nil
	}
	return []kube.Operation{kube.Unannotate(waiting)}
}
