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
		Annotations:   map[string]string{cobra.CommandDisplayNameAnnotation: "tkn canary"},
	}
	cmd.AddCommand(imports(), adopts(), render(), starts(), statuses(), watches(), histories(), lists(), applications(),
		explains(),
		logsOf(), abort(), rollsBack(), ejects(), removes(), doctors(), replays(), record(), version())
	cmd.SetFlagErrorFunc(refused)
	cmd.SetHelpCommand(helps())
	return cmd
}

func write(cmd *cobra.Command, plan pipeline.Plan) error {
	known, err := pipeline.ReadTasks(tasks.Files)
	if err != nil {
		return err
	}
	canary, err := pipeline.Render(known, plan)
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
		Long: `Print the version of tkn canary, which is that of the Tasks and Pipelines that it writes, and what it
was built from.`,
		Example: "  tkn canary version",
		Args:    none,
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
