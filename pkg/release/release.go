// Package release is an application in the hands of one run.
package release

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/autoscaler"
	"github.com/serin-cd/serin/pkg/cluster/disruption"
	"github.com/serin-cd/serin/pkg/cluster/event"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/cluster/mesh"
	"github.com/serin-cd/serin/pkg/cluster/workload"
	"github.com/serin-cd/serin/pkg/judge/verdict"
	"github.com/serin-cd/serin/pkg/release/lease"
	"github.com/serin-cd/serin/pkg/release/record"
	"github.com/serin-cd/serin/pkg/release/weight"
	"github.com/serin-cd/serin/pkg/task/failure"
	"github.com/serin-cd/serin/pkg/task/run"
)

// closing is how long a run has to take the traffic back when its step must end.
const closing = 5 * time.Second

// Release bundles what a step needs of an application, and the run that it works for.
type Release struct {
	App         application.Application
	ID          run.ID
	Cluster     *kube.Cluster
	Fence       weight.Fence
	Deployments workload.Deployments
	Autoscalers autoscaler.Autoscalers
	Budgets     disruption.Budgets
	Services    mesh.Services
	Routing     mesh.Routing
	Events      event.Recorder
	Lease       lease.Lease
	Metadata    application.Metadata // what Serin's objects take over
	Ejected     bool                 // the target serves again: it is the primary that is drained

	Keep time.Duration // how long the pods of a canary that fails stay up for a look

	// Drain waits until no proxy sends to the canary's pods any more, after a change of the route that has been made by
	// now.
	Drain func(context.Context) error
}

// New takes an application in hand, in the run's own namespace.
func New(cluster *kube.Cluster, name string, id run.ID) (*Release, error) {
	if id.Namespace == "" || id.Name == "" || id.UID == "" {
		return nil,
			failure.Configf("reading run: %q, want RUN_NAMESPACE, RUN_NAME and RUN_UID of a PipelineRun: start the "+
				"task from a Pipeline", id)
	}
	app := application.Application{Namespace: id.Namespace, Name: name}
	if err := app.Validate(); err != nil {
		return nil, err
	}
	vs := cluster.VirtualServices(app.Namespace)
	return &Release{
		App: app, ID: id, Cluster: cluster,
		Fence: weight.Fence{App: app, VirtualServices: vs},
		Deployments: workload.Deployments{
			Objects:     cluster.Objects(kube.Deployments, app.Namespace),
			Pods:        cluster.Objects(kube.Pods, app.Namespace),
			ReplicaSets: cluster.Objects(kube.ReplicaSets, app.Namespace),
			LastLine: func(ctx context.Context, pod, container string) string {
				return cluster.LastLine(ctx, app.Namespace, pod, container)
			},
		},
		Autoscalers: autoscaler.Autoscalers{HPAs: cluster.Objects(kube.HPAs, app.Namespace),
			ScaledObjects: cluster.Objects(kube.ScaledObjects, app.Namespace), App: app},
		Budgets:  disruption.Budgets{Objects: cluster.Objects(kube.Budgets, app.Namespace), App: app},
		Services: mesh.Services{Objects: cluster.Objects(kube.Services, app.Namespace), App: app},
		Routing: mesh.Routing{VirtualServices: vs, DestinationRules: cluster.DestinationRules(app.Namespace),
			App: app},
		Events: event.Recorder{Events: cluster.Objects(kube.Events, app.Namespace), App: app, Clock: cluster},
		Lease: lease.Lease{Objects: cluster.Objects(kube.Leases, app.Namespace), App: app, Holder: id,
			Clock: cluster},
	}, nil
}

// Select says in which routes primary and canary share the traffic.
func (r *Release) Select(selection mesh.Selection) error {
	r.Fence.Selection = selection
	return selection.Validate()
}

// Take says which of the application's labels and annotations Serin's objects take over.
func (r *Release) Take(taken application.Metadata) {
	r.Metadata, r.Services.Metadata, r.Autoscalers.Metadata, r.Budgets.Metadata = taken, taken, taken, taken
}

// Read reads an object of the run's namespace into a structure with what is needed of it.
func (r *Release) Read(ctx context.Context, kind schema.GroupVersionResource, name string, into any) error {
	var found *unstructured.Unstructured
	err := kube.Retry(ctx, func(ctx context.Context) (err error) {
		found, err = r.Cluster.Objects(kind, r.App.Namespace).Get(ctx, name, metav1.GetOptions{})
		return err
	})
	if err == nil {
		err = runtime.DefaultUnstructuredConverter.FromUnstructured(found.Object, into)
	}
	if err != nil {
		return fmt.Errorf("reading %s %s: %w", kind.Resource, name, err)
	}
	return nil
}

// Target reads the target; a missing one is an error of configuration.
func (r *Release) Target(ctx context.Context) (*workload.Deployment, error) {
	target, err := r.Deployments.Get(ctx, r.App.Name)
	if err == nil && target == nil {
		err = failure.Configf("reading Deployment %s: there is none in namespace %s: deploy the application first",
			r.App.Name, r.App.Namespace)
	}
	return target, err
}

// Judged is the release with a verdict because of which it is closed next.
func (r *Release) Judged(decision verdict.Decision) *Release {
	other := *r
	other.Fence = r.Fence.Judged(decision)
	return &other
}

// Close takes the run back, with the canary's share at 0, whatever has become of ctx, within 5 s. The
// reason is recorded; the event has words of its own for it.
func (r *Release) Close(ctx context.Context, reason, event string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closing)
	defer cancel()
	_, err := r.Fence.Close(ctx, r.ID, run.RolledBack, reason, r.Cluster)
	if err == nil {
		r.Events.Warningf(ctx, "Rolling back %s %s", r.App, event)
	}
	return err
}

// TakeBack ends the run because of err and returns err, with what the ending failed on. An error that says that
// the run does not hold the record ends nothing.
func (r *Release) TakeBack(ctx context.Context, err error) error {
	if err == nil || errors.Is(err, record.ErrFenced) {
		return err
	}
	reason := err.Error()
	if cause := context.Cause(ctx); cause != nil {
		reason = "the step was stopped: " + cause.Error()
	}
	unclosed := r.Close(ctx, reason, reason)
	if errors.Is(unclosed, failure.ErrConfig) && errors.Is(err, failure.ErrConfig) {
		return err // the route cannot be written, which it says already
	}
	if unclosed != nil {
		return fmt.Errorf("%w; taking the traffic back: %v", err, unclosed) // err alone decides the exit code
	}
	slog.Info("traffic taken back", "app", r.App.String(), "reason", reason)
	return err
}

// Settle waits until no proxy sends to the target's pods and then scales it to 0, but only while the target carries
// the stamp of a run: none takes away another's canary. A target that is gone or at rest is settled.
func (r *Release) Settle(ctx context.Context, of run.ID) error {
	target, err := r.Unsettled(ctx, of)
	if err != nil || target == nil {
		return err
	}
	return r.SettleTarget(ctx, target)
}

// Unsettled reads the target if it carries the stamp of a run and has pods, or an autoscaler that may give it some; nil
// if it is gone, at rest, or another's.
func (r *Release) Unsettled(ctx context.Context, of run.ID) (*workload.Deployment, error) {
	target, err := r.Deployments.Get(ctx, r.App.Name)
	if err != nil || target == nil || !target.StampedBy(of) {
		return nil, err
	}
	if target.Wanted() > 0 {
		return target, nil
	}
	if awake, err := r.Autoscalers.Awake(ctx, autoscaler.Noted(target.Autoscaler())); err != nil || !awake {
		return nil, err
	}
	return target, nil
}

// SettleTarget is Settle for a target that was read a moment ago and found unsettled. Its autoscaler rests before it
// does, else it would scale it up again.
func (r *Release) SettleTarget(ctx context.Context, target *workload.Deployment) error {
	stamp := target.Stamp()
	if err := r.Drain(ctx); err != nil {
		return fmt.Errorf("settling %s: %w: its pods stay up", r.App, err)
	}
	if err := r.RestAutoscaler(ctx, autoscaler.Noted(target.Autoscaler()), target); err != nil {
		return fmt.Errorf("settling %s: %w: its pods stay up", r.App, err)
	}
	_, err := r.Deployments.From(target).Update(ctx, r.App.Name,
		func(d *workload.Deployment) ([]kube.Operation, error) {
			if d.Stamp() != stamp || d.Wanted() == 0 {
				return nil, nil
			}
			return append(workload.Stamp(d, r.ID), workload.Scale(0)), nil
		})
	if err != nil {
		return fmt.Errorf("settling %s: %w", r.App, err)
	}
	slog.Info("target at rest", "deployment", r.App.String())
	return nil
}

// RestAutoscaler keeps the target's autoscaler from scaling it up, unless another run has the target by now.
func (r *Release) RestAutoscaler(ctx context.Context, of autoscaler.Reference, target *workload.Deployment) error {
	return r.Autoscalers.Rest(ctx, of, target.Stamp(), r.ID, func(ctx context.Context) (bool, error) {
		now, err := r.Deployments.Get(ctx, r.App.Name)
		return now != nil && now.Stamp() == target.Stamp(), err
	})
}

// Liveness reads what became of a run's PipelineRun.
func (r *Release) Liveness(ctx context.Context, id run.ID) record.Liveness {
	_, liveness := r.Created(ctx, id)
	return liveness
}

// Created reads when a run's PipelineRun was made, zero where that cannot be read, and what became of it.
func (r *Release) Created(ctx context.Context, id run.ID) (time.Time, record.Liveness) {
	found, err := r.Cluster.Objects(kube.PipelineRuns, id.Namespace).Get(ctx, id.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return time.Time{}, record.Gone
	case err != nil:
		slog.Warn("PipelineRun not readable", "pipelineRun", id.Name, "error", err.Error())
		return time.Time{}, record.Unknown
	case string(found.GetUID()) != id.UID:
		return time.Time{}, record.Gone
	case finished(found):
		return found.GetCreationTimestamp().Time, record.Finished
	}
	return found.GetCreationTimestamp().Time, record.Live
}

// finished says whether a PipelineRun's condition Succeeded is decided.
func finished(pipelineRun *unstructured.Unstructured) bool {
	conditions, _, _ := unstructured.NestedSlice(pipelineRun.Object, "status", "conditions")
	for _, c := range conditions {
		condition, _ := c.(map[string]any)
		if condition["type"] == "Succeeded" {
			return condition["status"] != "Unknown"
		}
	}
	return false
}
