package handover

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/autoscaler"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/cluster/mesh"
	"github.com/serin-cd/serin/pkg/cluster/workload"
	"github.com/serin-cd/serin/pkg/release"
	"github.com/serin-cd/serin/pkg/release/status"
	"github.com/serin-cd/serin/pkg/release/weight"
	"github.com/serin-cd/serin/pkg/task/failure"
	"github.com/serin-cd/serin/pkg/task/run"
)

// Ejection is an application that Serin is about to leave.
type Ejection struct {
	r        *release.Release
	deadline time.Duration // for pods to become ready
	target   *workload.Deployment
	primary  *workload.Deployment // nil where it is gone already
	copied   workload.Copy
	made     []object // with Serin's label, but the Lease
	leased   bool     // there is a Lease
	routes   weight.Routes
}

// Leave reads an application that Serin is to leave, and refuses one that a run has. deadline is how long pods may take
// to become ready without progress.
func Leave(ctx context.Context, cluster *kube.Cluster, app application.Application,
	deadline time.Duration) (*Ejection, error) {
	r, err := release.New(cluster, app.Name, run.ID{Namespace: app.Namespace, Name: "ejected", UID: "ejected"})
	if err != nil {
		return nil, err
	}
	r.Ejected = true
	e := &Ejection{r: r, deadline: deadline}
	if e.routes, err = weight.List(ctx, cluster.VirtualServices(app.Namespace), app.Namespace); err != nil {
		return nil, err
	}
	if err := status.Idle(ctx, cluster, app, e.routes); err != nil {
		return nil, err
	}
	if err := r.Select(e.routes.Selection(app)); err != nil {
		return nil, err
	}
	if e.target, err = r.Deployments.Get(ctx, app.Name); err != nil {
		return nil, err
	}
	if e.primary, err = r.Deployments.Get(ctx, app.Primary()); err != nil {
		return nil, err
	}
	if e.target != nil {
		if e.copied, err = workload.CopyOf(e.target); err != nil {
			return nil, err
		}
	}
	return e, e.look(ctx)
}

// look finds what Serin has made.
func (e *Ejection) look(ctx context.Context) error {
	ours := metav1.ListOptions{LabelSelector: application.Label + "=" + e.r.App.Name}
	leases, err := list(ctx, e.r, []kind{{"Lease", kube.Leases}}, ours)
	if err != nil {
		return err
	}
	e.leased = len(leases) > 0
	if e.made, err = list(ctx, e.r, kinds, ours); err != nil {
		return err
	}
	if e.primary != nil && !e.ours() && (len(e.made) > 0 || e.target != nil && e.target.Stamp() != "") {
		return failure.Configf("reading Deployment %s: Serin did not make it (no label %s: %s): run tkn canary adopt "+
			"first", e.primary.Name, application.Label, e.r.App.Name)
	}
	return nil
}

// ours says whether there is a primary that Serin has made.
func (e *Ejection) ours() bool {
	return e.primary != nil && e.primary.Labels[application.Label] == e.r.App.Name
}

// Drain is how it becomes known that nobody sends to the primary any more.
func (e *Ejection) Drain(how func(context.Context, *release.Release) error) {
	e.r.Drain = func(ctx context.Context) error { return how(ctx, e.r) }
}

// Unknown says whether there is nothing of Serin's, and never was or not any more.
func (e *Ejection) Unknown() bool {
	noted := e.target != nil && slices.ContainsFunc(marks, func(mark string) bool {
		return e.target.Annotations[mark] != ""
	})
	return len(e.made) == 0 && !e.leased && !noted && len(e.routes.Records(e.r.App)) == 0
}

// Plain is the plan that gives the application back to its Deployment.
func (e *Ejection) Plain(context.Context) (Plan, error) {
	plan := Plan{holder: e.r, ends: true}
	if e.Unknown() {
		plan.note("there is nothing of Serin's")
		return plan, nil
	}
	if e.target == nil {
		return plan, failure.Configf("reading Deployment %s: there is none in namespace %s, to which it could be "+
			"given back: apply it, or run tkn canary remove", e.r.App.Name, e.r.App.Namespace)
	}
	if err := e.astray(); err != nil {
		return plan, err
	}
	if e.ours() {
		e.serve(&plan)
	}
	e.clean(&plan)
	return plan, nil
}

// astray refuses routes that would lead to nobody.
func (e *Ejection) astray() error {
	var refusals failure.Refusals
	app, selection := e.r.App, e.r.Fence.Selection
	for name, vs := range e.routes.VirtualServices {
		var known mesh.Splits
		if name == selection.First(app) || slices.Contains(selection.Others(), name) {
			shifted, left, err := mesh.FindSplits(vs, app, selection.Routes...)
			if err != nil && !errors.Is(err, mesh.ErrNoSplit) {
				refusals.Add(err)
				continue
			}
			known = append(slices.Clone(shifted), left...)
		}
		if titles := mesh.Astray(vs, app, known); len(titles) > 0 {
			refusals.Addf("reading VirtualService %s: %s leads to %s or %s, which go: lead it to %s, or delete it",
				name, strings.Join(titles, ", "), app.Primary(), app.Canary(), app.Name)
		}
	}
	return refusals.Err()
}

// serve adds the steps after which the target serves, and the primary nobody.
func (e *Ejection) serve(plan *Plan) {
	app := e.r.App
	if e.behind() {
		plan.step(e.follow, "give Deployment %s the pod template of %s, which serves", app.Name, app.Primary())
	}
	plan.step(e.start, "scale Deployment %s to %d pods, and wait until they are ready", app.Name,
		max(e.primary.Wanted(), e.target.Wanted()))
	plan.step(e.point, "point Service %s at the pods of %s", app.Name, app.Name)
	plan.step(func(ctx context.Context) error { return e.r.Fence.GiveBack(ctx) },
		"lead the routes to Service %s alone", app.Name)
	plan.step(func(ctx context.Context) error { return e.r.Drain(ctx) }, "wait until nobody sends to %s any more",
		app.Primary())
}

// behind says whether the target holds another template than its primary runs.
func (e *Ejection) behind() bool {
	return e.primary.Promoted() != e.target.Revision() && !e.copied.Runs(e.target, e.primary, func(map[string]any) {})
}

// follow gives the target the template that the primary runs. It has no pods, or nobody sends to them.
func (e *Ejection) follow(ctx context.Context) error {
	_, err := e.r.Deployments.Update(ctx, e.r.App.Name, func(d *workload.Deployment) ([]kube.Operation, error) {
		if !e.behind() {
			return nil, nil
		}
		return []kube.Operation{kube.Replace("/spec/template", e.copied.Original(d, e.primary))}, nil
	})
	return err
}

// start gives the target as many pods as the primary has. It is no run's any more before that, so that nobody brings it
// to rest; then its autoscaler may scale it.
func (e *Ejection) start(ctx context.Context) error {
	name := e.r.App.Name
	target, err := e.r.Deployments.Update(ctx, name, func(d *workload.Deployment) ([]kube.Operation, error) {
		if d.Stamp() == "" {
			return nil, nil
		}
		return []kube.Operation{kube.Unannotate(application.RunAnnotation)}, nil
	})
	if err == nil && target == nil {
		err = failure.Configf("Deployment %s was deleted", name)
	}
	if err == nil {
		err = e.r.Autoscalers.Free(ctx, autoscaler.Noted(target.Autoscaler()))
	}
	if err != nil {
		return err
	}
	_, err = e.r.Deployments.Update(ctx, name, func(d *workload.Deployment) ([]kube.Operation, error) {
		if d.Wanted() >= e.primary.Wanted() {
			return nil, nil
		}
		return []kube.Operation{workload.Scale(e.primary.Wanted())}, nil
	})
	if err == nil {
		_, err = e.r.Deployments.WaitReady(ctx, name, e.deadline, nil)
	}
	var late *workload.NotReadyError
	if errors.As(err, &late) {
		return failure.Rejectedf("%w: %s goes on serving, and the next run brings all to rest", err, e.r.App.Primary())
	}
	return err
}

// point leads who calls the Service to the target's pods.
func (e *Ejection) point(ctx context.Context) error {
	shape, err := e.r.Services.Shape(ctx, e.target, 0)
	if err == nil {
		_, err = e.r.Services.Ensure(ctx, e.r.App.Name, e.target.Spec.Selector.MatchLabels, shape)
	}
	return err
}

// clean adds the steps that delete what Serin has made for the release alone, and take its marks off the rest.
func (e *Ejection) clean(plan *Plan) {
	kept := func(o object) bool { return o.GetName() == e.r.App.Name }
	gone := slices.DeleteFunc(slices.Clone(e.made), kept)
	rest := slices.DeleteFunc(slices.Clone(e.made), func(o object) bool { return !kept(o) })
	e.delete(plan, gone)
	plan.step(func(ctx context.Context) error { return e.unmark(ctx, rest) }, "take Serin's marks off what stays")
	plan.step(func(context.Context) error { return nil }, "delete Lease %s", e.r.App.Lease())
}

// delete adds the step that deletes objects, but Leases, which go last.
func (e *Ejection) delete(plan *Plan, all []object) {
	if len(all) == 0 {
		return
	}
	plan.step(func(ctx context.Context) error {
		for _, o := range all {
			if err := remove(ctx, e.r, o, metav1.DeletePropagationBackground); err != nil {
				return err
			}
		}
		return nil
	}, "delete %s", texts(all))
}

// marks are the annotations that Serin writes.
var marks = []string{application.RunAnnotation, application.RevisionAnnotation, application.PreviousAnnotation,
	application.TemplateAnnotation, application.PortsAnnotation, application.AutoscalerAnnotation,
	application.BudgetAnnotation, application.KeepAnnotation}

// unmark takes Serin's label and annotations off objects, off the application's own Deployment and Service, off its
// VirtualServices, and off its autoscaler.
func (e *Ejection) unmark(ctx context.Context, all []object) error {
	names := append([]string{e.r.Fence.Selection.First(e.r.App)}, e.r.Fence.Selection.Others()...)
	own, err := list(ctx, e.r, []kind{services, virtualServices, autoscalers[0], autoscalers[1], deployments},
		metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, o := range own {
		if o.GetName() == e.r.App.Name || o.kind == virtualServices && slices.Contains(names, o.GetName()) ||
			e.noted(o) {
			all = append(all, o)
		}
	}
	slices.SortStableFunc(all, func(x, y object) int { return e.last(x) - e.last(y) })
	for _, o := range all {
		if err := write(ctx, e.r, o, e.unmarked); err != nil {
			return err
		}
	}
	return nil
}

// last is how late the marks of an object go: by those of its Deployments who tries again knows the application.
func (e *Ejection) last(o object) int {
	switch {
	case o.kind != deployments:
		return 0
	case o.GetName() == e.r.App.Primary():
		return 2
	}
	return 1
}

// noted says whether an autoscaler is the one that the target was told of.
func (e *Ejection) noted(o object) bool {
	return e.target != nil && o.kind.name+"/"+o.GetName() == e.target.Autoscaler()
}

// unmarked is an object without Serin's marks. One of another application has none of this.
func (e *Ejection) unmarked(u *unstructured.Unstructured) {
	labels, annotations := u.GetLabels(), u.GetAnnotations()
	if of := labels[application.Label]; of != "" && of != e.r.App.Name {
		return
	}
	delete(labels, application.Label)
	for _, mark := range marks {
		delete(annotations, mark)
	}
	u.SetLabels(labels)
	u.SetAnnotations(annotations)
}

// Remove is the plan that deletes what Serin has made for an application that goes away.
func (e *Ejection) Remove(context.Context) (Plan, error) {
	plan := Plan{holder: e.r, ends: true}
	if e.Unknown() {
		plan.note("there is nothing of Serin's")
		return plan, nil
	}
	e.delete(&plan, e.made)
	plan.step(func(ctx context.Context) error { return e.unmark(ctx, nil) }, "take Serin's marks off what stays")
	plan.step(func(context.Context) error { return nil }, "delete Lease %s", e.r.App.Lease())
	for _, name := range slices.Sorted(maps.Keys(e.routes.VirtualServices)) {
		vs := e.routes.VirtualServices[name]
		if titles := mesh.Astray(vs, e.r.App, nil); len(titles) > 0 && vs.Labels[application.Label] != e.r.App.Name {
			plan.note("VirtualService %s stays, of which %s leads to nobody any more", name, strings.Join(titles, ", "))
		}
	}
	if e.target != nil {
		plan.note("Deployment %s stays, with %d pods: nobody is served any more. To have it serve, use tkn canary "+
			"eject",
			e.r.App.Name, e.target.Wanted())
	}
	return plan, nil
}
