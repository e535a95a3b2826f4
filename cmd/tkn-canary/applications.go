package main

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/serin-cd/serin/internal/terminal"
	"github.com/serin-cd/serin/pkg/gitops/environments"
	"github.com/serin-cd/serin/pkg/gitops/inventory"
	"github.com/serin-cd/serin/pkg/task/failure"
)

func applications() *cobra.Command {
	l := looking{}
	cmd := &cobra.Command{
		Use:   "applications [APP]",
		Short: "Show which version of each application serves in each environment",
		Long: `Show which version of each application serves in each environment that tkn canary
environments lists, and where. While a canary is on, its version and its share of the traffic
stand beside it; if the last run failed, how.

Applications that Serin has not released are shown, too, if Helm manages their Deployment, or
another environment has them.`,
		Example: `  tkn canary applications -n production
  tkn canary applications shop -n production
  tkn canary applications -n production -o json`,
		Args:              atMostOne,
		ValidArgsFunction: l.complete,
		RunE:              func(cmd *cobra.Command, args []string) error { return l.applications(cmd, args) },
	}
	l.cluster.add(cmd)
	cmd.Flags().Lookup("namespace").Usage = "namespace of the Pipelines (default: the context's)"
	l.formats(cmd, "table", "json", "yaml")
	return cmd
}

func (l *looking) applications(cmd *cobra.Command, args []string) error {
	if err := formatted(l.output, "table", "json", "yaml"); err != nil {
		return err
	}
	cluster, namespace, err := l.cluster.connect()
	if err != nil {
		return err
	}
	all, err := environments.Read(cmd.Context(), cluster, namespace)
	if err != nil {
		return err
	}
	if len(all) == 0 {
		if err := missing(cmd.Context(), cluster, namespace, "listing the applications"); err != nil {
			return err
		}
		return failure.Configf("listing the applications: no environments in namespace %s: list them in ConfigMap %s, "+
			"key %s, each with its name and git-url, or name the namespace that has it with -n", namespace,
			environments.ConfigMap, environments.Key)
	}
	found, err := inventory.List(cmd.Context(), cluster, all)
	if err != nil {
		return err
	}
	if len(args) > 0 {
		found = slices.DeleteFunc(found, func(a inventory.Application) bool { return a.Name != args[0] })
		if len(found) == 0 {
			return failure.Configf("listing the applications: there is no %s in namespace %s: tkn canary applications "+
				"lists those that there are", args[0], strings.Join(inventory.Namespaces(all), ", "))
		}
	}
	if l.output != "table" {
		return encode(cmd.OutOrStdout(), l.output, append([]inventory.Application{}, found...))
	}
	var table terminal.Table
	header := []string{"APPLICATION"}
	for _, e := range all {
		header = append(header, strings.ToUpper(e.Name), "URL")
	}
	table.Row(header...)
	for _, a := range found {
		row := []string{a.Name}
		for _, e := range all {
			cell, url := "-", "-"
			if p, there := a.In(e.Name); there {
				cell = p.String()
				if p.URL != "" {
					url = p.URL
				}
			}
			row = append(row, cell, url)
		}
		table.Row(row...)
	}
	return table.Write(terminal.Writer(cmd.OutOrStdout()))
}
