package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	tekton "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/serin-cd/serin/internal/importing"
	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/release/status"
	"github.com/serin-cd/serin/pkg/task/failure"
)

// starting is what start is told.
type starting struct {
	looking
	pipeline string
	account  string
	image    string
	given    []string // parameters
	last     bool
	watch    bool
	dry      bool
}

func starts() *cobra.Command {
	s := starting{}
	cmd := &cobra.Command{
		Use:   "start APP",
		Short: "Start a release",
		Long: `Start the Pipeline that releases an application: a PipelineRun is made, with the
parameters that are given. Those that the Pipeline does not have are errors.

With --last it takes over the Pipeline and the parameters of the application's last run,
but for the image.`,
		Example: `  tkn canary start shop -n production --image registry.example.com/shop:1.5.0 --watch
  tkn canary start shop -n production --last --dry-run
  tkn canary start shop --pipeline canary-slow --param interval=2m --param success-rate=99.9`,
		Args:              one,
		ValidArgsFunction: s.complete,
		RunE:              func(cmd *cobra.Command, args []string) error { return s.start(cmd, args[0]) },
	}
	s.cluster.add(cmd)
	f := cmd.Flags()
	f.StringVar(&s.pipeline, "pipeline", "canary", "name of the Pipeline")
	f.StringVar(&s.account, "service-account", "serin", "ServiceAccount of the run")
	f.StringVar(&s.image, "image", "", "image to release (default: what the Deployment has)")
	f.StringArrayVarP(&s.given, "param", "p", nil, "parameter of the Pipeline, as NAME=VALUE; may be repeated")
	f.BoolVar(&s.last, "last", false, "take over the Pipeline and the parameters of the last run")
	f.BoolVarP(&s.watch, "watch", "w", false, "follow the run until it ends; the exit code says how")
	f.BoolVar(&s.dry, "dry-run", false, "print the PipelineRun as YAML, and start nothing")
	f.StringVarP(&s.output, "output", "o", "table", "with --watch: table, or json for a line of JSON a change")
	return cmd
}

func (s *starting) start(cmd *cobra.Command, name string) error {
	ctx := cmd.Context()
	if err := formatted(s.output, "table", "json"); err != nil {
		return err
	}
	cluster, namespace, err := s.cluster.connect()
	if err != nil {
		return err
	}
	app := application.Application{Namespace: namespace, Name: name}
	if err := app.Validate(); err != nil {
		return err
	}
	parameters, err := s.parameters(ctx, cluster, app, cmd.Flags().Changed("pipeline"))
	if err != nil {
		return err
	}
	pipeline, err := pipelineOf(ctx, cluster, namespace, s.pipeline)
	if err != nil {
		return err
	}
	wanted, err := s.runOf(pipeline, app, parameters)
	if err != nil {
		return err
	}
	if s.dry {
		return encode(cmd.OutOrStdout(), "yaml", wanted)
	}
	object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(wanted)
	if err != nil {
		return err
	}
	made, err := cluster.Objects(kube.PipelineRuns, namespace).Create(ctx, &unstructured.Unstructured{Object: object},
		metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("starting the release of %s: %w", app, err)
	}
	r, _, err := status.RunOf(made)
	if err != nil {
		return err
	}
	if !s.watch {
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "run %s started: follow it with tkn canary watch %s -n %s\n", r.ID.Name,
			name, namespace)
		return err
	}
	return follow(cmd, cluster, r, s.output, false)
}

// parameters are those that were given, above those of the last run if they are asked for.
func (s *starting) parameters(ctx context.Context, cluster *kube.Cluster, app application.Application,
	named bool) (map[string]string, error) {
	all := map[string]string{}
	if s.last {
		last, err := s.lastOf(ctx, cluster, app)
		if err != nil {
			return nil, err
		}
		for _, p := range last.Spec.Params {
			if p.Name != "image" {
				all[p.Name] = p.Value.StringVal
			}
		}
		if last.Spec.PipelineRef != nil && !named {
			s.pipeline = last.Spec.PipelineRef.Name
		}
	}
	if err := assign(all, s.given); err != nil {
		return nil, err
	}
	if s.image != "" {
		all["image"] = s.image
	}
	all["app"] = app.Name
	return all, nil
}

// assign takes over parameters that are given as NAME=VALUE.
func assign(to map[string]string, given []string) error {
	for _, text := range given {
		name, value, ok := strings.Cut(text, "=")
		if !ok || name == "" {
			return failure.Configf("reading param: %q, want NAME=VALUE", text)
		}
		to[name] = value
	}
	return nil
}

// lastOf is the newest run of an application.
func (s *starting) lastOf(ctx context.Context, cluster *kube.Cluster, app application.Application) (*tekton.PipelineRun,
	error) {
	all, err := status.Runs(ctx, cluster, app.Namespace)
	if err != nil {
		return nil, err
	}
	for _, r := range all { // the newest is first
		if r.App != app.Name {
			continue
		}
		object, err := cluster.Objects(kube.PipelineRuns, app.Namespace).Get(ctx, r.ID.Name, metav1.GetOptions{})
		if err != nil {
			return nil, fmt.Errorf("reading PipelineRun %s/%s: %w", app.Namespace, r.ID.Name, err)
		}
		var last tekton.PipelineRun
		err = runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &last)
		return &last, err
	}
	return nil, failure.Configf("starting the release of %s: it has no last run: name its parameters", app)
}

func pipelineOf(ctx context.Context, cluster *kube.Cluster, namespace, name string) (*tekton.Pipeline, error) {
	object, err := cluster.Objects(kube.Pipelines, namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, failure.Configf("starting a release: namespace %s has no Pipeline %s: install Serin there, or "+
			"name another with --pipeline", namespace, name)
	}
	if err != nil {
		return nil, fmt.Errorf("reading Pipeline %s/%s: %w", namespace, name, err)
	}
	var p tekton.Pipeline
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &p); err != nil {
		return nil, fmt.Errorf("reading Pipeline %s/%s: %w", namespace, name, err)
	}
	return &p, nil
}

// runOf is a run of a Pipeline.
func (s *starting) runOf(p *tekton.Pipeline, app application.Application,
	parameters map[string]string) (*tekton.PipelineRun, error) {
	if err := importing.Known(p, parameters); err != nil {
		return nil, err
	}
	r := &tekton.PipelineRun{
		TypeMeta:   metav1.TypeMeta{APIVersion: "tekton.dev/v1", Kind: "PipelineRun"},
		ObjectMeta: metav1.ObjectMeta{GenerateName: app.Name + "-", Namespace: app.Namespace},
		Spec: tekton.PipelineRunSpec{
			PipelineRef:     &tekton.PipelineRef{Name: p.Name},
			TaskRunTemplate: tekton.PipelineTaskRunTemplate{ServiceAccountName: s.account},
			Timeouts:        timeoutsOf(p.Spec),
		},
	}
	for _, offered := range p.Spec.Params {
		if value, given := parameters[offered.Name]; given {
			r.Spec.Params = append(r.Spec.Params, tekton.Param{Name: offered.Name,
				Value: *tekton.NewStructuredValues(value)})
		}
	}
	return r, nil
}

// timeoutsOf are those that a run of a Pipeline needs whose tasks follow one another, nil where Tekton's hour will do.
func timeoutsOf(p tekton.PipelineSpec) *tekton.TimeoutFields {
	sum := func(tasks []tekton.PipelineTask) (all time.Duration) {
		for _, t := range tasks {
			if t.Timeout != nil {
				all += time.Duration(1+t.Retries) * t.Timeout.Duration
			}
		}
		return all + 30*time.Second // for Tekton itself
	}
	tasks, finally := sum(p.Tasks), sum(p.Finally)
	if tasks+finally <= time.Hour {
		return nil
	}
	return &tekton.TimeoutFields{
		Pipeline: &metav1.Duration{Duration: tasks + finally}, Tasks: &metav1.Duration{Duration: tasks},
		Finally: &metav1.Duration{Duration: finally},
	}
}
