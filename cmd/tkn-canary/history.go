package main

import (
	"cmp"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/serin-cd/serin/internal/terminal"
	"github.com/serin-cd/serin/pkg/cluster/workload"
	"github.com/serin-cd/serin/pkg/release/status"
)

func histories() *cobra.Command {
	l := looking{}
	cmd := &cobra.Command{
		Use:   "history [APP]",
		Short: "List the releases of the past",
		Long: `List the runs of all applications of a namespace, or of one, the newest first: from their
PipelineRuns, and where those were pruned from the record that each application keeps of
its last run. The image is the one that the run was told to set, if it was told one; tkn
canary rollback --to goes back to a revision.`,
		Example: `  tkn canary history -n production
  tkn canary history shop -n production -o json`,
		Args:              atMostOne,
		ValidArgsFunction: l.complete,
		RunE:              func(cmd *cobra.Command, args []string) error { return l.history(cmd, args) },
	}
	l.cluster.add(cmd)
	f := cmd.Flags()
	f.BoolVarP(&l.all, "all-namespaces", "A", false, "runs of all namespaces")
	l.formats(cmd, "table", "json", "yaml")
	return cmd
}

func (l *looking) history(cmd *cobra.Command, args []string) error {
	if err := formatted(l.output, "table", "json", "yaml"); err != nil {
		return err
	}
	cluster, namespace, err := l.cluster.connect()
	if err != nil {
		return err
	}
	if l.all {
		namespace = ""
	}
	all, err := status.History(cmd.Context(), cluster, namespace)
	if err != nil {
		return err
	}
	if len(all) == 0 {
		if err := missing(cmd.Context(), cluster, namespace, "listing the runs"); err != nil {
			return err
		}
	}
	all = slices.DeleteFunc(all, func(r status.Run) bool { return len(args) > 0 && r.App != args[0] })
	if l.output != "table" {
		return encode(cmd.OutOrStdout(), l.output, append([]status.Run{}, all...))
	}
	var table terminal.Table
	l.row(&table, "NAMESPACE", "APP", "RUN", "STARTED", "TOOK", "REVISION", "IMAGE", "OUTCOME", "REASON")
	for _, r := range all {
		took := "-"
		if !r.Ended.IsZero() {
			took = duration.HumanDuration(r.Ended.Sub(r.Created))
		}
		l.row(&table, r.ID.Namespace, r.App, r.ID.Name, r.Created.Local().Format(time.DateTime), took,
			cmp.Or(workload.Short(r.Revision), "-"), cmp.Or(status.Shortened(r.Image), "-"),
			terminal.Mood(cmp.Or(string(r.Outcome), r.State)), cmp.Or(r.Reason, r.Message, "-"))
	}
	return table.Write(terminal.Writer(cmd.OutOrStdout()))
}
