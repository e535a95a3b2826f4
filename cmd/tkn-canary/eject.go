package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"

	"github.com/spf13/cobra"
	tekton "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/serin-cd/serin/internal/exporting"
	"github.com/serin-cd/serin/internal/outside"
	"github.com/serin-cd/serin/internal/parameters"
	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/autoscaler"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/release"
	"github.com/serin-cd/serin/pkg/release/handover"
	"github.com/serin-cd/serin/pkg/task/failure"
	"github.com/serin-cd/serin/pkg/task/parameter"
)

// ejecting is what eject and remove are told.
type ejecting struct {
	handing
	to       string
	apply    bool
	yes      bool
	pipeline string
	given    map[string]string // of how pods are waited for
}

func ejects() *cobra.Command {
	e := ejecting{given: map[string]string{}}
	cmd := &cobra.Command{
		Use:   "eject APP",
		Short: "Give an application back to its Deployment, or to Flagger",
		Long: `Give an application back to its own Deployment, without an object of Serin's left and without a
request lost: the Deployment gets the version that serves, and as many pods, then the traffic.
Once nobody sends to the primary any more, as the last run's Prometheus tells, it goes, with all
that Serin has made. If that cannot be asked, it is waited for a minute.

With --to flagger it is left as Flagger leaves an application that it has released, and the
Canary that goes on with it is written, from the parameters of the last run. --apply makes it.

While a run has the application, it is refused. If it ends halfway, run it again.`,
		Example: `  tkn canary eject shop -n production
  tkn canary eject shop -n production --to flagger > canary.yaml
  tkn canary eject shop -n production --to flagger --apply`,
		Args:              one,
		ValidArgsFunction: e.complete,
		RunE:              func(cmd *cobra.Command, args []string) error { return e.eject(cmd, args[0]) },
	}
	e.add(cmd)
	f := cmd.Flags()
	f.StringVar(&e.to, "to", "", "flagger: leave it to Flagger, and write the Canary")
	f.BoolVar(&e.apply, "apply", false, "with --to flagger: make the Canary, which Flagger then goes on with")
	f.StringVar(&e.pipeline, "pipeline", "canary",
		"with --to flagger: Pipeline whose weights and defaults it takes where the last PipelineRun is gone")
	offer(cmd, e.given, parameter.Of(release.Settling{}))
	return cmd
}

func (e *ejecting) eject(cmd *cobra.Command, name string) error {
	if e.to != "" && e.to != "flagger" {
		return failure.Configf("reading to: %q, want flagger, or nothing for the Deployment", e.to)
	}
	if e.apply && e.to == "" {
		return failure.Configf("reading apply: there is nothing to apply without --to flagger")
	}
	ctx, stop := stoppable(cmd.Context())
	defer stop()
	cluster, app, err := e.begin(ctx, name)
	if err != nil {
		return err
	}
	var settling release.Settling
	if err := parameter.Decode(ctx, e.given, &settling); err != nil {
		return err
	}
	config, _, err := e.cluster.config()
	if err != nil {
		return err
	}
	left, err := handover.Leave(ctx, cluster, app, settling.Deadline())
	if err != nil {
		return fmt.Errorf("ejecting %s: %w", app, err)
	}
	left.Drain(e.drained(outside.Machine{Cluster: cluster, Config: config, Namespace: app.Namespace},
		cmd.OutOrStdout()))
	if e.to == "flagger" {
		return e.toFlagger(ctx, cmd.OutOrStdout(), cluster, app, left)
	}
	plan, err := left.Plain(ctx)
	if err != nil {
		return fmt.Errorf("ejecting %s: %w", app, err)
	}
	out := handed{App: app.String()}
	if err := e.do(ctx, plan, cmd.OutOrStdout(), &out); err != nil {
		return err
	}
	return e.print(cmd.OutOrStdout(), out)
}

// drained waits until nobody sends to the primary any more, as the Prometheus of the last run tells.
func (e *ejecting) drained(m outside.Machine, w io.Writer) func(context.Context, *release.Release) error {
	return func(ctx context.Context, r *release.Release) error {
		closed, way := m.Observe(ctx, r, e.given)
		defer closed()
		if e.output == "table" {
			fmt.Fprintf(w, "%s: %s\n", r.App, way)
		}
		return r.Drain(ctx)
	}
}

// toFlagger writes the Canary to standard output, and tells of the steps beside it.
func (e *ejecting) toFlagger(ctx context.Context, w io.Writer, cluster *kube.Cluster, app application.Application,
	left *handover.Ejection) error {
	written, err := e.canary(ctx, cluster, app)
	if err != nil {
		return err
	}
	made := written.Canary
	if !e.apply {
		made = nil
	}
	plan, err := left.ToFlagger(ctx, made)
	if err != nil {
		return fmt.Errorf("ejecting %s: %w", app, err)
	}
	out := handed{App: app.String()}
	if err := e.do(ctx, plan, os.Stderr, &out); err != nil {
		return err
	}
	out.Notes = append(out.Notes, written.Notes...)
	if e.output != "table" {
		return encode(w, e.output, struct {
			handed
			Canary map[string]any `json:"canary"`
		}{out, written.Canary.Object})
	}
	for _, note := range out.Notes {
		if _, err := fmt.Fprintf(w, "# %s\n", note); err != nil {
			return err
		}
	}
	return encode(w, "yaml", written.Canary.Object)
}

// canary is that which goes on with the application.
func (e *ejecting) canary(ctx context.Context, cluster *kube.Cluster,
	app application.Application) (exporting.Exported, error) {
	s := exporting.Source{App: app, Parameters: map[string]string{}}
	notes, err := e.parameters(ctx, cluster, &s)
	if err != nil {
		return exporting.Exported{}, err
	}
	for _, of := range []struct {
		kind schema.GroupVersionResource
		name string
		into **unstructured.Unstructured
	}{
		{kube.Services, app.Name, &s.Service}, {kube.VirtualServices, app.Name, &s.Route},
		{kube.DestinationRules, app.Primary(), &s.Rule},
	} {
		found, err := cluster.Objects(of.kind, app.Namespace).Get(ctx, of.name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) && of.into == &s.Rule {
			continue
		}
		if apierrors.IsNotFound(err) {
			return exporting.Exported{}, failure.Configf("writing the Canary of %s: there is no %s %s in namespace %s",
				app, of.kind.Resource, of.name, app.Namespace)
		}
		if err != nil {
			return exporting.Exported{}, fmt.Errorf("reading %s %s: %w", of.kind.Resource, of.name, err)
		}
		*of.into = found
	}
	if s.Autoscaler, err = scalerOf(ctx, cluster, app, s.Parameters["autoscaler"]); err != nil {
		return exporting.Exported{}, err
	}
	written, err := exporting.Flagger(s)
	written.Notes = append(notes, written.Notes...)
	return written, err
}

// scalerOf is the autoscaler of the application's Deployment, as KIND/NAME, empty for none. choice is the run's.
func scalerOf(ctx context.Context, cluster *kube.Cluster, app application.Application, choice string) (string, error) {
	a := autoscaler.Autoscalers{HPAs: cluster.Objects(kube.HPAs, app.Namespace),
		ScaledObjects: cluster.Objects(kube.ScaledObjects, app.Namespace), App: app}
	found, err := a.Find(ctx, autoscaler.Choice(cmp.Or(choice, string(autoscaler.Auto))), "")
	if err != nil && found.Reference().Kind == "" {
		return "", err
	}
	return found.Reference().String(), nil // whatever Serin would refuse about it
}

// parameters are those of the last run, with the weights of its Pipeline.
func (e *ejecting) parameters(ctx context.Context, cluster *kube.Cluster, s *exporting.Source) (notes []string,
	err error) {
	found, err := parameters.Of(ctx, cluster, s.App, e.pipeline)
	if err != nil {
		return nil, err
	}
	if s.Parameters = found.Outside().Values; found.Run == "" {
		notes = append(notes, "the application has no PipelineRun any more: the analysis is that of "+found.String())
	}
	p, err := pipelineOf(ctx, cluster, s.App.Namespace, cmp.Or(found.Pipeline, e.pipeline))
	switch {
	case errors.Is(err, failure.ErrConfig):
		notes = append(notes, "its Pipeline is gone: the weights are 20, 40 and 60")
		s.Weights = []int{20, 40, 60}
		return notes, nil
	case err != nil:
		return nil, err
	}
	if s.Weights = weightsOf(p); len(s.Weights) == 0 {
		notes = append(notes, "Pipeline "+p.Name+" has no stages by weight: the weights are 20, 40 and 60")
		s.Weights = []int{20, 40, 60}
	}
	return notes, nil
}

// weightsOf are the weights of a Pipeline's stages, ascending.
func weightsOf(p *tekton.Pipeline) []int {
	var all []int
	for _, task := range p.Spec.Tasks {
		for _, given := range task.Params {
			if n, err := strconv.Atoi(given.Value.StringVal); err == nil && given.Name == "weight" {
				all = append(all, n)
			}
		}
	}
	slices.Sort(all)
	return all
}

func removes() *cobra.Command {
	e := ejecting{}
	cmd := &cobra.Command{
		Use:   "remove APP",
		Short: "Delete what Serin has made for an application that goes away",
		Long: `Delete what Serin has made for an application: the primary, which serves, its Services, routes
and copies, and the reports. It is for an application that goes away altogether, before or after
its chart. What is yours stays, such as the Deployment, and nobody is served any more.

To have the Deployment serve instead, use tkn canary eject.`,
		Example: `  tkn canary remove shop -n production
  tkn canary remove shop -n production --yes`,
		Args:              one,
		ValidArgsFunction: e.complete,
		RunE:              func(cmd *cobra.Command, args []string) error { return e.remove(cmd, args[0]) },
	}
	e.add(cmd)
	cmd.Flags().BoolVarP(&e.yes, "yes", "y", false, "do it: without it, what would be deleted is only named")
	return cmd
}

func (e *ejecting) remove(cmd *cobra.Command, name string) error {
	ctx, stop := stoppable(cmd.Context())
	defer stop()
	cluster, app, err := e.begin(ctx, name)
	if err != nil {
		return err
	}
	left, err := handover.Leave(ctx, cluster, app, 0)
	if err != nil {
		return fmt.Errorf("removing %s: %w", app, err)
	}
	plan, err := left.Remove(ctx)
	if err != nil {
		return fmt.Errorf("removing %s: %w", app, err)
	}
	asked := !e.yes && !e.dry && len(plan.Steps) > 0
	e.dry = e.dry || asked
	out := handed{App: app.String()}
	if err := e.do(ctx, plan, cmd.OutOrStdout(), &out); err != nil {
		return err
	}
	if err := e.print(cmd.OutOrStdout(), out); err != nil || !asked {
		return err
	}
	return failure.Configf("removing %s: nothing was deleted: say --yes if that is what you want", app)
}
