package autoscaler

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/task/failure"
)

// Annotations by which KEDA is told to leave a Deployment alone.
const (
	pausedReplicas = "autoscaling.keda.sh/paused-replicas"
	paused         = "autoscaling.keda.sh/paused"
)

// Found are the autoscalers of an application as they were read.
type Found struct {
	target  *unstructured.Unstructured   // nil where there is none
	primary []*unstructured.Unstructured // Serin's own, of any kind
}

// Reference names the target's.
func (f Found) Reference() Reference {
	if f.target == nil {
		return Reference{}
	}
	return referenceOf(f.target)
}

// Note is what the target is told of its autoscaler, for those who come later in a run; empty for nothing.
func (f Found) Note() string {
	if f.target == nil && len(f.primary) > 0 {
		return Gone
	}
	return f.Reference().String()
}

// Clamp is a number of pods within the bounds of the target's autoscaler, and at least 1.
func (f Found) Clamp(pods int32) int32 {
	if f.target == nil {
		return max(pods, 1)
	}
	spec, _ := f.target.Object["spec"].(map[string]any)
	least, most := bounds(Kind(f.target.GetKind()), spec)
	return int32(max(1, min(max(int64(pods), least), most)))
}

// Find reads the autoscalers of target and primary; noted is what the target was told at the last release. What cannot
// be released like this is refused as configuration, all of it at once. It changes nothing.
func (a Autoscalers) Find(ctx context.Context, choice Choice, noted string) (Found, error) {
	if choice == None && noted == "" {
		return Found{}, nil
	}
	all, err := a.all(ctx)
	if err != nil {
		return Found{}, err
	}
	f := Found{}
	for _, o := range all {
		if a.own(o) {
			f.primary = append(f.primary, o)
		}
	}
	target, err := a.choose(choice, all)
	if err != nil || target == nil {
		return f, err
	}
	f.target = target
	return f, a.admit(f, all)
}

// all are the autoscalers of the namespace, of either kind, read at once, less those that KEDA scales by.
func (a Autoscalers) all(ctx context.Context) (all []*unstructured.Unstructured, err error) {
	kinds := []Kind{HPA, ScaledObject}
	lists, errs := make([][]unstructured.Unstructured, len(kinds)), make([]error, len(kinds))
	var reading sync.WaitGroup
	for i, kind := range kinds {
		reading.Go(func() { lists[i], errs[i] = a.list(ctx, kind) })
	}
	reading.Wait()
	var refusals failure.Refusals
	for i, list := range lists {
		refusals.Add(errs[i])
		for j := range list {
			if !ofKEDA(&list[j]) {
				all = append(all, &list[j])
			}
		}
	}
	return all, refusals.Err()
}

// ofKEDA says whether an autoscaler is part of a ScaledObject, through which KEDA scales.
func ofKEDA(o *unstructured.Unstructured) bool {
	for _, owner := range o.GetOwnerReferences() {
		if owner.Kind == string(ScaledObject) && strings.HasPrefix(owner.APIVersion, "keda.sh/") {
			return true
		}
	}
	return false
}

// choose is the target's autoscaler among all of the namespace, nil for none.
func (a Autoscalers) choose(choice Choice, all []*unstructured.Unstructured) (*unstructured.Unstructured, error) {
	if choice == None {
		return nil, nil
	}
	if r := Noted(string(choice)); r.Kind != "" {
		i := slices.IndexFunc(all, func(o *unstructured.Unstructured) bool { return referenceOf(o) == r })
		if i < 0 {
			return nil, failure.Configf("reading autoscaler %s: there is none in namespace %s that is not part of a "+
				"ScaledObject: name another, or set auto", r, a.App.Namespace)
		}
		if !scales(all[i], a.App.Name) {
			return nil, failure.Configf("reading autoscaler %s: it scales %s, want one that scales Deployment %s",
				r, scaled(all[i]), a.App.Name)
		}
		return all[i], nil
	}
	var candidates []*unstructured.Unstructured
	var names []string
	for _, o := range all {
		if scales(o, a.App.Name) {
			candidates, names = append(candidates, o), append(names, referenceOf(o).String())
		}
	}
	switch len(candidates) {
	case 0:
		return nil, nil
	case 1:
		return candidates[0], nil
	}
	return nil, failure.Configf("looking for the autoscaler of %s: %s scale it, want one: delete the others, or name "+
		"one by the parameter autoscaler", a.App, strings.Join(names, " and "))
}

// scales says whether an autoscaler scales a Deployment.
func scales(o *unstructured.Unstructured, deployment string) bool {
	return scaled(o) == "Deployment "+deployment
}

// scaled is what an autoscaler scales, as KIND NAME, with the API group where that is not of a Deployment.
func scaled(o *unstructured.Unstructured) string {
	get := func(member string) string {
		value, _, _ := unstructured.NestedString(o.Object, "spec", "scaleTargetRef", member)
		return value
	}
	kind, version := get("kind"), get("apiVersion")
	if Kind(o.GetKind()) == ScaledObject {
		kind, version = or(kind, "Deployment"), or(version, "apps/v1")
	}
	if group, err := schema.ParseGroupVersion(version); err != nil || group.Group != "apps" {
		return fmt.Sprintf("%s %s of %q", kind, get("name"), version)
	}
	return kind + " " + get("name")
}

func or(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

// admit refuses autoscalers with which the application cannot be released, with all reasons at once.
func (a Autoscalers) admit(f Found, all []*unstructured.Unstructured) error {
	var refusals failure.Refusals
	refusals.Add(a.rests(f.target))
	if len(f.primary) == 0 && f.target.GetAnnotations()[paused] == "true" {
		refusals.Addf("reading %s: it is paused (%s), and the primary's would not be: remove the annotation, or set "+
			"autoscaler to none", f.Reference(), paused)
	}
	for _, o := range all {
		if a.own(o) || o == f.target || o.GetName() != a.App.Primary() && !scales(o, a.App.Primary()) {
			continue
		}
		refusals.Addf("reading %s: Serin did not make it (no label %s: %s), and %s gets an autoscaler of that name "+
			"and purpose, a copy of %s: delete it, or set autoscaler to none and keep both yourself", referenceOf(o),
			application.Label, a.App.Name, a.App.Primary(), f.Reference())
	}
	_, err := primarySpec(f.target, a.App, a.Bounds)
	refusals.Add(err)
	return refusals.Err()
}

// rests refuses an autoscaler that would not let the target rest at 0.
func (a Autoscalers) rests(target *unstructured.Unstructured) error {
	r := referenceOf(target)
	spec, _ := target.Object["spec"].(map[string]any)
	least, _ := bounds(r.Kind, spec)
	if r.Kind == HPA {
		if least == 0 {
			return failure.Configf("reading %s: minReplicas 0 lets it wake the Deployment at rest, which has no pods "+
				"between releases: set minReplicas to 1 or more", r)
		}
		return nil
	}
	annotations := target.GetAnnotations()
	if n, there := annotations[pausedReplicas]; there && n != "0" {
		return failure.Configf("reading %s: it is paused at %s pods (%s), and Serin would have to unpause it: remove "+
			"the annotation", r, n, pausedReplicas)
	}
	if annotations[paused] == "true" {
		slog.Warn("KEDA is paused for the canary, not for the primary", "autoscaler", r.String(), "annotation", paused)
	}
	if _, idle := spec["idleReplicaCount"]; idle || least == 0 {
		slog.Warn("KEDA may take all pods from the canary while its triggers are not active: set minReplicaCount to 1 "+
			"or more, without idleReplicaCount", "autoscaler", r.String())
	}
	return nil
}
