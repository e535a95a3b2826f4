package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/serin-cd/serin/e2e/load"
	"github.com/serin-cd/serin/e2e/sandbox"
)

func loadCommand(set *settings) *cobra.Command {
	o := load.Options{}
	cmd := &cobra.Command{
		Use:   "load --host HOST",
		Short: "Send requests to the gateway at a constant rate and print what is answered each second",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.URL == "" {
				s, err := sandbox.Attach(set.name)
				if err != nil {
					return err
				}
				o.URL = s.Gateway + "/"
			}
			if set.output == "" {
				o.EachSecond = func(s load.Second) { fmt.Fprintln(cmd.OutOrStdout(), s) }
			}
			report, err := load.Run(cmd.Context(), o)
			if err != nil {
				return err
			}
			if set.output == "json" {
				return printJSON(cmd.OutOrStdout(), report)
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), "total  ", report.Total)
			return err
		},
	}
	cmd.Flags().StringVar(&o.URL, "url", "", "where to, if not to the sandbox's gateway")
	cmd.Flags().StringVar(&o.Host, "host", "", "the Host header, by which the gateway chooses a VirtualService")
	cmd.Flags().IntVar(&o.Rate, "rate", 150, "requests a second")
	cmd.Flags().DurationVar(&o.Duration, "duration", 0, "for how long; 0: until interrupted")
	outputFlag(cmd, set)
	return cmd
}
