package mesh

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/cluster/workload"
	"github.com/serin-cd/serin/pkg/task/failure"
)

// AdmitFirst refuses, with all reasons at once, Services with which the application cannot be released for the first
// time: an apex, as it was read, that leads elsewhere than to the target or the primary, and others that would lead to
// nobody, because they select the target's pods and not the primary's.
func (s Services) AdmitFirst(ctx context.Context, apex *unstructured.Unstructured, target *workload.Deployment,
	copied workload.Copy, primary map[string]string) error {
	pods := labels.Set(target.Spec.Template.Metadata.Labels)
	var refusals failure.Refusals
	if apex != nil {
		refusals.Add(s.admitApex(apex, pods, primary))
	}
	others, err := s.Astray(ctx, target, copied)
	refusals.Add(err)
	for _, name := range slices.Sorted(maps.Keys(others)) {
		refusals.Addf("reading Service %s: it selects pods of %s (%s), and not those of %s, which serve instead: let "+
			"it select by a label that both have, or delete it", name, s.App.Name, labels.Set(others[name]),
			s.App.Primary())
	}
	return refusals.Err()
}

func (s Services) admitApex(apex *unstructured.Unstructured, pods labels.Set, primary map[string]string) error {
	selected := selectorOf(apex)
	external, _, _ := unstructured.NestedString(apex.Object, "spec", "externalName")
	why := fmt.Sprintf("it selects %s", labels.Set(selected))
	switch kind, _, _ := unstructured.NestedString(apex.Object, "spec", "type"); {
	case kind == "ExternalName":
		why = "it is an ExternalName for " + external
	case len(selected) == 0:
		why = "it has no selector"
	case labels.SelectorFromSet(selected).Matches(pods), maps.Equal(selected, primary):
		return nil
	}
	return failure.Configf("reading Service %s: %s, and would lead to %s instead: let it select the pods of "+
		"Deployment %s (%s), or release that under another name", apex.GetName(), why,
		s.App.Primary(), s.App.Name, pods)
}

// Astray are the Services of the namespace, besides the application's own, that select the target's pods and not the
// primary's, with their selectors. Where they may not be listed that is logged.
func (s Services) Astray(ctx context.Context, target *workload.Deployment,
	copied workload.Copy) (map[string]map[string]string, error) {
	return s.others(ctx, target, copied, false)
}

// Common are those that select the pods of both.
func (s Services) Common(ctx context.Context, target *workload.Deployment,
	copied workload.Copy) (map[string]map[string]string, error) {
	return s.others(ctx, target, copied, true)
}

// others are Services that select the target's pods, and the primary's or not.
func (s Services) others(ctx context.Context, target *workload.Deployment, copied workload.Copy,
	both bool) (map[string]map[string]string, error) {
	list, err := kube.List(ctx, s.Objects, metav1.ListOptions{})
	if apierrors.IsForbidden(err) {
		slog.Warn("not known which other Services lead to the target: give the account the rule of config/rbac.yaml",
			"error", err.Error())
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing the Services of %s: %w", s.App.Namespace, err)
	}
	pods := labels.Set(target.Spec.Template.Metadata.Labels)
	primary := labels.Set(copied.Labels(maps.Clone(pods)))
	found := map[string]map[string]string{}
	for _, o := range list.Items {
		selected := labels.SelectorFromSet(selectorOf(&o))
		if name := o.GetName(); name == s.App.Name || name == s.App.Primary() || name == s.App.Canary() ||
			selected.Empty() {
			continue
		}
		if selected.Matches(pods) && selected.Matches(primary) == both {
			found[o.GetName()] = selectorOf(&o)
		}
	}
	return found, nil
}

func selectorOf(service *unstructured.Unstructured) map[string]string {
	selected, _, _ := unstructured.NestedStringMap(service.Object, "spec", "selector")
	return selected
}
