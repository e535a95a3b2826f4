package workload

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/serin-cd/serin/pkg/cluster/kube"
)

const (
	// unasked is how long pods may take before it is asked what keeps them: most are ready by then, and cost no call.
	unasked = 5 * time.Second
	// refused is how long the API server may refuse pods before that counts as final.
	refused = 10 * time.Second
)

// NotReadyError says that a Deployment's pods made no progress for as long as they may, or cannot make any.
type NotReadyError struct {
	Name     string
	Deadline time.Duration // from one progress to the next
	Progress string        // of the pods, and what keeps them
	Final    bool          // waiting on would not help: the deadline was not waited for
}

func (e *NotReadyError) Error() string {
	if e.Final {
		return fmt.Sprintf("Deployment %s cannot become ready: %s", e.Name, e.Progress)
	}
	return fmt.Sprintf("Deployment %s is not ready after %s without progress: %s", e.Name, e.Deadline, e.Progress)
}

// WaitReady follows a Deployment until it is ready; check, if there is one, sees each change before. The deadline
// begins anew with each progress, as that of the Deployment's own condition Progressing does. After it a *NotReadyError
// is returned, and before it for what no time mends: an image that does not exist, pods that a quota or a policy
// refuses, a container that crashes a second time.
func (c Deployments) WaitReady(ctx context.Context, name string, deadline time.Duration,
	check func(*Deployment) error) (*Deployment, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	w := &wait{deployments: c, name: name, deadline: deadline, end: cancel, troubles: map[string]string{}}
	timer := time.AfterFunc(deadline, func() { w.give(false) })
	var asking sync.WaitGroup
	asking.Go(func() { w.ask(ctx) })
	defer func() {
		cancel(nil)
		timer.Stop()
		asking.Wait()
		w.admitted()
	}()
	var advance Advance
	var last *Deployment
	err := kube.Follow(ctx, c.Objects, kube.Named(name),
		func(event watch.EventType, object runtime.Object) (bool, error) {
			d, err := FromObject(object)
			if err != nil {
				return false, err
			}
			if event == watch.Deleted {
				return false, fmt.Errorf("waiting for Deployment %s: it was deleted", name)
			}
			if check != nil {
				if err := check(d); err != nil {
					return false, err
				}
			}
			if advance.Made(d) && timer.Stop() {
				timer.Reset(deadline)
			}
			last = d
			w.saw(d)
			return d.Ready(), nil
		})
	return last, err
}

// wait is one wait for a Deployment, and what is known of what keeps its pods.
type wait struct {
	deployments Deployments
	name        string
	deadline    time.Duration
	end         context.CancelCauseFunc

	mu       sync.Mutex
	latest   *Deployment
	troubles map[string]string // by the pod's UID, in words
	leaving  int               // pods that are being deleted, and may still count for a quota
	refusing *time.Timer       // runs while the API server refuses pods
	hash     string            // of the template that the pods wanted are of; empty while it is not known
	of       int64             // the generation that hash is of
}

// give ends the wait without success.
func (w *wait) give(final bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	progress := "it does not exist"
	if w.latest != nil {
		progress = w.latest.Progress()
	}
	for _, text := range w.troubles { // of one pod: they mostly have the same
		progress += "; " + text
		break
	}
	w.end(&NotReadyError{Name: w.name, Deadline: w.deadline, Progress: progress, Final: final})
}

// saw keeps the Deployment as it is now. Pods that the API server refuses to make may be let in a moment later: those
// that count for a quota may just be going.
func (w *wait) saw(d *Deployment) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.latest = d
	switch refusal := d.refusal(); {
	case refusal == "" && w.refusing != nil:
		w.refusing.Stop()
		w.refusing = nil
	case refusal != "" && w.refusing == nil:
		w.refusing = time.AfterFunc(refused, w.refusedFor)
	}
}

// refusedFor ends the wait, unless pods are going.
func (w *wait) refusedFor() {
	w.mu.Lock()
	if w.leaving > 0 && w.refusing != nil {
		w.refusing.Reset(refused)
		w.mu.Unlock()
		return
	}
	w.mu.Unlock()
	w.give(true)
}

// admitted stops waiting for a refusal to last.
func (w *wait) admitted() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.refusing != nil {
		w.refusing.Stop()
	}
}

// refusal is why the API server makes no more pods, empty where it does, or where the reason may pass by itself.
func (d *Deployment) refusal() string {
	for _, c := range d.Status.Conditions {
		if c.Type != "ReplicaFailure" || c.Status != "True" {
			continue
		}
		for _, final := range []string{"is forbidden", "denied the request", "is invalid", "denied request"} {
			if strings.Contains(c.Message, final) {
				return c.Message
			}
		}
	}
	return ""
}

// ask follows the Deployment's pods, if they are not ready soon, until ctx ends.
func (w *wait) ask(ctx context.Context) {
	select {
	case <-ctx.Done():
		return
	case <-time.After(unasked):
	}
	w.mu.Lock()
	d := w.latest
	w.mu.Unlock()
	if d == nil || w.deployments.Pods == nil {
		return
	}
	leaving := map[string]bool{}
	selected := metav1.ListOptions{LabelSelector: metav1.FormatLabelSelector(d.Spec.Selector)}
	err := kube.Follow(ctx, w.deployments.Pods, selected, func(event watch.EventType, object runtime.Object) (bool,
		error) {
		u, ok := object.(*unstructured.Unstructured)
		if !ok {
			return false, nil
		}
		delete(leaving, string(u.GetUID()))
		if event != watch.Deleted && u.GetDeletionTimestamp() != nil {
			leaving[string(u.GetUID())] = true
		}
		return w.look(ctx, event, u, len(leaving))
	})
	if err != nil && ctx.Err() == nil {
		slog.Warn("not watching pods", "deployment", w.name, "error", err.Error())
	}
}

// look keeps what is the matter with a pod, and ends the wait where that is final.
func (w *wait) look(ctx context.Context, event watch.EventType, u *unstructured.Unstructured, leaving int) (bool,
	error) {
	pod, err := readPod(u)
	if err != nil {
		return false, err
	}
	text, final := "", false
	if event != watch.Deleted && u.GetDeletionTimestamp() == nil && w.wanted(ctx, pod) {
		text, final = pod.trouble(func(container string) string {
			if w.deployments.LastLine == nil {
				return ""
			}
			return w.deployments.LastLine(ctx, u.GetName(), container)
		})
	}
	w.mu.Lock()
	w.leaving = leaving
	delete(w.troubles, string(u.GetUID()))
	if text != "" {
		if final {
			clear(w.troubles)
		}
		w.troubles[string(u.GetUID())] = text
	}
	w.mu.Unlock()
	if final {
		w.give(true)
	}
	return final, nil
}

// wanted says whether a pod is of the Deployment's present template: what is the matter with others, which it replaces,
// keeps nothing. A pod without trouble is not asked about.
func (w *wait) wanted(ctx context.Context, p pod) bool {
	if text, _ := p.trouble(nil); text == "" {
		return false
	}
	w.mu.Lock()
	d, hash, of := w.latest, w.hash, w.of
	w.mu.Unlock()
	if hash == "" || of != d.Generation {
		hash = w.deployments.templateHash(ctx, d)
		w.mu.Lock()
		w.hash, w.of = hash, d.Generation
		w.mu.Unlock()
	}
	return hash != "" && p.Metadata.Labels[templateHash] == hash
}
