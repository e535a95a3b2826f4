package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	tekton "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/serin-cd/serin/internal/importing"
	"github.com/serin-cd/serin/internal/parameters"
	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/gitops/limits"
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
	skip     string        // why there is no analysis
	keep     time.Duration // of a failed canary's pods
	back     string        // revision that is gone back to
}

func starts() *cobra.Command {
	s := starting{}
	cmd := &cobra.Command{
		Use:   "start APP",
		Short: "Start a release",
		Long: `Start the Pipeline that releases an application: a PipelineRun is made, with the
parameters that are given. Those that the Pipeline does not have are errors.

With --last it takes over the Pipeline and the parameters of the application's last run,
but for what is released: image, and the parameters of a run that went back.

With --skip-analysis the version is promoted as soon as its pods are ready: no stage sends it
traffic or judges it. The record, the report and the history say who wanted that, and why.
With --keep-failed the pods of a canary that fails stay up at weight 0 for a look.`,
		Example: `  tkn canary start shop -n production --image registry.example.com/shop:1.5.0 --watch
  tkn canary start shop -n production --last --dry-run
  tkn canary start shop --last --image registry.example.com/shop:1.5.1 --skip-analysis 'checkout is broken'
  tkn canary start shop --pipeline canary-slow --param interval=2m --keep-failed 1h`,
		Args:              one,
		ValidArgsFunction: s.complete,
		RunE:              func(cmd *cobra.Command, args []string) error { return s.start(cmd, args[0]) },
	}
	s.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&s.image, "image", "", "image to release (default: what the Deployment has)")
	f.BoolVar(&s.last, "last", false, "take over the Pipeline and the parameters of the last run")
	f.StringVar(&s.skip, "skip-analysis", "", "release without analysis, for this reason")
	f.DurationVar(&s.keep, "keep-failed", 0, "keep the pods of a canary that fails up for so long, at most 24h")
	return cmd
}

// flags are those of each command that starts a run.
func (s *starting) flags(cmd *cobra.Command) {
	s.cluster.add(cmd)
	f := cmd.Flags()
	f.StringVar(&s.pipeline, "pipeline", "canary",
		"name of the Pipeline; if it is not given, --last takes that of the last run")
	f.StringVar(&s.account, "service-account", "serin", "ServiceAccount of the run")
	f.StringArrayVarP(&s.given, "param", "p", nil, "parameter of the Pipeline, as NAME=VALUE; may be repeated")
	f.BoolVarP(&s.watch, "watch", "w", false, "follow the run until it ends; the exit code says how")
	f.BoolVar(&s.dry, "dry-run", false, "print the PipelineRun, as YAML unless --output says json, and start nothing")
	f.StringVarP(&s.output, "output", "o", "table", "table, or the PipelineRun as json or yaml; with --watch "+
		"a line of json or a document of yaml a change")
	s.offerFormats(cmd, "table", "json", "yaml")
	offerValues(cmd, "pipeline", s.named(kube.Pipelines))
}

func (s *starting) start(cmd *cobra.Command, name string) error {
	ctx := cmd.Context()
	if err := formatted(s.output, "table", "json", "yaml"); err != nil {
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
	if s.back != "" {
		if err := idle(ctx, cluster, app); err != nil {
			return err
		}
	}
	told, err := s.parameters(ctx, cluster, app, cmd.Flags().Changed("pipeline"))
	if err != nil {
		return err
	}
	pipeline, err := pipelineOf(ctx, cluster, namespace, s.pipeline)
	if err != nil {
		return err
	}
	wanted, err := s.runOf(pipeline, app, told)
	if err != nil {
		return err
	}
	if s.dry {
		if s.output == "table" {
			s.output = "yaml"
		}
		return encode(cmd.OutOrStdout(), s.output, wanted)
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
	if !s.watch && s.output != "table" {
		return encode(cmd.OutOrStdout(), s.output, made.Object)
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
	if s.last || s.back != "" {
		last, err := parameters.Last(ctx, cluster, app)
		if err != nil {
			return nil, err
		}
		if last == nil && (s.last || len(s.given) == 0) {
			return nil, failure.Configf("starting the release of %s: it has no last run: give its parameters with "+
				"--param", app)
		}
		if last == nil {
			last = &tekton.PipelineRun{}
		}
		for _, p := range last.Spec.Params {
			if !slices.Contains(parameters.Once, p.Name) {
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
	if s.back != "" {
		all["to-revision"] = s.back
	}
	if s.keep != 0 {
		all["keep-failed"] = s.keep.String()
	}
	if s.skip != "" {
		who, err := s.cluster.user(ctx)
		if err != nil {
			return nil, err
		}
		all["skip-analysis"] = who + ": " + s.skip
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

func pipelineOf(ctx context.Context, cluster *kube.Cluster, namespace, name string) (*tekton.Pipeline, error) {
	object, err := cluster.Objects(kube.Pipelines, namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) && kube.Unserved(err) == "" {
		if err := missing(ctx, cluster, namespace, "starting a release"); err != nil {
			return nil, err
		}
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
	told map[string]string) (*tekton.PipelineRun, error) {
	if err := importing.Known(p, told); err != nil {
		return nil, err
	}
	r := &tekton.PipelineRun{
		TypeMeta:   metav1.TypeMeta{APIVersion: "tekton.dev/v1", Kind: "PipelineRun"},
		ObjectMeta: metav1.ObjectMeta{GenerateName: app.Name + "-", Namespace: app.Namespace},
		Spec: tekton.PipelineRunSpec{
			PipelineRef:     &tekton.PipelineRef{Name: p.Name},
			TaskRunTemplate: tekton.PipelineTaskRunTemplate{ServiceAccountName: s.account},
			Timeouts:        limits.Of(p.Spec),
		},
	}
	for _, offered := range p.Spec.Params {
		if value, given := told[offered.Name]; given {
			r.Spec.Params = append(r.Spec.Params, tekton.Param{Name: offered.Name,
				Value: *tekton.NewStructuredValues(value)})
		}
	}
	return r, nil
}
