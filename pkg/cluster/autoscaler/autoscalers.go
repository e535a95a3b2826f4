package autoscaler

import (
	"context"
	"fmt"
	"log/slog"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/cluster/workload"
)

// Autoscalers are those of an application: the target's, which is the user's, and the primary's.
type Autoscalers struct {
	HPAs, ScaledObjects dynamic.ResourceInterface
	App                 application.Application
	Metadata            application.Metadata // what the primary's takes over from the target's
	Bounds              Bounds               // of the primary's
	Mode                kube.Mode            // whether writes count
}

func (a Autoscalers) of(kind Kind) dynamic.ResourceInterface {
	if kind == ScaledObject {
		return a.ScaledObjects
	}
	return a.HPAs
}

func referenceOf(o *unstructured.Unstructured) Reference {
	return Reference{Kind(o.GetKind()), o.GetName()}
}

// own says whether Serin made an autoscaler for the application's primary.
func (a Autoscalers) own(o *unstructured.Unstructured) bool { return workload.IsCompanion(o, a.App) }

// get reads an autoscaler, nil where there is none, or no such kind.
func (a Autoscalers) get(ctx context.Context, r Reference) (found *unstructured.Unstructured, err error) {
	err = kube.Retry(ctx, func(ctx context.Context) error {
		found, err = a.of(r.Kind).Get(ctx, r.Name, metav1.GetOptions{})
		return there(&found, err)
	})
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", r, a.allowed(err))
	}
	return found, nil
}

// there makes nil of what there is not: an object, or its kind. That the server knows no such kind would count as
// transient.
func there[T any](found **T, err error) error {
	if !apierrors.IsNotFound(err) {
		return err
	}
	*found = nil
	return nil
}

// list reads all autoscalers of a kind; there are none where there is no such kind.
func (a Autoscalers) list(ctx context.Context, kind Kind) (found []unstructured.Unstructured, err error) {
	var list *unstructured.UnstructuredList
	err = kube.Retry(ctx, func(ctx context.Context) error {
		list, err = a.of(kind).List(ctx, metav1.ListOptions{})
		return there(&list, err)
	})
	if err != nil {
		return nil, fmt.Errorf("looking for the autoscaler of %s: listing %ss: %w", a.App, kind, a.allowed(err))
	}
	if list == nil {
		return nil, nil
	}
	for i := range list.Items { // a list need not name the kind of its members
		list.Items[i].SetKind(string(kind))
	}
	return list.Items, nil
}

// allowed adds to a refusal for lack of rights what gives them.
func (a Autoscalers) allowed(err error) error {
	if !apierrors.IsForbidden(err) {
		return err
	}
	return fmt.Errorf("%w: give the account the rules of config/rbac.yaml for horizontalpodautoscalers and "+
		"scaledobjects in namespace %s, or set autoscaler to none", err, a.App.Namespace)
}

// update writes an autoscaler by a JSON patch whose tests decide returns with its operations; none leaves it. It begins
// with known, if that is given, and anew where somebody else was faster. It says whether there is such an autoscaler.
func (a Autoscalers) update(ctx context.Context, r Reference, known *unstructured.Unstructured,
	decide func(*unstructured.Unstructured) ([]kube.Operation, error)) (found bool, err error) {
	for {
		before := known
		if before == nil {
			if before, err = a.get(ctx, r); err != nil || before == nil {
				return false, err
			}
		}
		known = nil
		ops, err := decide(before)
		if err != nil || len(ops) == 0 {
			return true, err
		}
		body, err := kube.Patch(ops...)
		if err != nil {
			return true, err
		}
		_, err = a.of(r.Kind).Patch(ctx, r.Name, types.JSONPatchType, body, a.Mode.Patch())
		switch {
		case err == nil:
			return true, nil
		case apierrors.IsNotFound(err):
			return false, nil
		case !kube.Transient(err) && !kube.Raced(err):
			return true, fmt.Errorf("writing %s: %w", r, a.allowed(err))
		}
		slog.Warn("writing an autoscaler again", "autoscaler", r.String(), "error", err.Error())
		if stopped := kube.Pause(ctx); stopped != nil {
			return true, fmt.Errorf("writing %s: %w; last: %w", r, stopped, err)
		}
	}
}
