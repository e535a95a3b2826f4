package disruption

import (
	"context"
	"fmt"
	"log/slog"
	"maps"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/cluster/workload"
	"github.com/serin-cd/serin/pkg/task/failure"
)

// Budgets are the PodDisruptionBudgets of an application: the target's, which is the user's, and the primary's.
type Budgets struct {
	Objects  dynamic.ResourceInterface
	App      application.Application
	Metadata application.Metadata // what the primary's takes over from the target's
	Mode     kube.Mode            // whether writes count
}

// Found is the target's, as it was read.
type Found struct{ target *unstructured.Unstructured }

// Name is its name, empty where there is none to copy.
func (f Found) Name() string {
	if f.target == nil {
		return ""
	}
	return f.target.GetName()
}

// Find reads the budget that counts the target's pods and would not count the primary's. Of several there is none to
// copy: Kubernetes evicts no pod that two of them count. It refuses one of the primary's name that Serin did not make.
func (b Budgets) Find(ctx context.Context, target *workload.Deployment, copied workload.Copy) (Found, error) {
	list, err := kube.List(ctx, b.Objects, metav1.ListOptions{})
	if apierrors.IsForbidden(err) {
		slog.Warn("the primary gets no PodDisruptionBudget: give the account the rule of config/rbac.yaml for "+
			"poddisruptionbudgets", "error", err.Error())
		return Found{}, nil
	}
	if err != nil {
		return Found{}, fmt.Errorf("looking for the PodDisruptionBudget of %s: %w", b.App, err)
	}
	pods := labels.Set(target.Spec.Template.Metadata.Labels)
	ours := labels.Set(copied.Labels(maps.Clone(pods)))
	var f Found
	var foreign *unstructured.Unstructured
	for i, o := range list.Items {
		counts := selector(o.Object)
		switch {
		case b.own(&o):
		case o.GetName() == b.App.Primary(), counts.Matches(ours):
			foreign = &list.Items[i]
		case counts.Matches(pods) && f.target != nil:
			slog.Warn("two PodDisruptionBudgets count the same pods, so none is copied", "one", f.Name(), "other",
				o.GetName())
			return Found{}, nil
		case counts.Matches(pods):
			f.target = &list.Items[i]
		}
	}
	if f.target == nil || foreign == nil {
		return b.renamed(f, copied, pods, ours), nil
	}
	if foreign.GetName() != b.App.Primary() { // the primary's pods are counted already
		return Found{}, nil
	}
	return Found{}, failure.Configf("reading PodDisruptionBudget %s: Serin did not make it (no label %s: %s), and the "+
		"primary gets one of that name, a copy of %s: rename or delete it", foreign.GetName(), application.Label,
		b.App.Name, f.Name())
}

// renamed is what was found, unless its copy would not count the primary's pods alone.
func (b Budgets) renamed(f Found, copied workload.Copy, pods, ours labels.Set) Found {
	if f.target == nil {
		return f
	}
	counts := selector(map[string]any{"spec": spec(f.target, copied)})
	if counts.Matches(ours) && !counts.Matches(pods) {
		return f
	}
	slog.Warn("the primary gets no PodDisruptionBudget: the selector cannot be changed to its pods", "budget", f.Name())
	return Found{}
}

// selector is what a budget counts; nothing where it cannot be read.
func selector(o map[string]any) labels.Selector {
	var read struct {
		Spec struct {
			Selector *metav1.LabelSelector `json:"selector"`
		} `json:"spec"`
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o, &read); err != nil {
		return labels.Nothing()
	}
	parsed, err := metav1.LabelSelectorAsSelector(read.Spec.Selector)
	if err != nil {
		return labels.Nothing()
	}
	return parsed
}

func (b Budgets) own(o *unstructured.Unstructured) bool { return workload.IsCompanion(o, b.App) }

// spec is that of the copy, which counts the primary's pods alone: Kubernetes evicts no pod that two budgets count.
func spec(target *unstructured.Unstructured, copied workload.Copy) map[string]any {
	whole, _ := target.Object["spec"].(map[string]any)
	spec := runtime.DeepCopyJSON(whole)
	copied.RenameSelector(spec["selector"])
	copied.Alone(spec["selector"])
	return spec
}

// Ensure makes the primary's budget, if one was found to copy. primary is nil in a rehearsal.
func (b Budgets) Ensure(ctx context.Context, f Found, copied workload.Copy, primary *workload.Deployment) error {
	if f.target == nil {
		return nil
	}
	return b.follow(ctx, f.target, copied, primary)
}

// Follow brings the primary's budget in line with the target's of that name; where that is gone, counts the primary's
// pods by now, or counts only those of others, the primary's is gone afterwards. Without a name it does nothing.
func (b Budgets) Follow(ctx context.Context, name string, copied workload.Copy, primary *workload.Deployment) error {
	if name == "" {
		return nil
	}
	target, err := b.get(ctx, name)
	if err != nil {
		return err
	}
	if target == nil || !needed(target, copied, labels.Set(primary.Spec.Template.Metadata.Labels)) {
		return b.remove(ctx)
	}
	return b.follow(ctx, target, copied, primary)
}

// needed says whether a budget has to be copied for the primary's pods, and can be.
func needed(target *unstructured.Unstructured, copied workload.Copy, ours labels.Set) bool {
	return !selector(target.Object).Matches(ours) &&
		selector(map[string]any{"spec": spec(target, copied)}).Matches(ours)
}

func (b Budgets) follow(ctx context.Context, target *unstructured.Unstructured, copied workload.Copy,
	primary *workload.Deployment) error {
	kind := kube.Budgets.GroupVersion().WithKind("PodDisruptionBudget")
	wanted := copied.Companion(target, kind, spec(target, copied), b.App, b.Metadata, primary)
	err := kube.Retry(ctx, func(ctx context.Context) error {
		for {
			err := b.write(ctx, wanted)
			if !kube.Raced(err) && !apierrors.IsAlreadyExists(err) {
				return err
			}
			if err := kube.Pause(ctx); err != nil {
				return err
			}
		}
	})
	if err != nil {
		return fmt.Errorf("giving the primary a PodDisruptionBudget like %s: %w", target.GetName(), err)
	}
	return nil
}

// write makes the primary's budget, or changes what differs of it while its spec is as it was read.
func (b Budgets) write(ctx context.Context, wanted *unstructured.Unstructured) error {
	now, err := b.get(ctx, wanted.GetName())
	if err != nil {
		return err
	}
	if now == nil {
		_, err := b.Objects.Create(ctx, wanted, b.Mode.Create())
		return err
	}
	if !b.own(now) {
		return failure.Configf("PodDisruptionBudget %s has no label %s: %s: Serin did not make it: rename or delete it",
			now.GetName(), application.Label, b.App.Name)
	}
	if b.Mode == kube.Rehearsal {
		return nil
	}
	ops := workload.Align(now, wanted)
	if len(ops) == 0 {
		return nil
	}
	body, err := kube.Patch(ops...)
	if err == nil {
		_, err = b.Objects.Patch(ctx, now.GetName(), types.JSONPatchType, body,
			metav1.PatchOptions{FieldManager: kube.FieldManager})
	}
	return err
}

// get reads a budget, nil where there is none.
func (b Budgets) get(ctx context.Context, name string) (found *unstructured.Unstructured, err error) {
	err = kube.Retry(ctx, func(ctx context.Context) error {
		found, err = b.Objects.Get(ctx, name, metav1.GetOptions{})
		return err
	})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading PodDisruptionBudget %s: %w", name, err)
	}
	return found, nil
}

// remove deletes the primary's budget, if Serin made it.
func (b Budgets) remove(ctx context.Context) error {
	now, err := b.get(ctx, b.App.Primary())
	if err != nil || now == nil || !b.own(now) {
		return err
	}
	if err := workload.RemoveCompanion(ctx, b.Objects, now); err != nil {
		return fmt.Errorf("deleting PodDisruptionBudget %s: %w", now.GetName(), err)
	}
	slog.Info("primary's PodDisruptionBudget deleted: the target has none any more, or one that counts both, or others",
		"budget", now.GetName())
	return nil
}
