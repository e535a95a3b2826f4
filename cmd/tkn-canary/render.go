package main

import (
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/serin-cd/serin/internal/pipeline"
)

func render() *cobra.Command {
	plan := pipeline.Shipped()
	cmd := &cobra.Command{
		Use:   "render",
		Short: "Write the Pipeline for a list of weights, with time-outs that fit",
		Long: `Write the Pipeline that releases an application at a list of weights.

Each task gets the time that it may need by the flags. Flags that have the name of a
parameter become its default in the Pipeline, so that a run fits as it is.

Without a deadline and a stage timeout the stages share the hour after which Tekton
ends a run by default, so that finally is always reached. With one, the first lines of
the output say which timeouts its runs need.`,
		Example: `  tkn canary render --weights 10,50,90 --name canary-thirds | kubectl apply -f -
  tkn canary render --progress-deadline 10m --deadline 7m --name canary-slow | kubectl apply -f -`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if plan.Compact && !cmd.Flags().Changed("name") {
				plan.Name = pipeline.ShippedCompact().Name
			}
			return write(cmd, plan)
		},
	}
	f := cmd.Flags()
	f.IntSliceVar(&plan.Weights, "weights", plan.Weights, "the canary's share at each stage, in percent, ascending")
	f.StringVar(&plan.Name, "name", plan.Name, "name of the Pipeline")
	f.BoolVar(&plan.Compact, "compact", false, "all stages in one pod, at 20, 40 and 60 %")
	times(f, &plan)
	return cmd
}

// times are the flags that decide how long tasks may take.
func times(f *pflag.FlagSet, plan *pipeline.Plan) {
	f.DurationVar(&plan.BusyTimeout, "busy-timeout", plan.BusyTimeout,
		"how long a run may wait for another, with on-busy=wait")
	f.DurationVar(&plan.ProgressDeadline, "progress-deadline", plan.ProgressDeadline,
		"how long pods may take to become ready without progress")
	f.DurationVar(&plan.Rollout, "rollout-timeout", plan.Rollout,
		"how long all pods of a Deployment may take to become ready (default: progress-deadline and a minute)")
	f.DurationVar(&plan.Drain, "drain", plan.Drain, "how long the canary's pods stay up at least without traffic")
	f.DurationVar(&plan.Interval, "interval", plan.Interval, "time from check to check, and how long a stage lasts at least")
	f.IntVar(&plan.Threshold, "threshold", plan.Threshold, "failed checks that end the run")
	f.IntVar(&plan.Checks, "checks", plan.Checks, "passed checks that a stage needs, with the classic judge")
	f.DurationVar(&plan.TimeBox, "time-box", plan.TimeBox,
		"how long a stage lasts before it passes (default: twice the interval)")
	f.DurationVar(&plan.Deadline, "deadline", plan.Deadline,
		"how long a stage may last without a verdict (default: what fits into an hour)")
	f.DurationVar(&plan.Settle, "settle", plan.Settle, "how long samples may take to reach Prometheus")
	f.DurationVar(&plan.StageTimeout, "stage-timeout", plan.StageTimeout,
		"time-out of a stage's task (default: what its deadline needs)")
}
