package workload

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/task/failure"
	"github.com/serin-cd/serin/pkg/task/run"
)

// identities are the labels that tell an application's pods from others, by preference.
var identities = []string{"app", "name", "app.kubernetes.io/name"}

// Copy turns a target's pod template into the primary's: the label that names the application gets the
// suffix -primary, in the pods' labels and wherever affinity and topology spread select by it.
type Copy struct {
	key, from, to string
	pods          labels.Set // of the target
}

// CopyOf finds the label in the target's selector.
func CopyOf(target *Deployment) (Copy, error) {
	selector := target.Spec.Selector.MatchLabels
	for _, key := range append(identities, slices.Sorted(maps.Keys(selector))...) {
		if value, ok := selector[key]; ok && (slices.Contains(identities, key) || len(selector) == 1) {
			copied := Copy{key, value, value + "-primary", target.Spec.Template.Metadata.Labels}
			if problems := validation.IsValidLabelValue(copied.to); len(problems) > 0 {
				long, most := len(copied.to), validation.LabelValueMaxLength
				return Copy{}, failure.Configf("reading Deployment %s: the primary's pods would have the label "+
					"%s: %s, of %d characters, want at most %d: shorten %s in the selector by %d", target.Name, key,
					copied.to, long, most, value, long-most)
			}
			return copied, nil
		}
	}
	return Copy{},
		failure.Configf("reading Deployment %s: its selector (%s) has none of the labels %s, want one to tell it "+
			"from the primary",
			target.Name, metav1.FormatLabelSelector(target.Spec.Selector), strings.Join(identities, ", "))
}

// Template is the primary's pod template for a target, with the labels that an existing primary selects.
func (c Copy) Template(target, primary *Deployment) map[string]any {
	template := runtime.DeepCopyJSON(target.template())
	setLabels(template, map[string]string{c.key: c.to})
	if primary != nil {
		setLabels(template, primary.Spec.Selector.MatchLabels)
	}
	if spec, ok := template["spec"].(map[string]any); ok {
		c.RenameSelectors(spec["affinity"])
		c.RenameSelectors(spec["topologySpreadConstraints"])
	}
	return template
}

func setLabels(template map[string]any, set map[string]string) {
	for key, value := range set {
		// a pod template's labels are strings
		_ = unstructured.SetNestedField(template, value, "metadata", "labels", key)
	}
}

// RenameSelectors changes the application's name in every selector of pods below a node. What selects nodes or
// namespaces stays.
func (c Copy) RenameSelectors(node any) {
	switch n := node.(type) {
	case []any:
		for _, member := range n {
			c.RenameSelectors(member)
		}
	case map[string]any:
		for name, member := range n {
			if name == "labelSelector" {
				c.RenameSelector(member)
			} else {
				c.RenameSelectors(member)
			}
		}
	}
}

// RenameSelector changes the application's name in a selector of pods, if that tells the target's from the primary's:
// one that selects others, which have the name too and another label besides, stays.
func (c Copy) RenameSelector(node any) {
	selector, ok := node.(map[string]any)
	if !ok || !c.tells(selector) {
		return
	}
	if match, ok := selector["matchLabels"].(map[string]any); ok && match[c.key] == c.from {
		match[c.key] = c.to
	}
	expressions, _ := selector["matchExpressions"].([]any)
	for _, e := range expressions {
		expression, _ := e.(map[string]any)
		values, _ := expression["values"].([]any)
		for i, v := range values {
			if expression["key"] == c.key && v == c.from {
				values[i] = c.to
			}
		}
	}
}

// Alone has a selector that was renamed select no pods of other applications besides the primary's.
func (c Copy) Alone(node any) {
	selector, _ := node.(map[string]any)
	expressions, _ := selector["matchExpressions"].([]any)
	for _, e := range expressions {
		expression, _ := e.(map[string]any)
		values, _ := expression["values"].([]any)
		if expression["key"] == c.key && expression["operator"] == "In" && slices.Contains(values, any(c.to)) {
			expression["values"] = []any{c.to}
		}
	}
}

// tells says whether a selector selects the target's pods or the primary's, and not both.
func (c Copy) tells(selector map[string]any) bool {
	var read metav1.LabelSelector
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(selector, &read); err != nil {
		return false
	}
	parsed, err := metav1.LabelSelectorAsSelector(&read)
	return err == nil && parsed.Matches(c.pods) != parsed.Matches(labels.Set(c.Labels(maps.Clone(c.pods))))
}

// Clash is an error where target and primary would own each other's pods.
func (c Copy) Clash(target, primary *Deployment) error {
	selectors := map[string]*metav1.LabelSelector{"target's": target.Spec.Selector}
	pods := map[string]labels.Set{"target's": target.Spec.Template.Metadata.Labels,
		"primary's": maps.Clone(target.Spec.Template.Metadata.Labels)}
	if pods["primary's"] == nil {
		pods["primary's"] = labels.Set{}
	}
	pods["primary's"][c.key] = c.to
	if primary != nil {
		selectors["primary's"] = primary.Spec.Selector
		maps.Copy(pods["primary's"], primary.Spec.Selector.MatchLabels)
	}
	for whose, selector := range selectors {
		parsed, err := metav1.LabelSelectorAsSelector(selector)
		if err != nil {
			return failure.Configf("reading the %s selector of %s: %w", whose, target.Name, err)
		}
		for other, set := range pods {
			if other != whose && parsed.Matches(set) {
				return failure.Configf("reading Deployment %s: the %s selector (%s) matches the %s pods (%s), want "+
					"selectors that clash with no other",
					target.Name, whose, metav1.FormatLabelSelector(selector), other, set)
			}
		}
	}
	return nil
}

// Selector is the labels by which a Service finds the primary's pods.
func (c Copy) Selector(primary *Deployment) map[string]string {
	if primary != nil {
		return primary.Spec.Selector.MatchLabels
	}
	return map[string]string{c.key: c.to}
}

// CreatePrimary makes the primary as a copy of the target, with the stamp of a run and the revision, and with those of
// its labels and annotations that are taken over. One that exists by now is left as it is.
func (c Deployments) CreatePrimary(ctx context.Context, app application.Application, target *Deployment, copied Copy,
	taken application.Metadata, by run.ID) (*Deployment, error) {
	spec := runtime.DeepCopyJSON(target.spec)
	copied.RenameSelector(spec["selector"])
	spec["template"] = copied.Template(target, nil)
	spec["replicas"] = int64(max(target.Wanted(), 1))
	delete(spec, "paused")
	maps.Copy(spec, settings(target))
	primary := &unstructured.Unstructured{Object: map[string]any{"spec": spec}}
	primary.SetAPIVersion("apps/v1")
	primary.SetKind("Deployment")
	primary.SetName(app.Primary())
	labels, annotations := copied.Labels(taken.Of(target.Labels)), taken.Of(target.Annotations)
	labels[application.Label], labels[copied.key] = app.Name, copied.to
	annotations[application.RunAnnotation] = by.String()
	annotations[application.RevisionAnnotation] = target.Revision()
	primary.SetLabels(labels)
	primary.SetAnnotations(annotations)
	var created *unstructured.Unstructured
	err := kube.Retry(ctx, func(ctx context.Context) (err error) {
		created, err = c.Objects.Create(ctx, primary, c.Mode.Create())
		return err
	})
	if apierrors.IsAlreadyExists(err) {
		return c.Get(ctx, app.Primary())
	}
	if err != nil {
		return nil, fmt.Errorf("making Deployment %s: %w", app.Primary(), err)
	}
	return FromObject(created)
}

// Become are the operations that give a primary a template, as a revision, under the stamp of a run.
// They are meant for one patch.
func Become(primary *Deployment, template map[string]any, revision string, by run.ID) []kube.Operation {
	ops := Restamp(primary, by)
	if len(primary.Annotations) == 0 {
		primary = &Deployment{}
		primary.Annotations = map[string]string{application.RunAnnotation: by.String()}
	}
	ops = append(ops, kube.Annotate(primary.Annotations, application.RevisionAnnotation, revision)...)
	return append(ops, kube.Replace("/spec/template", template))
}

// Promote are the operations of Become, and those that keep from which revision, and its template: who finds no record
// of the run, or no ReplicaSet any more, then knows what to undo, and how.
func Promote(primary *Deployment, template map[string]any, revision string, by run.ID) []kube.Operation {
	ops := append(Become(primary, template, revision, by),
		kube.Add(kube.Path("metadata", "annotations", application.PreviousAnnotation), primary.Promoted()))
	if kept, ok := keep(primary); ok {
		ops = append(ops, kube.Add(kube.Path("metadata", "annotations", application.TemplateAnnotation), kept))
	}
	return ops
}

// Restamp are the operations that give a primary the stamp of a run which has not promoted it, so that no late patch of
// another step holds.
func Restamp(primary *Deployment, by run.ID) []kube.Operation {
	ops := Stamp(primary, by)
	for _, name := range []string{application.PreviousAnnotation, application.TemplateAnnotation} {
		if _, there := primary.Annotations[name]; there {
			ops = append(ops, kube.Unannotate(name))
		}
	}
	return ops
}
