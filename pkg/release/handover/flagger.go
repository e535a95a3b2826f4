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
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/release"
	"github.com/serin-cd/serin/pkg/task/failure"
)

// Canaries are Flagger's.
var Canaries = schema.GroupVersionResource{Group: "flagger.app", Version: "v1beta1", Resource: "canaries"}

// What Flagger writes, and how long it may take.
const (
	finalizer  = "finalizer.flagger.app"                        // with revertOnDeletion
	original   = "flagger.kubernetes.io/original-configuration" // on a VirtualService: as it was before
	identifier = "flagger-id"                                   // on the primary's pods
	suspended  = "skipping canary run as object is suspended"   // its event at each check of one that is
	shortest   = 10 * time.Second                               // interval of checks
	usual      = time.Minute                                    // interval where a Canary has none
	slack      = 10 * time.Second                               // until Flagger sees a change
)

// resting are the phases in which Flagger shifts nothing.
var resting = []string{"Initialized", "Succeeded", "Failed"}

// canary is a Canary as it was read.
type canary struct {
	view

	object *unstructured.Unstructured
}

// view is what is read of a Canary.
type view struct {
	metav1.ObjectMeta `json:"metadata"`

	Spec struct {
		Provider  string `json:"provider"`
		TargetRef struct {
			Kind string `json:"kind"`
			Name string `json:"name"`
		} `json:"targetRef"`
		AutoscalerRef *scaler `json:"autoscalerRef"`
		Service       struct {
			Name string `json:"name"`
		} `json:"service"`
		Analysis struct {
			Interval string `json:"interval"`
		} `json:"analysis"`
		Suspend          bool `json:"suspend"`
		RevertOnDeletion bool `json:"revertOnDeletion"`
	} `json:"spec"`
	Status struct {
		Phase string `json:"phase"`
	} `json:"status"`
}

// scaler is how a Canary names the target's autoscaler.
type scaler struct {
	Kind     string `json:"kind"`
	Name     string `json:"name"`
	Replicas struct {
		Min int32 `json:"minReplicas"`
		Max int32 `json:"maxReplicas"`
	} `json:"primaryScalerReplicas"`
}

// Canary is Flagger's for the application, nil where it has none, or where there is no Flagger.
func Canary(ctx context.Context, cluster *kube.Cluster, app application.Application) (*unstructured.Unstructured,
	error) {
	c, err := canaryOf(ctx, &release.Release{App: app, Cluster: cluster})
	if c == nil {
		return nil, err
	}
	return c.object, err
}

func canaryOf(ctx context.Context, r *release.Release) (*canary, error) {
	all, err := list(ctx, r, []kind{{"Canary", Canaries}}, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	var found []*canary
	var names []string
	for _, o := range all {
		c, err := read(o.Unstructured)
		if err != nil {
			return nil, err
		}
		if c.Spec.TargetRef.Kind == "Deployment" && c.Spec.TargetRef.Name == r.App.Name {
			found, names = append(found, c), append(names, c.Name)
		}
	}
	switch len(found) {
	case 0:
		return nil, nil
	case 1:
		return found[0], nil
	}
	return nil, failure.Configf("looking for the Canary of %s: %s release it, want one: delete the others", r.App,
		strings.Join(names, " and "))
}

func read(o *unstructured.Unstructured) (*canary, error) {
	c := &canary{object: o}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &c.view); err != nil {
		return nil, fmt.Errorf("reading Canary %s: %w", o.GetName(), err)
	}
	return c, nil
}

// admit refuses, with all reasons at once, a Canary that cannot be taken over now, or at all.
func (c *canary) admit(r *release.Release) error {
	var refusals failure.Refusals
	if !slices.Contains(resting, c.Status.Phase) {
		refusals.Addf("reading Canary %s: phase %q, Flagger is at work: wait until it is %s", c.Name, c.Status.Phase,
			strings.Join(resting, ", "))
	}
	if c.DeletionTimestamp != nil && !slices.Contains(c.Finalizers, metav1.FinalizerOrphanDependents) {
		refusals.Addf("reading Canary %s: it is being deleted, and Flagger or Kubernetes takes with it what it owns: "+
			"wait until it is gone", c.Name)
	}
	if name := c.Spec.Service.Name; name != "" && name != r.App.Name {
		refusals.Addf("reading Canary %s: its Services are called %s, want the Deployment's name, %s: make it anew "+
			"without service.name", c.Name, name, r.App.Name)
	}
	if p := c.Spec.Provider; p != "" && p != "istio" {
		refusals.Addf("reading Canary %s: provider %s, want istio: Serin releases through VirtualServices of Istio",
			c.Name, p)
	}
	if tool := c.tool(); tool != "" && c.reverts() {
		refusals.Addf("reading Canary %s: %s applies it, with revertOnDeletion, by which Flagger would put back what "+
			"it found: set revertOnDeletion to false there first", c.Name, tool)
	}
	return refusals.Err()
}

func (c *canary) reverts() bool {
	return c.Spec.RevertOnDeletion || slices.Contains(c.Finalizers, finalizer)
}

// tools put objects back that somebody else deletes, and mark what they have applied.
var tools = []struct{ mark, name string }{
	{"kustomize.toolkit.fluxcd.io/", "Flux"}, {"helm.toolkit.fluxcd.io/", "Flux"}, {"argocd.argoproj.io/", "Argo CD"},
	{"meta.helm.sh/", "Helm"},
}

// tool names who applies the Canary again and again, empty for nobody.
func (c *canary) tool() string {
	for _, t := range tools {
		for _, marks := range []map[string]string{c.Labels, c.Annotations} {
			for key := range marks {
				if strings.HasPrefix(key, t.mark) {
					return t.name
				}
			}
		}
	}
	return ""
}

// suspend lets Flagger leave the Canary alone, and returns when it does: when it has said so, or when it would have,
// were it there. A check that had begun before may still have begun a release: then all is as before.
func (c *canary) suspend(ctx context.Context, r *release.Release) error {
	since := r.Cluster.Now()
	if !c.Spec.Suspend {
		if err := c.patch(ctx, r, kube.Test("/metadata/resourceVersion", c.ResourceVersion),
			kube.Add("/spec/suspend", true)); err != nil {
			if kube.Raced(err) {
				return fmt.Errorf("Canary %s changed meanwhile: try again", c.Name)
			}
			return err
		}
		since = r.Cluster.Now()
	}
	if err := c.quiet(ctx, r, since); err != nil {
		return err
	}
	now, err := canaryOf(ctx, r)
	if err != nil || now == nil || slices.Contains(resting, now.Status.Phase) {
		return err
	}
	if err := now.patch(ctx, r, kube.Add("/spec/suspend", false)); err != nil {
		return err
	}
	return failure.Configf("Flagger had begun a release a moment before (phase %s), and goes on with it: wait until "+
		"it is %s", now.Status.Phase, strings.Join(resting, ", "))
}

// quiet waits for the event by which Flagger says that it has seen the suspension: its checks are one after another.
func (c *canary) quiet(ctx context.Context, r *release.Release, since time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, c.interval()+slack)
	defer cancel()
	err := kube.Follow(ctx, r.Cluster.Objects(kube.Events, r.App.Namespace),
		metav1.ListOptions{FieldSelector: "involvedObject.kind=Canary,involvedObject.name=" + c.Name}, said(since))
	if err != nil && ctx.Err() == context.DeadlineExceeded {
		return nil // there is no Flagger, or it tells nobody: no check takes longer than from one to the next
	}
	return err
}

// said is done with an event of that text which is not older.
func said(since time.Time) func(watch.EventType, runtime.Object) (bool, error) {
	return func(_ watch.EventType, o runtime.Object) (bool, error) {
		u, ok := o.(*unstructured.Unstructured)
		if !ok {
			return false, nil
		}
		text, _, _ := unstructured.NestedString(u.Object, "message")
		stamp, _, _ := unstructured.NestedString(u.Object, "lastTimestamp")
		at, err := time.Parse(time.RFC3339, stamp)
		return err == nil && strings.Contains(text, suspended) && !at.Before(since), nil
	}
}

func (c *canary) interval() time.Duration {
	interval, err := time.ParseDuration(c.Spec.Analysis.Interval)
	if err != nil || interval <= 0 {
		return usual
	}
	return max(interval, shortest)
}

// release takes what would undo the application off the Canary, and deletes it without what it owns, which is nothing
// by now but what was made meanwhile. One that a tool would make again stays, suspended.
func (c *canary) release(ctx context.Context, r *release.Release) error {
	keeps := c.tool() != ""
	for {
		now, err := canaryOf(ctx, r)
		if err != nil || now == nil {
			return err
		}
		if now.reverts() {
			if err := now.relent(ctx, r); err != nil {
				return err
			}
			continue
		}
		if keeps {
			return nil
		}
		if now.DeletionTimestamp == nil {
			o := object{kind{"Canary", Canaries}, now.object}
			if err := remove(ctx, r, o, metav1.DeletePropagationOrphan); err != nil {
				return err
			}
		}
		if err := kube.Pause(ctx); err != nil { // until the garbage collector has seen it
			return fmt.Errorf("waiting until Canary %s is gone: %w", c.Name, err)
		}
	}
}

// relent keeps Flagger from putting back what it found once the Canary goes.
func (c *canary) relent(ctx context.Context, r *release.Release) error {
	kept := slices.DeleteFunc(slices.Clone(c.Finalizers), func(f string) bool { return f == finalizer })
	err := c.patch(ctx, r, kube.Test("/metadata/resourceVersion", c.ResourceVersion),
		kube.Add("/spec/revertOnDeletion", false), kube.Add("/metadata/finalizers", kept))
	if kube.Raced(err) {
		return kube.Pause(ctx)
	}
	return err
}

func (c *canary) patch(ctx context.Context, r *release.Release, ops ...kube.Operation) error {
	body, err := kube.Patch(ops...)
	if err != nil {
		return err
	}
	_, err = r.Cluster.Objects(Canaries, c.Namespace).Patch(ctx, c.Name, types.JSONPatchType, body,
		metav1.PatchOptions{FieldManager: kube.FieldManager})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("writing Canary %s: %w", c.Name, err)
	}
	return nil
}
