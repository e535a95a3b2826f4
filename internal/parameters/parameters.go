// Package parameters finds with which parameters an application is released.
package parameters

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"strings"

	tekton "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/release/status"
	"github.com/serin-cd/serin/pkg/task/parameter"
)

// Found are parameters by name. One that is missing has the default of its Task.
type Found struct {
	Values   map[string]string
	Run      string // that they are of, empty where they are a Pipeline's
	Pipeline string // empty where there is none
}

// String says whose they are.
func (f Found) String() string {
	switch {
	case f.Run != "":
		return "PipelineRun " + f.Run
	case f.Pipeline != "":
		return "Pipeline " + f.Pipeline
	}
	return "the defaults"
}

// Outside leaves out the files of a run, which are in its pods.
func (f Found) Outside() Found {
	f.Values = maps.Clone(f.Values)
	for _, file := range []string{"prometheus-token-path", "prometheus-ca-path"} {
		delete(f.Values, file)
	}
	return f
}

// Source says who names Prometheus, where some parameters are given by flags.
func (f Found) Source(given map[string]string) string {
	if given["prometheus-url"] != "" {
		return "--prometheus-url"
	}
	return f.String()
}

// OfRun are those of a PipelineRun, above the defaults of its Pipeline. If it is gone they are those of the
// application's last one.
func OfRun(ctx context.Context, c *kube.Cluster, app application.Application, name, pipeline string) (Found, error) {
	run, err := read[tekton.PipelineRun](ctx, c, kube.PipelineRuns, app.Namespace, name)
	if err != nil {
		return Found{}, err
	}
	if run == nil {
		return Of(ctx, c, app, pipeline)
	}
	return of(ctx, c, run, pipeline)
}

// Of are those of the newest run of an application, or of any in the namespace if it has no name. Where there is none
// they are the defaults of a Pipeline.
func Of(ctx context.Context, c *kube.Cluster, app application.Application, pipeline string) (Found, error) {
	run, err := Last(ctx, c, app)
	if err != nil {
		return Found{}, err
	}
	if run != nil {
		return of(ctx, c, run, pipeline)
	}
	return ofPipeline(ctx, c, app.Namespace, pipeline)
}

// Last is the newest run of an application, or of any in the namespace if it has no name; nil where there is none any
// more.
func Last(ctx context.Context, c *kube.Cluster, app application.Application) (*tekton.PipelineRun, error) {
	all, err := status.Runs(ctx, c, app.Namespace)
	if err != nil {
		return nil, err
	}
	for _, r := range all { // the newest is first
		if app.Name != "" && r.App != app.Name {
			continue
		}
		if run, err := read[tekton.PipelineRun](ctx, c, kube.PipelineRuns, app.Namespace, r.ID.Name); err != nil ||
			run != nil {
			return run, err
		}
	}
	return nil, nil
}

// Once are the parameters that say what a single run releases: the next one does not take them over.
var Once = []string{"image", "to-revision", "skip-analysis"}

// of lays the parameters of a run above those of the Pipeline that it has, or had.
func of(ctx context.Context, c *kube.Cluster, run *tekton.PipelineRun, pipeline string) (Found, error) {
	var f Found
	var err error
	switch {
	case run.Status.PipelineSpec != nil:
		f = Found{Values: defaults(run.Status.PipelineSpec)}
	case run.Spec.PipelineSpec != nil:
		f = Found{Values: defaults(run.Spec.PipelineSpec)}
	case run.Spec.PipelineRef != nil:
		pipeline = cmp.Or(run.Spec.PipelineRef.Name, pipeline)
		fallthrough
	default:
		if f, err = ofPipeline(ctx, c, run.Namespace, pipeline); err != nil {
			return f, err
		}
	}
	if run.Spec.PipelineRef != nil {
		f.Pipeline = run.Spec.PipelineRef.Name
	}
	given := map[string]string{}
	for _, p := range run.Spec.Params {
		if p.Value.Type == tekton.ParamTypeString {
			given[p.Name] = p.Value.StringVal
		}
	}
	maps.Copy(f.Values, given)
	f.Run = run.Name
	return f, nil
}

func ofPipeline(ctx context.Context, c *kube.Cluster, namespace, name string) (Found, error) {
	found, err := read[tekton.Pipeline](ctx, c, kube.Pipelines, namespace, name)
	if err != nil || found == nil {
		return Found{Values: map[string]string{}}, err
	}
	return Found{Values: defaults(&found.Spec), Pipeline: name}, nil
}

// defaults are those of a Pipeline's parameters, and what it gives to its tasks itself.
func defaults(p *tekton.PipelineSpec) map[string]string {
	values := map[string]string{}
	for _, t := range p.Tasks {
		for _, given := range t.Params {
			if _, there := values[given.Name]; !there && given.Value.Type == tekton.ParamTypeString &&
				!strings.Contains(given.Value.StringVal, "$(") {
				values[given.Name] = given.Value.StringVal
			}
		}
	}
	for _, offered := range p.Params {
		if offered.Default != nil && offered.Default.Type == tekton.ParamTypeString {
			values[offered.Name] = offered.Default.StringVal
		}
	}
	return values
}

// Default is the value that a run of a Pipeline has for a parameter that it is not told, empty for none.
func Default(p *tekton.Pipeline, name string) string { return defaults(&p.Spec)[name] }

// read is an object of Tekton's, nil where there is none.
func read[T any](ctx context.Context, c *kube.Cluster, kind schema.GroupVersionResource, namespace,
	name string) (*T, error) {
	object, err := c.Objects(kind, namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err == nil {
		var into T
		if err = runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &into); err == nil {
			return &into, nil
		}
	}
	return nil, fmt.Errorf("reading %s %s/%s: %w", kind.Resource, namespace, name, err)
}

// Decode fills a configuration with those of the parameters that it has, and with others above them.
func Decode[C any](ctx context.Context, f Found, above map[string]string, config *C) error {
	values := map[string]string{}
	for _, p := range parameter.Of(*config) {
		for _, from := range []map[string]string{f.Values, above} {
			if value, there := from[p.Name]; there && !strings.Contains(value, "$(") {
				values[p.Name] = value
			}
		}
	}
	return parameter.Decode(ctx, values, config)
}
