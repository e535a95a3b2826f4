package main

import (
	"cmp"
	"context"

	"github.com/spf13/cobra"

	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/release/prepare"
	"github.com/serin-cd/serin/pkg/release/status"
	"github.com/serin-cd/serin/pkg/task/failure"
)

func rollsBack() *cobra.Command {
	s := starting{}
	cmd := &cobra.Command{
		Use:   "rollback APP",
		Short: "Go back to an earlier release, at once and without analysis",
		Long: `Start a run that goes back to the release before the one that serves, or to any revision that a
ReplicaSet of the Deployment has kept. The Deployment gets that revision's pod template, and
the run promotes it as soon as its pods are ready: no request is lost, and no stage judges it.
The run takes over the Pipeline and the parameters of the last one.

Git, or whatever deploys the application, still says the newer version: go back there too,
else the next deployment brings it again. To end a release that is under way, use abort.`,
		Example: `  tkn canary rollback shop -n production --reason 'checkout is broken' --watch
  tkn canary rollback shop -n production --to 3f8a1c2d9e0b
  tkn canary rollback shop --dry-run`,
		Args:              one,
		ValidArgsFunction: s.complete,
	}
	s.flags(cmd)
	pipeline := cmd.Flags().Lookup("pipeline")
	pipeline.Usage, pipeline.DefValue = "name of the Pipeline (default: that of the last run, or canary)", ""
	f := cmd.Flags()
	f.StringVar(&s.back, "to", prepare.Previous, "first digits of the revision to go back to, at least 6, or previous")
	f.StringVar(&s.skip, "reason", "", "why, for the record")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s.skip = cmp.Or(s.skip, "rollback to "+s.back)
		return s.start(cmd, args[0])
	}
	return cmd
}

// idle is an error where a run has the application: it is to be aborted, not to be gone back from.
func idle(ctx context.Context, cluster *kube.Cluster, app application.Application) error {
	all, err := status.List(ctx, cluster, app.Namespace)
	if err != nil {
		return err
	}
	for _, a := range all {
		if a.Name == app.Name && a.Busy() {
			return failure.Configf("rolling back %s: run %s is at work on it (%s, canary weight %d): give the traffic "+
				"back to the primary with tkn canary abort %s -n %s", app, a.Run, a.Phase, a.Weight, app.Name,
				app.Namespace)
		}
	}
	return nil
}
