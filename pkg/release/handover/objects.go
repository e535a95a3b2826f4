package handover

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/release"
)

// kind is one of which an application may have objects.
type kind struct {
	name     string
	resource schema.GroupVersionResource
}

var (
	virtualServices = kind{"VirtualService", kube.VirtualServices}
	services        = kind{"Service", kube.Services}
	deployments     = kind{"Deployment", kube.Deployments}
	autoscalers     = []kind{{"HorizontalPodAutoscaler", kube.HPAs}, {"ScaledObject", kube.ScaledObjects}}
	secrets         = kind{"Secret", schema.GroupVersionResource{Version: "v1", Resource: "secrets"}}

	// kinds are in the order in which objects may go: what sends requests somewhere before what answers them.
	kinds = []kind{
		virtualServices, {"DestinationRule", kube.DestinationRules}, autoscalers[0], autoscalers[1],
		{"PodDisruptionBudget", kube.Budgets}, deployments, services, {"ConfigMap", kube.ConfigMaps},
	}
)

// object is one of an application's.
type object struct {
	kind
	*unstructured.Unstructured
}

// String is KIND NAME.
func (o object) String() string { return o.kind.name + " " + o.GetName() }

// texts name objects.
func texts(all []object) string {
	var names []string
	for _, o := range all {
		names = append(names, o.String())
	}
	return strings.Join(names, ", ")
}

// list reads the objects of some kinds that an option selects; there are none of a kind that is not installed.
func list(ctx context.Context, r *release.Release, of []kind, o metav1.ListOptions) ([]object, error) {
	var all []object
	for _, k := range of {
		err := kube.Retry(ctx, func(ctx context.Context) error {
			found, err := r.Cluster.Objects(k.resource, r.App.Namespace).List(ctx, o)
			if apierrors.IsNotFound(err) {
				return nil
			}
			if err != nil {
				return err
			}
			for i := range found.Items {
				all = append(all, object{k, &found.Items[i]})
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("listing the %ss of %s: %w", k.name, r.App.Namespace, err)
		}
	}
	return all, nil
}

// ownedBy are the objects that have an owner, Secrets too.
func ownedBy(ctx context.Context, r *release.Release, owner types.UID) ([]object, error) {
	all, err := list(ctx, r, kinds, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	more, err := list(ctx, r, []kind{secrets}, metav1.ListOptions{})
	if apierrors.IsForbidden(err) {
		slog.Warn("not known which copies of Secrets Flagger has made", "error", err.Error())
		err = nil
	}
	all = append(all, more...)
	return slices.DeleteFunc(all, func(o object) bool { return !owns(owner, o) }), err
}

func owns(owner types.UID, o metav1.Object) bool {
	return slices.ContainsFunc(o.GetOwnerReferences(), func(r metav1.OwnerReference) bool { return r.UID == owner })
}

// write changes the metadata of an object, or does nothing where change does not. It is asked again where somebody else
// was faster.
func write(ctx context.Context, r *release.Release, o object, change func(*unstructured.Unstructured)) error {
	objects := r.Cluster.Objects(o.resource, r.App.Namespace)
	now := o.Unstructured
	for {
		wanted := now.DeepCopy()
		change(wanted)
		ops := metadata(now, wanted)
		if len(ops) == 0 {
			return nil
		}
		body, err := kube.Patch(append([]kube.Operation{kube.Test("/metadata/resourceVersion",
			now.GetResourceVersion())}, ops...)...)
		if err != nil {
			return err
		}
		_, err = objects.Patch(ctx, o.GetName(), types.JSONPatchType, body,
			metav1.PatchOptions{FieldManager: kube.FieldManager})
		switch {
		case err == nil, apierrors.IsNotFound(err):
			return nil
		case !kube.Raced(err) && !kube.Transient(err):
			return fmt.Errorf("writing %s: %w", o, err)
		}
		if err := kube.Pause(ctx); err != nil {
			return err
		}
		if now, err = objects.Get(ctx, o.GetName(), metav1.GetOptions{}); apierrors.IsNotFound(err) {
			return nil
		}
		if err != nil && !kube.Transient(err) {
			return fmt.Errorf("reading %s: %w", o, err)
		}
		if err != nil {
			now = wanted // its version is old: the patch is refused, and read again
		}
	}
}

// metadata are the operations from the metadata of one object to those of another.
func metadata(now, wanted *unstructured.Unstructured) []kube.Operation {
	var ops []kube.Operation
	for name, member := range map[string]func(*unstructured.Unstructured) any{
		"labels":          func(o *unstructured.Unstructured) any { return o.GetLabels() },
		"annotations":     func(o *unstructured.Unstructured) any { return o.GetAnnotations() },
		"ownerReferences": func(o *unstructured.Unstructured) any { return o.GetOwnerReferences() },
		"finalizers":      func(o *unstructured.Unstructured) any { return o.GetFinalizers() },
	} {
		before, _ := json.Marshal(member(now))
		after, _ := json.Marshal(member(wanted))
		if string(before) != string(after) {
			ops = append(ops, kube.Add("/metadata/"+name, member(wanted)))
		}
	}
	return ops
}

// removed deletes an object, and returns when it is gone.
func removed(ctx context.Context, r *release.Release, o object, how metav1.DeletionPropagation) error {
	if err := remove(ctx, r, o, how); err != nil {
		return err
	}
	for {
		now, err := r.Cluster.Objects(o.resource, r.App.Namespace).Get(ctx, o.GetName(), metav1.GetOptions{})
		if apierrors.IsNotFound(err) || err == nil && now.GetUID() != o.GetUID() {
			return nil
		}
		if err != nil && !kube.Transient(err) {
			return fmt.Errorf("reading %s: %w", o, err)
		}
		if err := kube.Pause(ctx); err != nil {
			return fmt.Errorf("waiting until %s is gone: %w", o, err)
		}
	}
}

// remove deletes an object while it is the one that was read.
func remove(ctx context.Context, r *release.Release, o object, how metav1.DeletionPropagation) error {
	uid := o.GetUID()
	err := kube.Retry(ctx, func(ctx context.Context) error {
		return r.Cluster.Objects(o.resource, r.App.Namespace).Delete(ctx, o.GetName(), metav1.DeleteOptions{
			Preconditions: &metav1.Preconditions{UID: &uid}, PropagationPolicy: &how})
	})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return fmt.Errorf("deleting %s: %w", o, err)
	}
	return nil
}
