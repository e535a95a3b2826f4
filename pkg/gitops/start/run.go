package start

import (
	"context"
	"fmt"
	"slices"
	"strings"

	pipeline "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/gitops/limits"
	"github.com/serin-cd/serin/pkg/task/failure"
)

// pipelines is all that starting asks of Tekton's Pipelines; the generated client has it as it is.
type pipelines interface {
	Get(context.Context, string, metav1.GetOptions) (*pipeline.Pipeline, error)
}

// StarterAnnotation is on each run that was started so: the identity of the run that started it, which cancels it when
// it is cancelled itself.
const StarterAnnotation = "serin.dev/started-by"

// find reads the Pipeline that releases an application.
func find(ctx context.Context, from pipelines, namespace, name string) (*pipeline.Pipeline, error) {
	p, err := from.Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, failure.Configf("starting releases: namespace %s has no Pipeline %s: install Serin there, or name "+
			"another in parameter pipeline or annotation %s", namespace, name, PipelineAnnotation)
	}
	if err != nil {
		return nil, fmt.Errorf("reading Pipeline %s/%s: %w", namespace, name, err)
	}
	return p, nil
}

// runOf is the run of a Pipeline that releases a change.
func runOf(p *pipeline.Pipeline, c Change, parameters map[string]string, account, starter string) (
	*pipeline.PipelineRun, error) {
	r := &pipeline.PipelineRun{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: c.App.Namespace, Labels: map[string]string{application.Label: c.App.Name},
			Annotations: map[string]string{application.RevisionAnnotation: c.Revision, StarterAnnotation: starter},
		},
		Spec: pipeline.PipelineRunSpec{
			PipelineRef:     &pipeline.PipelineRef{Name: p.Name},
			TaskRunTemplate: pipeline.PipelineTaskRunTemplate{ServiceAccountName: account},
			Timeouts:        limits.Of(p.Spec),
		},
	}
	given := c.over(parameters)
	for _, offered := range p.Spec.Params {
		if value, there := given[offered.Name]; there {
			r.Spec.Params = append(r.Spec.Params, pipeline.Param{Name: offered.Name,
				Value: *pipeline.NewStructuredValues(value)})
			delete(given, offered.Name)
		}
	}
	delete(given, onBusy) // which a Pipeline may do without
	if len(given) > 0 {
		var unknown []string
		for name := range given {
			unknown = append(unknown, name)
		}
		slices.Sort(unknown)
		return nil, failure.Configf("starting the release of %s: Pipeline %s has no parameter %s: see its page",
			c.App, p.Name, strings.Join(unknown, ", "))
	}
	return r, nil
}
