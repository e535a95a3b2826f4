package workload

import (
	"context"
	"reflect"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/kube"
)

// A companion is what the primary has because the target has one, such as an autoscaler: an object of the primary's
// name, with Serin's label, that goes with the primary.

// Companion is the primary's companion like that of the target, with a spec of its own. It has no owner before there is
// a primary.
func (c Copy) Companion(of *unstructured.Unstructured, kind schema.GroupVersionKind, spec map[string]any,
	app application.Application, taken application.Metadata, primary *Deployment) *unstructured.Unstructured {
	o := &unstructured.Unstructured{Object: map[string]any{"spec": spec}}
	o.SetGroupVersionKind(kind)
	o.SetName(app.Primary())
	labels := c.Labels(taken.Of(of.GetLabels()))
	labels[application.Label] = app.Name
	o.SetLabels(labels)
	o.SetAnnotations(taken.Of(of.GetAnnotations()))
	if primary != nil {
		o.SetOwnerReferences([]metav1.OwnerReference{
			{APIVersion: "apps/v1", Kind: "Deployment", Name: primary.Name, UID: primary.UID}})
	}
	return o
}

// IsCompanion says whether Serin made an object for the application's primary.
func IsCompanion(o *unstructured.Unstructured, app application.Application) bool {
	return o.GetName() == app.Primary() && o.GetLabels()[application.Label] == app.Name
}

// Align are the operations that make a companion what is wanted, while its spec is as it was read. What it has taken
// over once and is not wanted any more, of labels and annotations, stays.
func Align(now, wanted *unstructured.Unstructured) []kube.Operation {
	var ops []kube.Operation
	if before := now.Object["spec"]; !reflect.DeepEqual(before, wanted.Object["spec"]) {
		ops = append(ops, kube.Test("/spec", before), kube.Replace("/spec", wanted.Object["spec"]))
	}
	if !reflect.DeepEqual(now.GetOwnerReferences(), wanted.GetOwnerReferences()) {
		ops = append(ops, kube.Add("/metadata/ownerReferences", wanted.GetOwnerReferences()))
	}
	ops = append(ops, kube.SetMembers(now.GetLabels(), wanted.GetLabels(), "metadata", "labels")...)
	return append(ops, kube.SetMembers(now.GetAnnotations(), wanted.GetAnnotations(), "metadata", "annotations")...)
}

// RemoveCompanion deletes a companion while it is the one that was read: not one that is gone, or was made anew.
func RemoveCompanion(ctx context.Context, objects dynamic.ResourceInterface, o *unstructured.Unstructured) error {
	uid := o.GetUID()
	err := kube.Retry(ctx, func(ctx context.Context) error {
		return objects.Delete(ctx, o.GetName(),
			metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}})
	})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
}
