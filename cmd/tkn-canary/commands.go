package main

import (
	"fmt"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/serin-cd/serin/internal/pipeline"
	"github.com/serin-cd/serin/tasks"
)

func root() *cobra.Command {
	cmd := &cobra.Command{
		Use:           "tkn-canary",
		Short:         "Release by canary with Tekton",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	cmd.AddCommand(render(), replays(), record(), abort(), version())
	cmd.SetFlagErrorFunc(refused)
	return cmd
}

func render() *cobra.Command {
	plan := pipeline.Shipped()
	cmd := &cobra.Command{
		Use:   "render",
		Short: "Write the Pipeline for a list of weights",
		Long: `Write the Pipeline that releases an application at a list of weights.

Without a stage timeout the stages share the hour after which Tekton ends a run by
default, so that finally is always reached. With one, the first lines of the output
say which timeouts.pipeline its runs need.`,
		Example: "  tkn canary render --weights 10,50,90 --name canary-thirds | kubectl apply -f -",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return write(cmd, plan) },
	}
	f := cmd.Flags()
	f.IntSliceVar(&plan.Weights, "weights", plan.Weights, "the canary's share at each stage, in percent, ascending")
	f.StringVar(&plan.Name, "name", plan.Name, "name of the Pipeline")
	f.DurationVar(&plan.StageTimeout, "stage-timeout", plan.StageTimeout,
		"how long a stage may take (default: what fits into an hour)")
	f.DurationVar(&plan.BusyTimeout, "busy-timeout", plan.BusyTimeout,
		"how long a run may wait for another, with on-busy=wait")
	return cmd
}

func write(cmd *cobra.Command, plan pipeline.Plan) error {
	known, err := pipeline.ReadTasks(tasks.Files)
	if err != nil {
		return err
	}
	canary, err := pipeline.Canary(known, plan)
	if err != nil {
		return err
	}
	text, err := pipeline.Write(cmd.Context(), plan.Comment(), canary)
	if err != nil {
		return err
	}
	_, err = cmd.OutOrStdout().Write(text)
	return err
}

func version() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			built := ""
			if info, ok := debug.ReadBuildInfo(); ok {
				built = " (" + info.Main.Version + ", " + info.GoVersion + ")"
			}
			_, err := fmt.Fprintln(cmd.OutOrStdout(), pipeline.Version+built)
			return err
		},
	}
}
