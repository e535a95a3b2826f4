package mesh

import (
	"context"
	"fmt"
	"log/slog"
	"maps"

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
	others, err := s.astray(ctx, pods, labels.Set(copied.Labels(maps.Clone(pods))))
	refusals.Add(err)
	for _, o := range others {
		refusals.Addf("reading Service %s: it selects pods of %s (%s), and not those of %s, which serve instead: let "+
			"it select by a label that both have, or delete it", o.GetName(), s.App.Name, labels.Set(selectorOf(&o)),
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

// astray are the Services of the namespace, besides the application's own, that select the target's pods and not the
// primary's. Where they may not be listed that is logged.
func (s Services) astray(ctx context.Context, target, primary labels.Set) ([]unstructured.Unstructured, error) {
	var list *unstructured.UnstructuredList
	err := kube.Retry(ctx, func(ctx context.Context) (err error) {
		list, err = s.Objects.List(ctx, metav1.ListOptions{})
		return err
	})
	if apierrors.IsForbidden(err) {
		slog.Warn("not known which other Services lead to the target: give the account the rule of config/rbac.yaml",
			"error", err.Error())
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing the Services of %s: %w", s.App.Namespace, err)
	}
	var found []unstructured.Unstructured
	for _, o := range list.Items {
		selected := labels.SelectorFromSet(selectorOf(&o))
		if name := o.GetName(); name == s.App.Name || name == s.App.Primary() || name == s.App.Canary() ||
			selected.Empty() {
			continue
		}
		if selected.Matches(target) && !selected.Matches(primary) {
			found = append(found, o)
		}
	}
	return found, nil
}

func selectorOf(service *unstructured.Unstructured) map[string]string {
	selected, _, _ := unstructured.NestedStringMap(service.Object, "spec", "selector")
	return selected
}
