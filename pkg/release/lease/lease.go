// Package lease queues an application's runs and shows that the one at work is alive.
package lease

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	coordination "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/task/run"
)

const (
	// Unattended is how long after its last renewal a Lease counts as expired.
	Unattended = 90 * time.Second
	// Beat is how often a step renews it.
	Beat = 30 * time.Second
)

// objects is what is asked of the API for Leases; the dynamic client has it as it is.
type objects interface {
	Get(context.Context, string, metav1.GetOptions, ...string) (*unstructured.Unstructured, error)
	Create(context.Context, *unstructured.Unstructured, metav1.CreateOptions, ...string) (*unstructured.Unstructured,
		error)
	Patch(context.Context, string, types.PatchType, []byte, metav1.PatchOptions, ...string) (*unstructured.Unstructured,
		error)
	Watch(context.Context, metav1.ListOptions) (watch.Interface, error)
}

// clock is the API server's. What it tells before it is known is this machine's time.
type clock interface {
	Now() time.Time
	Known() <-chan struct{}
}

// Lease is an application's Lease as one run, the holder, sees it.
type Lease struct {
	Objects objects
	App     application.Application
	Holder  run.ID
	Clock   clock
}

// HeldError is the refusal of a Lease that another run holds.
type HeldError struct {
	Lease, Holder string
	Since         time.Time
}

func (e *HeldError) Error() string {
	return fmt.Sprintf("Lease %s is held by run %s since %s: wait for it or cancel it", e.Lease, e.Holder,
		e.Since.Format(time.RFC3339))
}

// Acquire takes the Lease, or renews it where the run holds it already. It takes it from another
// holder only if abandoned says so of it, and fails with a *HeldError otherwise.
func (l Lease) Acquire(ctx context.Context, abandoned func(holder string, expired bool) (bool, error)) error {
	return l.acquireAs(ctx, nil, abandoned)
}

func (l Lease) acquireAs(ctx context.Context, w *waiter, abandoned func(string, bool) (bool, error)) error {
	return kube.Retry(ctx, func(ctx context.Context) error {
		for {
			err := l.acquire(ctx, w, abandoned)
			if !apierrors.IsAlreadyExists(err) && !kube.Raced(err) {
				return err
			}
			if err := kube.Pause(ctx); err != nil {
				return err
			}
		}
	})
}

func (l Lease) acquire(ctx context.Context, w *waiter, abandoned func(string, bool) (bool, error)) error {
	now, err := l.Get(ctx)
	if apierrors.IsNotFound(err) {
		return l.create(ctx)
	}
	if err != nil {
		return fmt.Errorf("reading Lease %s: %w", l.App.Lease(), err)
	}
	if err := w.overtaken(now); err != nil {
		return err
	}
	holder := Holder(now)
	if holder != "" && holder != l.Holder.String() {
		free, err := abandoned(holder, IsExpired(now, l.Clock.Now()))
		if err != nil {
			return err
		}
		if !free {
			if err := l.enqueue(ctx, now, w); err != nil {
				return err
			}
			return &HeldError{l.App.Lease(), holder, since(now)}
		}
		slog.Info("lease taken from a run that was abandoned", "holder", holder)
	}
	spec := l.spec()
	if holder == l.Holder.String() && now.Spec.AcquireTime != nil {
		spec.AcquireTime = now.Spec.AcquireTime
	}
	ops := []kube.Operation{kube.Test("/metadata/resourceVersion", now.ResourceVersion), kube.Add("/spec", spec)}
	return l.patch(ctx, append(ops, w.leave(now)...)...)
}

// since is when a Lease was taken; the time of its making where the holder wrote none.
func since(l *coordination.Lease) time.Time {
	if l.Spec.AcquireTime == nil {
		return l.CreationTimestamp.Time
	}
	return l.Spec.AcquireTime.Time
}

// Get reads the Lease.
func (l Lease) Get(ctx context.Context) (*coordination.Lease, error) {
	found, err := l.Objects.Get(ctx, l.App.Lease(), metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	var read coordination.Lease
	return &read, runtime.DefaultUnstructuredConverter.FromUnstructured(found.Object, &read)
}

// Holder is the id of the run that holds a Lease, empty for none.
func Holder(l *coordination.Lease) string {
	if l.Spec.HolderIdentity == nil {
		return ""
	}
	return *l.Spec.HolderIdentity
}

// IsExpired says whether a Lease has not been renewed for as long as it says.
func IsExpired(l *coordination.Lease, now time.Time) bool {
	if l.Spec.RenewTime == nil || l.Spec.LeaseDurationSeconds == nil {
		return true
	}
	return now.After(l.Spec.RenewTime.Add(time.Duration(*l.Spec.LeaseDurationSeconds) * time.Second))
}

// Renew is one beat. A Lease that somebody has deleted is made again, and one that nobody holds, because a run that
// took it meanwhile has given it up, is taken again. It does nothing to a Lease that another run holds.
func (l Lease) Renew(ctx context.Context) error {
	err := l.patch(ctx, kube.Test("/spec/holderIdentity", l.Holder.String()),
		kube.Add("/spec/renewTime", l.spec().RenewTime))
	if !apierrors.IsNotFound(err) && !kube.Raced(err) {
		return err
	}
	now, unmade := l.orMade(ctx)
	if unmade != nil {
		return fmt.Errorf("%w; %w", err, unmade)
	}
	if Holder(now) != l.Holder.String() {
		return err
	}
	slog.Warn("lease taken again: it was deleted, or given up by another run", "lease", l.App.Lease())
	return nil
}

// orMade reads the Lease. One that is missing, or that nobody holds, it makes out to the run, as renewed now.
func (l Lease) orMade(ctx context.Context) (*coordination.Lease, error) {
	now, err := l.Get(ctx)
	switch {
	case apierrors.IsNotFound(err):
		return l.made(ctx, l.create(ctx))
	case err == nil && Holder(now) == "":
		return l.take(ctx, now)
	}
	return now, err
}

// take makes the Lease out to the run while it is as it was read.
func (l Lease) take(ctx context.Context, now *coordination.Lease) (*coordination.Lease, error) {
	return l.made(ctx, l.patch(ctx, kube.Test("/metadata/resourceVersion", now.ResourceVersion),
		kube.Add("/spec", l.spec())))
}

// made reads the Lease after it was written, or after another was faster.
func (l Lease) made(ctx context.Context, err error) (*coordination.Lease, error) {
	if err != nil && !apierrors.IsAlreadyExists(err) && !kube.Raced(err) {
		return nil, fmt.Errorf("making Lease %s out to run %s: %w", l.App.Lease(), l.Holder, err)
	}
	return l.Get(ctx)
}

// Keep renews the Lease as soon as the API server's time is known, from the first call that the step makes, and at
// every beat until ctx ends. A Lease is no permission to write, so a beat that fails is only logged.
func (l Lease) Keep(ctx context.Context) {
	select {
	case <-ctx.Done():
		return
	case <-l.Clock.Known():
	}
	l.beat(ctx)
	l.KeepOn(ctx)
}

// KeepOn is Keep for a step that follows one in the same pod: that has renewed the Lease a moment ago.
func (l Lease) KeepOn(ctx context.Context) {
	ticker := time.NewTicker(Beat)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			l.beat(ctx)
		}
	}
}

func (l Lease) beat(ctx context.Context) {
	if err := l.Renew(ctx); err != nil && ctx.Err() == nil {
		slog.Warn("lease not renewed", "lease", l.App.Lease(), "error", err.Error())
	}
}

// Release gives the Lease up. A Lease that is gone, or that another run holds, is left as it is.
func (l Lease) Release(ctx context.Context) error {
	err := kube.Retry(ctx, func(ctx context.Context) error {
		return l.patch(ctx, kube.Test("/spec/holderIdentity", l.Holder.String()),
			kube.Replace("/spec/holderIdentity", ""))
	})
	if apierrors.IsNotFound(err) || kube.Raced(err) {
		return nil
	}
	return err
}

func (l Lease) spec() coordination.LeaseSpec {
	holder, now, seconds := l.Holder.String(), metav1.NewMicroTime(l.Clock.Now()), int32(Unattended/time.Second)
	return coordination.LeaseSpec{HolderIdentity: &holder, LeaseDurationSeconds: &seconds, AcquireTime: &now,
		RenewTime: &now}
}

func (l Lease) create(ctx context.Context) error {
	object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&coordination.Lease{
		TypeMeta:   metav1.TypeMeta{APIVersion: "coordination.k8s.io/v1", Kind: "Lease"},
		ObjectMeta: metav1.ObjectMeta{Name: l.App.Lease(), Labels: map[string]string{application.Label: l.App.Name}},
		Spec:       l.spec(),
	})
	if err != nil {
		return fmt.Errorf("making Lease %s: %w", l.App.Lease(), err)
	}
	_, err = l.Objects.Create(ctx, &unstructured.Unstructured{Object: object},
		metav1.CreateOptions{FieldManager: kube.FieldManager})
	return err
}

func (l Lease) patch(ctx context.Context, ops ...kube.Operation) error {
	body, err := kube.Patch(ops...)
	if err != nil {
		return fmt.Errorf("writing Lease %s: %w", l.App.Lease(), err)
	}
	if _, err := l.Objects.Patch(ctx, l.App.Lease(), types.JSONPatchType, body,
		metav1.PatchOptions{FieldManager: kube.FieldManager}); err != nil {
		return fmt.Errorf("writing Lease %s: %w", l.App.Lease(), err)
	}
	return nil
}

// Standing is how a run stands to its application's Lease.
type Standing string

// The standings.
const (
	Kept     Standing = "kept"
	Expired  Standing = "expired"
	Anothers Standing = "another's"
)

// Standing says how a run, the holder, stands to the Lease. One that is missing, or that nobody holds or renews, does
// not tell whether the run is alive: it is made out to it, so that a run that is alive renews it, and that of one that
// is not expires.
func (l Lease) Standing(ctx context.Context) (Standing, error) {
	now, err := l.orMade(ctx)
	if err == nil && Holder(now) != l.Holder.String() && IsExpired(now, l.Clock.Now()) {
		slog.Info("lease taken for a run from one that no longer renews it", "run", l.Holder.String(), "holder",
			Holder(now))
		now, err = l.take(ctx, now)
	}
	switch {
	case err != nil:
		return "", err
	case Holder(now) != l.Holder.String():
		return Anothers, nil
	case IsExpired(now, l.Clock.Now()):
		return Expired, nil
	}
	return Kept, nil
}

// Lapsed says whether a run that has ended, the holder, no longer keeps the Lease: it has expired, is gone, or is
// another's.
func (l Lease) Lapsed(ctx context.Context) (bool, error) {
	now, err := l.Get(ctx)
	if apierrors.IsNotFound(err) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("reading Lease %s: %w", l.App.Lease(), err)
	}
	return Holder(now) != l.Holder.String() || IsExpired(now, l.Clock.Now()), nil
}
