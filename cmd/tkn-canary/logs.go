package main

import (
	"github.com/spf13/cobra"

	"github.com/serin-cd/serin/internal/logs"
	"github.com/serin-cd/serin/internal/terminal"
	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/release/status"
)

// reading is what logs is told.
type reading struct {
	looking
	run    string
	task   string
	follow bool
}

func logsOf() *cobra.Command {
	r := reading{}
	cmd := &cobra.Command{
		Use:   "logs APP",
		Short: "Print the logs of a run",
		Long: `Print what the steps of a run have logged, in their order: each line begins with its task and
step. With --follow also what they log from now on, until the run ends.

Of a pod that is gone it says so: the report of the run still has the verdict, and explain
shows it.`,
		Example: `  tkn canary logs shop -n production
  tkn canary logs shop -n production --run shop-7 --task stage-20
  tkn canary logs shop -n production --follow`,
		Args:              one,
		ValidArgsFunction: r.complete,
		RunE:              func(cmd *cobra.Command, args []string) error { return r.print(cmd, args[0]) },
	}
	r.cluster.add(cmd)
	f := cmd.Flags()
	addRun(cmd, &r.looking, &r.run)
	f.StringVar(&r.task, "task", "", "name of the task whose steps are printed, such as stage-20 (default: all)")
	f.BoolVarP(&r.follow, "follow", "f", false, "print what is logged until the run ends, too")
	offerValues(cmd, "task", r.tasks)
	return cmd
}

func (r *reading) print(cmd *cobra.Command, name string) error {
	ctx, stop := stoppable(cmd.Context())
	defer stop()
	cluster, namespace, err := r.cluster.connect()
	if err != nil {
		return err
	}
	app := application.Application{Namespace: namespace, Name: name}
	if err := app.Validate(); err != nil {
		return err
	}
	found, err := runOf(ctx, cluster, app, r.run, "reading the logs of")
	if err != nil {
		return err
	}
	p := &logs.Printer{Cluster: cluster, Run: found, Task: r.task, Out: terminal.Writer(cmd.OutOrStdout())}
	if !r.follow {
		return p.Print(ctx)
	}
	if err = p.Follow(ctx); ctx.Err() != nil {
		return nil // whoever follows ends it so
	}
	return err
}

// tasks offers those of the run.
func (r *reading) tasks(cmd *cobra.Command, args []string) ([]string, error) {
	if len(args) == 0 {
		return nil, nil
	}
	cluster, namespace, err := r.cluster.connect()
	if err != nil {
		return nil, err
	}
	app := application.Application{Namespace: namespace, Name: args[0]}
	found, err := runOf(cmd.Context(), cluster, app, r.run, "reading the logs of")
	if err != nil {
		return nil, err
	}
	all, err := status.Tasks(cmd.Context(), cluster, found.ID)
	var names []string
	for _, t := range all {
		names = append(names, t.Name)
	}
	return names, err
}
