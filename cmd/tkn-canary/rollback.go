package main

import (
	"cmp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/workload"
	"github.com/serin-cd/serin/pkg/release/prepare"
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
	offerValues(cmd, "to", s.earlier)
	f.StringVar(&s.skip, "reason", "", "why, for the record")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s.skip = cmp.Or(s.skip, "rollback to "+s.back)
		return s.start(cmd, args[0])
	}
	return cmd
}

// earlier offers the revisions that the application can go back to, the newest first.
func (s *starting) earlier(cmd *cobra.Command, args []string) ([]string, error) {
	all := []string{cobra.CompletionWithDesc(prepare.Previous, "the one that served before")}
	if len(args) == 0 {
		return all, nil
	}
	cluster, namespace, err := s.cluster.connect()
	if err != nil {
		return nil, err
	}
	r, err := passing(cluster, application.Application{Namespace: namespace, Name: args[0]})
	if err != nil {
		return nil, err
	}
	target, err := r.Target(cmd.Context())
	if err != nil {
		return nil, err
	}
	history, err := workload.History(cmd.Context(), r.Deployments.ReplicaSets, target)
	for _, e := range history {
		all = append(all, cobra.CompletionWithDesc(workload.Short(e.Revision), strings.Join(e.Images, ", ")))
	}
	return all, err
}
