package start

import (
	"context"
	"fmt"
	"strconv"

	pipeline "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/serin-cd/serin/pkg/cluster/application"
)

// pipelineRuns is all that starting asks of Tekton's runs; the generated client has it as it is.
type pipelineRuns interface {
	Create(context.Context, *pipeline.PipelineRun, metav1.CreateOptions) (*pipeline.PipelineRun, error)
	Get(context.Context, string, metav1.GetOptions) (*pipeline.PipelineRun, error)
	Patch(context.Context, string, types.PatchType, []byte, metav1.PatchOptions, ...string) (
		*pipeline.PipelineRun, error)
}

// maxName is Tekton's longest name of a run.
const maxName = 63

// Name is the run's name: whoever is told twice of a revision finds the run that was made first. The first attempt at a
// revision has no number. An application with a long name has fewer digits of its revision in it.
func Name(app, revision string, attempt int) string {
	number := ""
	if attempt > 1 {
		number = "-" + strconv.Itoa(attempt)
	}
	return app + "-" + revision[:max(0, min(12, maxName-len(app)-1-len(number), len(revision)))] + number
}

// ensure makes the run that releases a revision, or answers with the one that does already; made tells which. A
// revision that was released before may be released again, and one whose run has failed too, unless its canary was
// judged to be bad: over says whether a run that has ended is the answer.
func ensure(ctx context.Context, runs pipelineRuns, wanted *pipeline.PipelineRun,
	over func(*pipeline.PipelineRun) (bool, error)) (run *pipeline.PipelineRun, made bool, err error) {
	app, revision := wanted.Labels[application.Label], wanted.Annotations[application.RevisionAnnotation]
	for attempt := 1; ; attempt++ {
		wanted.Name = Name(app, revision, attempt)
		run, err = runs.Create(ctx, wanted, metav1.CreateOptions{})
		if err == nil {
			return run, true, nil
		}
		if !apierrors.IsAlreadyExists(err) {
			return nil, false, fmt.Errorf("starting PipelineRun %s/%s: %w", wanted.Namespace, wanted.Name, err)
		}
		run, err = runs.Get(ctx, wanted.Name, metav1.GetOptions{})
		if err != nil {
			return nil, false, fmt.Errorf("reading PipelineRun %s/%s, which was there already: %w", wanted.Namespace,
				wanted.Name, err)
		}
		if run.Annotations[application.RevisionAnnotation] != revision {
			continue // another's, or of a revision that begins likewise
		}
		if !run.IsDone() {
			return run, false, nil
		}
		answers, err := over(run)
		if answers || err != nil {
			return run, false, err
		}
	}
}

// Cancel ends a run gracefully: its finally tasks take the canary back. A run that is gone, or has ended, is no error.
func Cancel(ctx context.Context, runs pipelineRuns, name string) error {
	patch := fmt.Appendf(nil, `{"spec":{"status":%q}}`, pipeline.PipelineRunSpecStatusCancelledRunFinally)
	_, err := runs.Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("cancelling PipelineRun %s: %w", name, err)
	}
	return nil
}
