package scale

import (
	"context"
	"fmt"

	tekton "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"knative.dev/pkg/apis"

	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/cluster/mesh"
	"github.com/serin-cd/serin/pkg/release/lease"
	"github.com/serin-cd/serin/pkg/release/weight"
	"github.com/serin-cd/serin/pkg/task/parameter"
	"github.com/serin-cd/serin/pkg/task/run"
)

// state is how an application stands after its release.
type state struct {
	Open      bool
	Outcome   run.Outcome      // of the record; that of the first release where nothing changed
	Weight    parameter.Weight // of the canary, in percent
	Target    int32            // replicas
	Serves    string           // image of the primary
	Ready     int32            // pods of the primary
	Holder    string           // of the Lease
	Succeeded string           // condition of the PipelineRun
	Reported  bool             // a run that changed nothing has nothing to report
}

// want is how an application must stand.
func (a *app) want() state {
	s := state{Outcome: a.ending.outcome, Serves: before, Ready: 1, Succeeded: string(metav1.ConditionFalse),
		Reported: true}
	if a.ending.succeeds() {
		s.Succeeded = string(metav1.ConditionTrue)
	}
	switch a.ending.outcome {
	case run.Promoted:
		s.Serves = after
	case run.Unchanged:
		s.Outcome, s.Reported = run.Initialized, false
	}
	return s
}

// verify compares how all applications stand with how they must.
func (w *world) verify(ctx context.Context) error {
	for _, a := range w.apps {
		got, err := w.state(ctx, a)
		if err != nil {
			return fmt.Errorf("looking at %s: %w", a, err)
		}
		if want := a.want(); got != want {
			w.wrongly("%s (%s) stands as %+v, want %+v", a, a.ending.name, got, want)
		}
	}
	return nil
}

func (w *world) state(ctx context.Context, a *app) (state, error) {
	var s state
	vs, err := w.cluster.VirtualServices(a.Namespace).Get(ctx, a.Name, metav1.GetOptions{})
	if err != nil {
		return s, err
	}
	route, err := weight.Observe(vs, a.Application, mesh.Selection{})
	if err != nil {
		return s, err
	}
	s.Weight, s.Open = route.Weight(), route.Record.Open()
	if route.Record != nil {
		s.Outcome = route.Record.Outcome
	}
	target, err := w.client.AppsV1().Deployments(a.Namespace).Get(ctx, a.Name, metav1.GetOptions{})
	if err != nil {
		return s, err
	}
	primary, err := w.client.AppsV1().Deployments(a.Namespace).Get(ctx, a.Primary(), metav1.GetOptions{})
	if err != nil {
		return s, err
	}
	s.Target, s.Serves, s.Ready = *target.Spec.Replicas, primary.Spec.Template.Spec.Containers[0].Image,
		primary.Status.ReadyReplicas
	held, err := w.client.CoordinationV1().Leases(a.Namespace).Get(ctx, a.Lease(), metav1.GetOptions{})
	if err != nil {
		return s, err
	}
	s.Holder = lease.Holder(held)
	_, err = w.client.CoreV1().ConfigMaps(a.Namespace).Get(ctx, a.Report(a.release()), metav1.GetOptions{})
	s.Reported = err == nil
	s.Succeeded, err = w.condition(ctx, a)
	return s, err
}

// condition is the status of the PipelineRun's condition Succeeded.
func (w *world) condition(ctx context.Context, a *app) (string, error) {
	object, err := w.cluster.Objects(kube.PipelineRuns, a.Namespace).Get(ctx, a.release(), metav1.GetOptions{})
	if err != nil {
		return "", err
	}
	var found tekton.PipelineRun
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &found); err != nil {
		return "", err
	}
	if condition := found.Status.GetCondition(apis.ConditionSucceeded); condition != nil {
		return string(condition.Status), nil
	}
	return "", nil
}
