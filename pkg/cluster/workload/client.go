package workload

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/task/run"
)

// objects is what is asked of the API for Deployments; the dynamic client has it as it is.
type objects interface {
	Get(context.Context, string, metav1.GetOptions, ...string) (*unstructured.Unstructured, error)
	Create(context.Context, *unstructured.Unstructured, metav1.CreateOptions, ...string) (*unstructured.Unstructured,
		error)
	Patch(context.Context, string, types.PatchType, []byte, metav1.PatchOptions, ...string) (*unstructured.Unstructured,
		error)
	Watch(context.Context, metav1.ListOptions) (watch.Interface, error)
}

// Deployments are those of one namespace.
type Deployments struct {
	Objects objects
	// Pods, ReplicaSets and LastLine tell why pods do not become ready. They may be nil: nothing is told then.
	Pods        watcher
	ReplicaSets lister
	LastLine    func(ctx context.Context, pod, container string) string // of what a crashed container printed

	// Mode is whether writes count.
	Mode kube.Mode

	known *Deployment
}

// watcher is the one call that follows Pods; the dynamic client has it as it is.
type watcher interface {
	Watch(context.Context, metav1.ListOptions) (watch.Interface, error)
}

// From is a client whose next update begins with a Deployment that was read a moment ago, which saves a
// call. Had it changed since, the update would begin anew.
func (c Deployments) From(known *Deployment) Deployments {
	c.known = known
	return c
}

// Get reads a Deployment; nil where there is none.
func (c Deployments) Get(ctx context.Context, name string) (*Deployment, error) {
	var found *unstructured.Unstructured
	err := kube.Retry(ctx, func(ctx context.Context) (err error) {
		found, err = c.Objects.Get(ctx, name, metav1.GetOptions{})
		return err
	})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading Deployment %s: %w", name, err)
	}
	return FromObject(found)
}

// Update writes a Deployment by a JSON patch that holds only while its stamp is as it was read, so
// that a late step of one run cannot undo what another has done. decide returns the operations for the
// Deployment as it is; none leaves it. It is asked again where somebody else was faster.
func (c Deployments) Update(ctx context.Context, name string,
	decide func(*Deployment) ([]kube.Operation, error)) (*Deployment, error) {
	for {
		before, err := c.latest(ctx, name)
		if err != nil || before == nil {
			return before, err
		}
		c.known = nil
		ops, err := decide(before)
		if err != nil || len(ops) == 0 {
			return before, err
		}
		patch, err := kube.Patch(append([]kube.Operation{kube.TestAnnotation(before.Annotations,
			application.RunAnnotation)}, ops...)...)
		if err != nil {
			return before, err
		}
		after, err := c.Objects.Patch(ctx, name, types.JSONPatchType, patch, c.Mode.Patch())
		switch {
		case err == nil:
			return FromObject(after)
		case apierrors.IsNotFound(err): // it was deleted since it was read
			return nil, nil
		case kube.Transient(err):
			slog.Warn("writing a Deployment again", "deployment", name, "error", err.Error())
		case kube.Raced(err):
			if err := c.raced(ctx, before, err); err != nil {
				return before, err
			}
		default:
			return before, fmt.Errorf("writing Deployment %s: %w", name, err)
		}
		if err := kube.Pause(ctx); err != nil {
			return before, err
		}
	}
}

func (c Deployments) latest(ctx context.Context, name string) (*Deployment, error) {
	if c.known != nil && c.known.Name == name {
		return c.known, nil
	}
	return c.Get(ctx, name)
}

// raced is nil where the Deployment has changed since it was read, else what it was refused for.
func (c Deployments) raced(ctx context.Context, before *Deployment, refused error) error {
	now, err := c.Get(ctx, before.Name)
	if err == nil && now != nil && now.ResourceVersion == before.ResourceVersion {
		return fmt.Errorf("writing Deployment %s: %w", before.Name, refused)
	}
	return err
}

// WaitGone follows a Deployment that wants no pods until it has none. Its status may be older than that of its
// pods, so one that is scaled up before would be taken for ready while they go.
func (c Deployments) WaitGone(ctx context.Context, name string, deadline time.Duration) error {
	limited, cancel := context.WithTimeoutCause(ctx, deadline,
		fmt.Errorf("the pods of Deployment %s are not gone after %s", name, deadline))
	defer cancel()
	return kube.Follow(limited, c.Objects, kube.Named(name),
		func(event watch.EventType, object runtime.Object) (bool, error) {
			d, err := FromObject(object)
			return err == nil && (event == watch.Deleted || d.Wanted() > 0 || d.Status.Replicas == 0), err
		})
}

// RehearseWait is an error where the pods of a Deployment could not be waited for.
func (c Deployments) RehearseWait(ctx context.Context, name string) error {
	return kube.Retry(ctx, func(ctx context.Context) error {
		w, err := c.Objects.Watch(ctx, kube.Named(name))
		if err != nil {
			return fmt.Errorf("watching Deployment %s: %w", name, err)
		}
		w.Stop()
		return nil
	})
}

// Scale is the operation that sets how many pods a Deployment asks for.
func Scale(replicas int32) kube.Operation { return kube.Add("/spec/replicas", replicas) }

// Stamp are the operations that give a Deployment the stamp of a run. Pods that were kept for a look are kept no more.
func Stamp(d *Deployment, by run.ID) []kube.Operation {
	ops := kube.Annotate(d.Annotations, application.RunAnnotation, by.String())
	if _, there := d.Annotations[application.KeepAnnotation]; there {
		ops = append(ops, kube.Unannotate(application.KeepAnnotation))
	}
	return ops
}

// Keep are the operations that keep a target's pods up until an instant.
func Keep(d *Deployment, until time.Time) []kube.Operation {
	return kube.Annotate(d.Annotations, application.KeepAnnotation, until.UTC().Format(time.RFC3339))
}

// NoteAutoscaler are the operations that tell a target of its autoscaler, after those of Stamp; empty tells of none.
func NoteAutoscaler(d *Deployment, note string) []kube.Operation {
	switch _, there := d.Annotations[application.AutoscalerAnnotation]; {
	case note != "" && note != d.Autoscaler():
		return []kube.Operation{kube.Add(kube.Path("metadata", "annotations", application.AutoscalerAnnotation), note)}
	case note == "" && there:
		return []kube.Operation{kube.Unannotate(application.AutoscalerAnnotation)}
	}
	return nil
}
