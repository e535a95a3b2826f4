package autoscaler

import (
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/cluster/workload"
	"github.com/serin-cd/serin/pkg/task/failure"
)

// missing says whether the target has an autoscaler and the primary lacks Serin's of that kind. One of an earlier
// primary goes with that, which is gone.
func (f Found) missing(primary *workload.Deployment) bool {
	if f.target == nil {
		return false
	}
	for _, o := range f.primary {
		if o.GetKind() == f.target.GetKind() && (primary == nil || owned(o, primary)) {
			return false
		}
	}
	return true
}

func owned(o *unstructured.Unstructured, primary *workload.Deployment) bool {
	return slices.ContainsFunc(o.GetOwnerReferences(),
		func(r metav1.OwnerReference) bool { return r.UID == primary.UID })
}

// Ensure makes the primary's autoscaler where it is missing, in place of one of another kind or another primary. One
// that is there keeps its bounds until a promotion. primary is nil in a rehearsal before the first release.
func (a Autoscalers) Ensure(ctx context.Context, f Found, copied workload.Copy, primary *workload.Deployment) error {
	if !f.missing(primary) {
		return nil
	}
	for _, other := range f.primary { // two would scale against each other
		if err := a.remove(ctx, other); err != nil {
			return err
		}
	}
	return a.create(ctx, f.target, copied, primary)
}

// Follow brings the primary's autoscaler in line with the target's as it is now. noted is what the target was told of
// its autoscaler: where that is gone, so is the primary's afterwards.
func (a Autoscalers) Follow(ctx context.Context, noted string, copied workload.Copy,
	primary *workload.Deployment) error {
	if noted == "" {
		return nil
	}
	r := Noted(noted)
	if r.Kind == "" {
		return a.removeAll(ctx)
	}
	target, err := a.get(ctx, r)
	if err != nil {
		return err
	}
	if target == nil {
		return a.removeAll(ctx)
	}
	there, err := a.update(ctx, Reference{r.Kind, a.App.Primary()}, nil,
		func(now *unstructured.Unstructured) ([]kube.Operation, error) {
			return a.follow(target, now, copied, primary)
		})
	if err == nil && !there {
		return a.create(ctx, target, copied, primary)
	}
	return err
}

// follow are the operations that make the primary's autoscaler a copy of the target's, while its spec is as it was
// read.
func (a Autoscalers) follow(target, now *unstructured.Unstructured, copied workload.Copy,
	primary *workload.Deployment) ([]kube.Operation, error) {
	if !a.own(now) {
		return nil, failure.Configf("reading %s: Serin did not make it (no label %s: %s), and would overwrite it: "+
			"delete it", referenceOf(now), application.Label, a.App.Name)
	}
	wanted, err := a.primary(target, copied, primary)
	if err != nil {
		return nil, err
	}
	if !reflect.DeepEqual(now.Object["spec"], wanted.Object["spec"]) {
		slog.Info("primary's autoscaler brought in line", "autoscaler", referenceOf(now).String(), "with",
			referenceOf(target).String())
	}
	return workload.Align(now, wanted), nil
}

// primary is the primary's autoscaler as it is to be.
func (a Autoscalers) primary(target *unstructured.Unstructured, copied workload.Copy,
	primary *workload.Deployment) (*unstructured.Unstructured, error) {
	spec, err := primarySpec(target, a.App, a.Bounds)
	if err != nil {
		return nil, err
	}
	kind := Kind(target.GetKind())
	version := map[Kind]schema.GroupVersion{
		HPA: kube.HPAs.GroupVersion(), ScaledObject: kube.ScaledObjects.GroupVersion(),
	}
	return copied.Companion(target, version[kind].WithKind(string(kind)), spec, a.App, a.Metadata, primary), nil
}

// create makes the primary's autoscaler; one of Serin's that exists by now is left as it is.
func (a Autoscalers) create(ctx context.Context, target *unstructured.Unstructured, copied workload.Copy,
	primary *workload.Deployment) error {
	made, err := a.primary(target, copied, primary)
	if err != nil {
		return err
	}
	r := referenceOf(made)
	err = kube.Retry(ctx, func(ctx context.Context) error {
		_, err := a.of(r.Kind).Create(ctx, made, a.Mode.Create())
		return err
	})
	if apierrors.IsAlreadyExists(err) {
		now, unread := a.get(ctx, r)
		if unread != nil || now != nil && a.own(now) && now.GetDeletionTimestamp() == nil {
			return unread
		}
	}
	if err != nil {
		return fmt.Errorf("making %s: %w", r, a.allowed(err))
	}
	if a.Mode != kube.Rehearsal {
		slog.Info("primary given an autoscaler", "autoscaler", r.String(), "like", referenceOf(target).String())
	}
	return nil
}

// removeAll deletes what Serin made for the primary, of either kind.
func (a Autoscalers) removeAll(ctx context.Context) error {
	for _, kind := range []Kind{HPA, ScaledObject} {
		now, err := a.get(ctx, Reference{kind, a.App.Primary()})
		if err != nil {
			return err
		}
		if now == nil || !a.own(now) {
			continue
		}
		if err := a.remove(ctx, now); err != nil {
			return err
		}
	}
	return nil
}

// remove deletes an autoscaler while it is the one that was read.
func (a Autoscalers) remove(ctx context.Context, o *unstructured.Unstructured) error {
	if a.Mode == kube.Rehearsal {
		return nil
	}
	if err := workload.RemoveCompanion(ctx, a.of(Kind(o.GetKind())), o); err != nil {
		return fmt.Errorf("deleting %s: %w", referenceOf(o), a.allowed(err))
	}
	slog.Info("primary's autoscaler deleted: the target has none like it any more", "autoscaler",
		referenceOf(o).String())
	return nil
}
