package handover

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/serin-cd/serin/pkg/cluster/autoscaler"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/release/weight"
	"github.com/serin-cd/serin/pkg/task/failure"
)

// selected are the labels by which Flagger tells an application's pods from others, unless it is told another.
var selected = []string{"app", "name", "app.kubernetes.io/name"}

// ToFlagger is the plan that leaves the application as Flagger leaves one that it has released: with primary, Services
// and routes, and a target without pods that holds what the primary runs. Flagger takes such a primary as it is. made
// is the Canary, as it is made at last; nil makes none.
func (e *Ejection) ToFlagger(ctx context.Context, made *unstructured.Unstructured) (Plan, error) {
	plan := Plan{holder: e.r, ends: true}
	there, err := canaryOf(ctx, e.r)
	if err != nil {
		return plan, err
	}
	if !e.Unknown() {
		if err := e.resting(); err != nil {
			return plan, err
		}
		if e.ours() && e.behind() {
			plan.step(e.follow, "give Deployment %s the pod template of %s, which serves", e.r.App.Name,
				e.r.App.Primary())
		}
		e.strip(&plan)
	}
	if made != nil && there == nil && e.primary != nil {
		plan.step(func(ctx context.Context) error { return e.make(ctx, made) }, "make Canary %s", made.GetName())
	}
	if len(plan.Steps) == 0 {
		plan.note("there is nothing of Serin's")
	}
	return plan, nil
}

// strip adds the steps that take Serin's marks off all, and delete what Flagger has no use for.
func (e *Ejection) strip(plan *Plan) {
	var gone, stay []object
	scaler := autoscaler.Noted(e.target.Autoscaler())
	for _, o := range e.made {
		report := o.resource == kube.ConfigMaps
		renamed := o.kind.name == string(scaler.Kind) && scaler.Name+"-primary" != o.GetName()
		if report || renamed {
			gone = append(gone, o)
		} else {
			stay = append(stay, o)
		}
	}
	e.delete(plan, gone)
	plan.step(func(ctx context.Context) error { return e.unmark(ctx, stay) }, "take Serin's marks off %s and off %s",
		e.r.App.Name, texts(stay))
	plan.step(func(context.Context) error { return nil }, "delete Lease %s", e.r.App.Lease())
}

// resting refuses an application that is not at rest, or that Flagger would not know as its own.
func (e *Ejection) resting() error {
	app := e.r.App
	if e.target == nil || e.primary == nil {
		return failure.Configf("giving %s to Flagger: there is no Deployment %s, or no %s", app, app.Name,
			app.Primary())
	}
	var refusals failure.Refusals
	if n := e.target.Wanted(); n > 0 && !e.target.KeptUntil().IsZero() {
		refusals.Addf("reading Deployment %s: the pods of the canary that failed stay up for a look until %s: wait, "+
			"or scale it to 0", app.Name, e.target.KeptUntil().Format(time.RFC3339))
	} else if n > 0 {
		refusals.Addf("reading Deployment %s: it has %d pods without a run, want none: start a run, which brings it "+
			"to rest, or scale it to 0", app.Name, n)
	}
	if !e.primary.Ready() {
		refusals.Addf("reading Deployment %s: it is not ready (%s), and Flagger waits for it", app.Primary(),
			e.primary.Progress())
	}
	key := func(name string) bool { return e.target.Spec.Selector.MatchLabels[name] != "" }
	if !slices.ContainsFunc(selected, key) {
		refusals.Addf("reading Deployment %s: its selector has none of the labels %s, by which Flagger goes", app.Name,
			strings.Join(selected, ", "))
	}
	if others := e.r.Fence.Selection.Others(); len(others) > 0 || !e.r.Fence.Selection.Standard(app) {
		refusals.Addf("reading the record: the routes are in VirtualServices %s, and Flagger writes one, of the "+
			"application's name: run tkn canary eject without --to", strings.Join(e.r.Fence.Selection.VirtualServices,
			", "))
	}
	if vs := e.routes.VirtualServices[app.Name]; vs != nil {
		state, err := weight.Observe(vs, app, e.r.Fence.Selection)
		refusals.Add(err)
		if err == nil && state.Weight() > 0 {
			refusals.Addf("reading VirtualService %s: the canary has %d %% without a run: run tkn canary abort",
				app.Name, state.Weight())
		}
	}
	return refusals.Err()
}

// make makes the Canary; one that is there by now is left.
func (e *Ejection) make(ctx context.Context, canary *unstructured.Unstructured) error {
	err := kube.Retry(ctx, func(ctx context.Context) error {
		_, err := e.r.Cluster.Objects(Canaries, e.r.App.Namespace).Create(ctx, canary,
			metav1.CreateOptions{FieldManager: kube.FieldManager})
		return err
	})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	if apierrors.IsNotFound(err) {
		return failure.Configf("making Canary %s: the cluster knows none: install Flagger, then apply it",
			canary.GetName())
	}
	if err != nil {
		return fmt.Errorf("making Canary %s: %w", canary.GetName(), err)
	}
	return nil
}
