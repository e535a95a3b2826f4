package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/serin-cd/serin/pkg/report/replay"
)

func record() *cobra.Command {
	p := &past{}
	cmd := &cobra.Command{
		Use:   "record FILE",
		Short: "Keep what Prometheus counted during a rollout",
		Long: `Keep in a file all that both judges ask Prometheus about a rollout, so that replay
needs no Prometheus. A name that ends in .gz packs it.

The file holds samples with their labels (names of workloads, pods and addresses), the
weights, and the parameters that were given; neither the address of Prometheus nor what
it was asked with.`,
		Example: "  tkn canary record shop.json.gz -n production --canary shop --run shop-7 " +
			"--prometheus-url http://localhost:9090",
		Args: one,
		RunE: func(cmd *cobra.Command, args []string) error { return p.record(cmd, args[0]) },
	}
	p.flags(cmd)
	return cmd
}

// record keeps it in a file.
func (p *past) record(cmd *cobra.Command, file string) error {
	quiet(cmd)
	past, rollout, config, err := p.read(cmd.Context())
	if err != nil {
		return err
	}
	recording, err := replay.Record(cmd.Context(), past, rollout, config)
	if err != nil {
		return err
	}
	recording.Recorded, recording.Parameters = time.Now().UTC().Truncate(time.Second), p.parameters
	if err := recording.Write(file); err != nil {
		return err
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: %s, %s\n", file, recording.Size(), rollout)
	return err
}
