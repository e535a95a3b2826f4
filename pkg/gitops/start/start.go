package start

import (
	"context"
	"fmt"

	pipeline "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/serin-cd/serin/pkg/cluster/application"
)

// pipelineRuns is all that starting asks of Tekton; the generated client has it as it is.
type pipelineRuns interface {
	Create(context.Context, *pipeline.PipelineRun, metav1.CreateOptions) (*pipeline.PipelineRun, error)
	Get(context.Context, string, metav1.GetOptions) (*pipeline.PipelineRun, error)
	Patch(context.Context, string, types.PatchType, []byte, metav1.PatchOptions, ...string) (
		*pipeline.PipelineRun, error)
}

// Name is the run's name: a delivery that comes twice finds the run of the first. Tekton allows 63 bytes, so an
// application with a long name has fewer digits of its revision in it.
func Name(app, revision string) string {
	return app + "-" + revision[:max(0, min(12, 62-len(app), len(revision)))]
}

// Ensure makes the run that releases a revision, or answers with the one that is there; made tells which.
func Ensure(ctx context.Context, runs pipelineRuns, app application.Application, revision string,
	spec pipeline.PipelineRunSpec) (run *pipeline.PipelineRun, made bool, err error) {
	name := Name(app.Name, revision)
	run, err = runs.Create(ctx, &pipeline.PipelineRun{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, Namespace: app.Namespace, Labels: map[string]string{application.Label: app.Name},
		},
		Spec: spec,
	}, metav1.CreateOptions{})
	if err == nil {
		return run, true, nil
	}
	if !apierrors.IsAlreadyExists(err) {
		return nil, false, fmt.Errorf("starting PipelineRun %s/%s: %w", app.Namespace, name, err)
	}
	run, err = runs.Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, false, fmt.Errorf("reading PipelineRun %s/%s, which was there already: %w", app.Namespace, name, err)
	}
	return run, false, nil
}

// Cancel ends a run gracefully: its finally tasks take the canary back. A run that is gone is no error.
func Cancel(ctx context.Context, runs pipelineRuns, name string) error {
	patch := fmt.Appendf(nil, `{"spec":{"status":%q}}`, pipeline.PipelineRunSpecStatusCancelledRunFinally)
	_, err := runs.Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("cancelling PipelineRun %s: %w", name, err)
	}
	return nil
}
