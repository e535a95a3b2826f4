package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/serin-cd/serin/internal/terminal"
	"github.com/serin-cd/serin/pkg/gitops/environments"
)

func lists() *cobra.Command {
	l := looking{}
	cmd := &cobra.Command{
		Use:   "environments",
		Short: "List the environments that applications are promoted to",
		Long: `List the environments that applications are promoted to, in the order of the list that
the team keeps in ConfigMap ` + environments.ConfigMap + `, in the namespace of its Pipelines: where
the repository of each is, and whether a promotion is merged by itself.`,
		Example: `  tkn canary environments -n production
  tkn canary environments -n production -o json`,
		Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error { return l.environments(cmd) },
	}
	l.cluster.add(cmd)
	cmd.Flags().Lookup("namespace").Usage = "namespace of the Pipelines (default: the context's)"
	l.formats(cmd, "table", "json", "yaml")
	return cmd
}

func (l *looking) environments(cmd *cobra.Command) error {
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
		if err := missing(cmd.Context(), cluster, namespace, "listing the environments"); err != nil {
			return err
		}
	}
	switch {
	case l.output != "table":
		return encode(cmd.OutOrStdout(), l.output, append([]environments.Environment{}, all...))
	case len(all) == 0:
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "no environments in namespace %s: list them in ConfigMap %s\n",
			namespace, environments.ConfigMap)
		return err
	}
	var table terminal.Table
	table.Row("NAME", "PROMOTION", "NAMESPACE", "REPOSITORY", "BRANCH", "DIRECTORY")
	for _, e := range all {
		table.Row(e.Name, string(e.Promotion), e.Namespace, e.GitURL, e.Branch, e.Directory)
	}
	return table.Write(terminal.Writer(cmd.OutOrStdout()))
}
