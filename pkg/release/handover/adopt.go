package handover

import (
	"context"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"

	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/autoscaler"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/cluster/mesh"
	"github.com/serin-cd/serin/pkg/cluster/workload"
	"github.com/serin-cd/serin/pkg/release"
	"github.com/serin-cd/serin/pkg/release/prepare"
	"github.com/serin-cd/serin/pkg/task/parameter"
	"github.com/serin-cd/serin/pkg/task/run"
)

// adopted is the name of the run that the record of an adoption names; there is no PipelineRun of it.
const adopted = "adopted"

// Adopt is the plan that takes an application over: from Flagger, or from nobody. That of an application that Serin
// releases already, or that nobody does, has no steps, and says what is. Nothing is changed yet; what cannot be taken
// over is refused.
func Adopt(ctx context.Context, cluster *kube.Cluster, app application.Application, routes mesh.Selection,
	p prepare.Preparation) (Plan, error) {
	r, err := release.New(cluster, app.Name, run.ID{Namespace: app.Namespace, Name: adopted, UID: adopted})
	if err == nil {
		err = r.Select(routes)
	}
	if err != nil {
		return Plan{}, err
	}
	r.Take(p.Metadata)
	r.Autoscalers.Bounds = p.Autoscaler.Bounds
	c, err := canaryOf(ctx, r)
	if err != nil {
		return Plan{}, err
	}
	target, err := r.Target(ctx)
	if err != nil {
		return Plan{}, err
	}
	primary, err := r.Deployments.Get(ctx, app.Primary())
	if err != nil {
		return Plan{}, err
	}
	a := adoption{r: r, canary: c, preparation: p}
	switch {
	case c == nil && primary != nil && a.left(primary):
		r.ID.UID = string(primary.UID)
		return a.plan(ctx, target, primary)
	case c == nil:
		return first(ctx, r, p)
	}
	if err := c.admit(r); err != nil {
		return Plan{}, err
	}
	r.ID.UID = string(c.UID)
	return a.plan(ctx, target, primary)
}

// first is the plan for an application that Flagger has not.
func first(ctx context.Context, r *release.Release, p prepare.Preparation) (Plan, error) {
	texts, reserved, err := prepare.Foresee(ctx, r, p)
	if err != nil {
		return Plan{}, err
	}
	plan := Plan{}
	if len(texts) == 0 {
		plan.note("Serin releases it already")
		return plan, nil
	}
	plan.note("nothing has to be changed before its first release, which judges nothing, and will:")
	for _, text := range texts {
		plan.note("- %s", text)
	}
	plan.reserve(reserved)
	return plan, nil
}

// adoption is one from Flagger.
type adoption struct {
	r           *release.Release
	canary      *canary // nil where it is gone already
	preparation prepare.Preparation
}

// left says whether Flagger made a primary that Serin has not taken over yet.
func (a adoption) left(primary *workload.Deployment) bool {
	return primary.Labels[application.Label] == "" && primary.Spec.Template.Metadata.Annotations[identifier] != ""
}

func (a adoption) plan(ctx context.Context, target, primary *workload.Deployment) (Plan, error) {
	plan := Plan{holder: a.r}
	a.choose()
	seen := a.seen()
	reserved, err := prepare.Examine(ctx, seen, a.preparation)
	if err != nil {
		return plan, err
	}
	plan.reserve(reserved)
	if c := a.canary; c != nil {
		plan.step(func(ctx context.Context) error { return c.suspend(ctx, a.r) },
			"suspend Canary %s, and wait until Flagger leaves it alone, at most %s", c.Name, c.interval()+slack)
	}
	if err := a.take(ctx, &plan); err != nil {
		return plan, err
	}
	serves := "which is another revision than the Deployment's: a run releases that"
	if primary != nil {
		copied, err := workload.CopyOf(target)
		if err != nil {
			return plan, err
		}
		if copied.Runs(target, primary, plain) || primary.Promoted() == target.Revision() {
			serves = "which is what the Deployment has"
		}
	}
	plan.step(func(ctx context.Context) error {
		return prepare.Adopt(ctx, seen, a.preparation, "taken over from Flagger", plain)
	}, "record that %s serves, %s", a.r.App.Primary(), serves)
	if c := a.canary; c != nil {
		text := "delete Canary %s, and leave what it made"
		if tool := c.tool(); tool != "" {
			text = "leave Canary %s, suspended"
			plan.note("%s applies Canary %s: take it out there. Deleted, it takes nothing with it any more", tool,
				c.Name)
		}
		plan.step(func(ctx context.Context) error { return c.release(ctx, a.r) }, text, c.Name)
	}
	return plan, nil
}

// choose takes over which autoscaler is the target's, and the bounds of the primary's.
func (a *adoption) choose() {
	if a.canary == nil || a.canary.Spec.AutoscalerRef == nil {
		return
	}
	ref, of := a.canary.Spec.AutoscalerRef, &a.preparation.Autoscaler
	of.Autoscaler = autoscaler.Choice(autoscaler.Reference{Kind: autoscaler.Kind(ref.Kind), Name: ref.Name}.String())
	of.Bounds.Min, of.Bounds.Max = parameter.Pods(ref.Replicas.Min), parameter.Pods(ref.Replicas.Max)
	a.r.Autoscalers.Bounds = of.Bounds
}

// take adds the steps that free objects from the Canary.
func (a adoption) take(ctx context.Context, plan *Plan) error {
	theirs, err := a.theirs(ctx)
	if err != nil {
		return err
	}
	var gone, taken, copies []object
	for _, o := range theirs {
		switch {
		case slices.ContainsFunc(autoscalers, func(k kind) bool { return k.resource == o.resource }):
			gone = append(gone, o)
		case o.GetName() == a.r.App.Name || o.GetName() == a.r.App.Primary() || o.GetName() == a.r.App.Canary():
			taken = append(taken, o)
		default:
			copies = append(copies, o)
		}
	}
	if all := append(slices.Clone(taken), copies...); len(all) > 0 {
		plan.step(func(ctx context.Context) error { return a.free(ctx, all) }, "take over %s", texts(all))
	}
	if len(copies) > 0 {
		plan.note("the primary uses %s until a run has promoted two versions: delete them then", texts(copies))
	}
	for _, o := range gone {
		plan.step(func(ctx context.Context) error {
			return removed(ctx, a.r, o, metav1.DeletePropagationBackground)
		}, "delete %s: the primary gets one of Serin's at once", o)
	}
	return nil
}

// theirs are the objects that the Canary owns, or that have lost it as an owner and Serin has not taken over yet.
func (a adoption) theirs(ctx context.Context) ([]object, error) {
	if a.canary != nil {
		all, err := ownedBy(ctx, a.r, a.canary.UID)
		if err != nil {
			return nil, err
		}
		unlabelled, err := a.orphans(ctx)
		return append(all, slices.DeleteFunc(unlabelled, func(o object) bool { return owns(a.canary.UID, o) })...), err
	}
	return a.orphans(ctx)
}

// orphans are objects of names that Flagger gives, without an owner and without Serin's label.
func (a adoption) orphans(ctx context.Context) ([]object, error) {
	all, err := list(ctx, a.r, kinds, metav1.ListOptions{})
	return slices.DeleteFunc(all, func(o object) bool { return o.kind == deployments || !a.orphan(o) }), err
}

func (a adoption) orphan(o metav1.Object) bool {
	return len(o.GetOwnerReferences()) == 0 && o.GetLabels()[application.Label] == "" &&
		(o.GetName() == a.r.App.Primary() || o.GetName() == a.r.App.Canary())
}

// free takes the Canary off the owners of objects, and gives those of the application's names Serin's label, in one
// patch each. The primary gets it later, with its revision: until then a run refuses it.
func (a adoption) free(ctx context.Context, all []object) error {
	for _, o := range all {
		err := write(ctx, a.r, o, func(u *unstructured.Unstructured) {
			if a.canary != nil {
				u.SetOwnerReferences(slices.DeleteFunc(u.GetOwnerReferences(), func(r metav1.OwnerReference) bool {
					return r.UID == a.canary.UID
				}))
			}
			if o.kind == deployments || o.resource == kube.ConfigMaps || o.kind == secrets {
				return
			}
			unstructured.RemoveNestedField(u.Object, "metadata", "annotations", original)
			u.SetLabels(with(u.GetLabels(), application.Label, a.r.App.Name))
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func with(members map[string]string, key, value string) map[string]string {
	if members == nil {
		members = map[string]string{}
	}
	members[key] = value
	return members
}

// seen is the release as it is seen by who takes over what Flagger has made.
func (a adoption) seen() *release.Release {
	r := *a.r
	r.Deployments.Objects = theirs{r.Cluster.Objects(kube.Deployments, r.App.Namespace), a}
	r.Services.Objects = theirs{r.Cluster.Objects(kube.Services, r.App.Namespace), a}
	r.Autoscalers.HPAs = theirs{r.Autoscalers.HPAs, a}
	r.Autoscalers.ScaledObjects = theirs{r.Autoscalers.ScaledObjects, a}
	return &r
}

// theirs are objects among which those of Flagger's count as Serin's, and autoscalers that go as gone.
type theirs struct {
	dynamic.ResourceInterface

	adoption
}

// Get reads one.
func (t theirs) Get(ctx context.Context, name string, o metav1.GetOptions,
	sub ...string) (*unstructured.Unstructured, error) {
	found, err := t.ResourceInterface.Get(ctx, name, o, sub...)
	if err == nil {
		t.label(found)
	}
	return found, err
}

// List reads all.
func (t theirs) List(ctx context.Context, o metav1.ListOptions) (*unstructured.UnstructuredList, error) {
	all, err := t.ResourceInterface.List(ctx, o)
	if err != nil {
		return nil, err
	}
	all.Items = slices.DeleteFunc(all.Items, func(u unstructured.Unstructured) bool {
		return scales(u) && t.flaggers(&u)
	})
	for i := range all.Items {
		t.label(&all.Items[i])
	}
	return all, nil
}

func scales(u unstructured.Unstructured) bool {
	return slices.ContainsFunc(autoscalers, func(k kind) bool { return k.name == u.GetKind() })
}

func (t theirs) label(u *unstructured.Unstructured) {
	if t.flaggers(u) {
		u.SetLabels(with(u.GetLabels(), application.Label, t.r.App.Name))
	}
}

func (t theirs) flaggers(u *unstructured.Unstructured) bool {
	if t.canary != nil && owns(t.canary.UID, u) {
		return true
	}
	if u.GetKind() == "Deployment" {
		d, err := workload.FromObject(u)
		return err == nil && u.GetName() == t.r.App.Primary() && t.left(d)
	}
	return t.orphan(u)
}

// plain takes out of a pod template what Flagger puts into the primary's: an identifier, and the names of the copies
// that it makes of ConfigMaps and Secrets.
func plain(template map[string]any) {
	unstructured.RemoveNestedField(template, "metadata", "annotations", identifier)
	if annotations, _, _ := unstructured.NestedMap(template, "metadata", "annotations"); len(annotations) == 0 {
		unstructured.RemoveNestedField(template, "metadata", "annotations")
	}
	unsuffixed(template["spec"])
}

// references are the members of a pod's spec that name a ConfigMap or a Secret.
var references = []string{"configMap", "secret", "configMapRef", "secretRef", "configMapKeyRef", "secretKeyRef"}

func unsuffixed(node any) {
	switch n := node.(type) {
	case []any:
		for _, member := range n {
			unsuffixed(member)
		}
	case map[string]any:
		for key, member := range n {
			if reference, ok := member.(map[string]any); ok && slices.Contains(references, key) {
				for _, name := range []string{"name", "secretName"} {
					if text, ok := reference[name].(string); ok {
						reference[name] = strings.TrimSuffix(text, "-primary")
					}
				}
			}
			unsuffixed(member)
		}
	}
}
