package main

import (
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/serin-cd/serin/internal/pipeline"
	"github.com/serin-cd/serin/internal/rights"
	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/mesh"
)

func render() *cobra.Command {
	plan, app := pipeline.Shipped(), application.Application{}
	var virtualServices []string
	cmd := &cobra.Command{
		Use:   "render",
		Short: "Write the Pipeline for a list of weights, with time-outs that fit",
		Long: `Write the Pipeline that releases an application at a list of weights.

Each task gets the time that it may need by the flags. Flags that have the name of a
parameter become its default in the Pipeline, so that a run fits as it is.

Without a deadline and a stage timeout the stages share the hour after which Tekton
ends a run by default, so that finally is always reached. With one, the first lines of
the output say which timeouts its runs need.

With --rbac it writes, instead of a Pipeline, the ServiceAccounts that release one
application, with Roles that are limited to the names of its objects.`,
		Example: `  tkn canary render --weights 10,50,90 --name canary-thirds | kubectl apply -f -
  tkn canary render --progress-deadline 10m --deadline 7m --name canary-slow | kubectl apply -f -
  tkn canary render --rbac shop -n production | kubectl apply -f -`,
		Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if plan.Compact && !cmd.Flags().Changed("name") {
				plan.Name = pipeline.ShippedCompact().Name
			}
			if cmd.Flags().Changed("rbac") {
				return writeRights(cmd, app, plan, virtualServices)
			}
			return write(cmd, plan)
		},
	}
	f := cmd.Flags()
	f.IntSliceVar(&plan.Weights, "weights", plan.Weights, "the canary's share at each stage, in percent, ascending")
	f.StringVar(&plan.Name, "name", plan.Name, "name of the Pipeline")
	f.BoolVar(&plan.Compact, "compact", false, "all stages in one pod, at 20, 40 and 60 %")
	times(f, &plan)
	f.StringVar(&app.Name, "rbac", "", "write the accounts and Roles for an application of this name instead")
	f.StringSliceVar(&virtualServices, "virtual-services", nil,
		"with --rbac: the VirtualServices whose routes are shifted (default: the one of the application's name)")
	f.StringVarP(&app.Namespace, "namespace", "n", "",
		"namespace of accounts and Roles (default: where they are applied)")
	return cmd
}

// writeRights writes the accounts of an application, with rights to its objects alone.
func writeRights(cmd *cobra.Command, app application.Application, plan pipeline.Plan, virtualServices []string) error {
	named := app
	if named.Namespace == "" {
		named.Namespace = "default" // none is a choice here
	}
	if err := named.Validate(); err != nil {
		return err
	}
	if err := (mesh.Selection{VirtualServices: virtualServices}).Validate(); err != nil {
		return err
	}
	text, err := rights.Write(app, plan.Stages(), virtualServices...)
	if err != nil {
		return err
	}
	_, err = cmd.OutOrStdout().Write(text)
	return err
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
	f.DurationVar(&plan.DrainDeadline, "drain-deadline", plan.DrainDeadline,
		"how long the canary's pods wait for proxies that still send (default: a minute, or drain)")
	f.DurationVar(&plan.Interval, "interval", plan.Interval,
		"time from check to check, and how long a stage lasts at least")
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
