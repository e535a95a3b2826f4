package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/serin-cd/serin/internal/explain"
	"github.com/serin-cd/serin/internal/terminal"
	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/release/status"
	"github.com/serin-cd/serin/pkg/task/failure"
)

// explaining is what explain is told.
type explaining struct {
	looking
	run   string
	stage int
}

func explains() *cobra.Command {
	x := explaining{}
	cmd := &cobra.Command{
		Use:   "explain APP",
		Short: "Say in words why a run ended as it did",
		Long: `Say why a stage passed, failed or was inconclusive: what was compared, how much evidence there
is and where its bounds are, which limits held, and what would have changed the verdict, worked
out by the judge from the same intervals.

Of a run that never had a stage it says what ended it. What is no longer known it says, too.`,
		Example: `  tkn canary explain shop -n production
  tkn canary explain shop -n production --run shop-7 --stage 1
  tkn canary explain shop -n production -o json`,
		Args:              one,
		ValidArgsFunction: x.complete,
		RunE:              func(cmd *cobra.Command, args []string) error { return x.explain(cmd, args[0]) },
	}
	x.cluster.add(cmd)
	f := cmd.Flags()
	addRun(cmd, &x.looking, &x.run)
	f.IntVar(&x.stage, "stage", 0, "number of the stage, from 1 (default: the last)")
	offerValues(cmd, "stage", x.stages)
	x.formats(cmd, "table", "json", "yaml")
	return cmd
}

func (x *explaining) explain(cmd *cobra.Command, name string) error {
	if err := formatted(x.output, "table", "json", "yaml"); err != nil {
		return err
	}
	if x.stage < 0 {
		return failure.Configf("reading stage: %d, want a number from 1", x.stage)
	}
	e, err := x.read(cmd.Context(), name)
	if err != nil {
		return err
	}
	if x.output != "table" {
		return encode(cmd.OutOrStdout(), x.output, e)
	}
	return e.Write(terminal.Writer(cmd.OutOrStdout()))
}

func (x *explaining) read(ctx context.Context, name string) (explain.Explanation, error) {
	known, err := x.known(ctx, name)
	if err != nil {
		return explain.Explanation{}, err
	}
	return explain.Of(known, x.stage)
}

func (x *explaining) known(ctx context.Context, name string) (explain.Known, error) {
	cluster, namespace, err := x.cluster.connect()
	if err != nil {
		return explain.Known{}, err
	}
	app := application.Application{Namespace: namespace, Name: name}
	if err := app.Validate(); err != nil {
		return explain.Known{}, err
	}
	r, err := runOf(ctx, cluster, app, x.run, "explaining")
	if err != nil {
		return explain.Known{}, err
	}
	return explain.Read(ctx, cluster, app, r)
}

// runOf is the run of that name, or the newest one, even if its PipelineRun is gone.
func runOf(ctx context.Context, cluster *kube.Cluster, app application.Application, name,
	doing string) (status.Run, error) {
	all, err := status.History(ctx, cluster, app.Namespace)
	if err != nil {
		return status.Run{}, err
	}
	found, ok := chosen(all, app, name)
	if ok {
		return found, nil
	}
	if err := missing(ctx, cluster, app.Namespace, doing+" "+app.String()); err != nil {
		return found, err
	}
	if name == "" {
		return found, failure.Configf("%s %s: it has no run: start one with tkn canary start", doing, app)
	}
	return found, failure.Configf("%s %s: it has no run %s: tkn canary history %s lists those that are known", doing,
		app, name, app.Name)
}

// chosen is the application's run of that name, or without one the newest; false if there is none.
func chosen(all []status.Run, app application.Application, name string) (status.Run, bool) {
	if name == "" {
		return status.Newest(all, app)
	}
	i := slices.IndexFunc(all, func(r status.Run) bool { return r.ID.Name == name && r.App == app.Name })
	if i < 0 {
		return status.Run{}, false
	}
	return all[i], true
}

// stages offers the stages of the run, with their weights.
func (x *explaining) stages(cmd *cobra.Command, args []string) ([]string, error) {
	if len(args) == 0 {
		return nil, nil
	}
	known, err := x.known(cmd.Context(), args[0])
	if err != nil {
		return nil, err
	}
	var all []string
	for i, s := range known.Stages {
		all = append(all, cobra.CompletionWithDesc(fmt.Sprint(i+1), fmt.Sprintf("weight %d", s.Weight)))
	}
	return all, nil
}
