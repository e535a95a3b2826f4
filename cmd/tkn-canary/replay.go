package main

import (
	"context"
	"maps"

	"github.com/spf13/cobra"

	"github.com/serin-cd/serin/pkg/judge"
	"github.com/serin-cd/serin/pkg/report/replay"
	"github.com/serin-cd/serin/pkg/task/failure"
)

func replays() *cobra.Command {
	p, output := &past{}, ""
	cmd := &cobra.Command{
		Use:   "replay [FILE]",
		Short: "Judge a rollout of the past, with both judges",
		Long: `Show what both judges would have decided about a rollout, and when: from a Prometheus
that still has its samples, or from a file that record has written.

Each stage is judged as analyze-metrics would have judged it, until its verdict or until
the weight changed. It changes nothing and exits 0 whatever the judges say.`,
		Example: "  tkn canary replay -n production --canary shop --run shop-7 " +
			"--prometheus-url http://localhost:9090\n" +
			"  tkn canary replay shop.json.gz --tolerance 0.005",
		Args: atMostOne,
		RunE: func(cmd *cobra.Command, args []string) error { return p.replay(cmd, args, output) },
	}
	p.flags(cmd)
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table, json or yaml")
	return cmd
}

// replay judges it again, from a file if one is named.
func (p *past) replay(cmd *cobra.Command, files []string, output string) error {
	quiet(cmd)
	if err := formatted(output, "table", "json", "yaml"); err != nil {
		return err
	}
	read := p.read
	if len(files) > 0 {
		if err := notWith(cmd, files[0], p.server); err != nil {
			return err
		}
		read = func(ctx context.Context) (*replay.Past, replay.Rollout, judge.Config, error) {
			return p.recorded(ctx, files[0])
		}
	}
	past, rollout, config, err := read(cmd.Context())
	if err != nil {
		return err
	}
	result, err := replay.Both(cmd.Context(), past, rollout, config)
	if err != nil {
		return err
	}
	if output != "table" {
		return encode(cmd.OutOrStdout(), output, result)
	}
	return result.Table(cmd.OutOrStdout())
}

// notWith refuses flags whose values a recording has itself.
func notWith(cmd *cobra.Command, file string, server map[string]string) error {
	own := []string{"kubeconfig", "context", "namespace", "canary", "primary", "canary-service", "primary-service",
		"rollout", "run"}
	for _, name := range own {
		if cmd.Flags().Changed(name) {
			return failure.Configf("reading %s: recording %s has one, want none", name, file)
		}
	}
	for name := range server {
		return failure.Configf("reading %s: recording %s needs no Prometheus, want none", name, file)
	}
	return nil
}

// recorded reads a recording; parameters that are given count more than those it was made with.
func (p *past) recorded(ctx context.Context, file string) (*replay.Past, replay.Rollout, judge.Config, error) {
	var config judge.Config
	recording, err := replay.Read(file)
	if err != nil {
		return nil, replay.Rollout{}, config, err
	}
	values := maps.Clone(recording.Parameters)
	if values == nil {
		values = map[string]string{}
	}
	maps.Copy(values, p.parameters)
	if config, err = replay.ConfigOf(ctx, values); err != nil {
		return nil, replay.Rollout{}, config, err
	}
	rollout, err := recording.Rollout().Check()
	if err != nil {
		return nil, rollout, config, err
	}
	if _, err := rollout.Until(config); err != nil {
		return nil, rollout, config, err
	}
	until, err := p.end(rollout, recording.Until, recording.Until)
	if err != nil {
		return nil, rollout, config, err
	}
	past, err := recording.Past(until)
	return past, rollout, config, err
}
