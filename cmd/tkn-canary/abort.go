package main

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/judge/prometheus"
	"github.com/serin-cd/serin/pkg/release"
	"github.com/serin-cd/serin/pkg/release/rollback"
	"github.com/serin-cd/serin/pkg/task/failure"
)

// aborting is what an abort may be told.
type aborting struct {
	cluster    clusterFlags
	prometheus prometheus.Config
	reason     string
	deadline   time.Duration
	drain      time.Duration
	output     string
}

func abort() *cobra.Command {
	a := aborting{}
	cmd := &cobra.Command{
		Use:   "abort APP",
		Short: "End a run of an application, and give all traffic to the primary",
		Long: `End the run that has an application, even one that is alive: all traffic goes to the primary
at once, and the canary's pods go when nobody sends to them any more. A promotion that is
under way is undone first. The PipelineRun's own steps then find the run ended, and stop.

Without a Prometheus the canary's pods stay up for a minute. Interrupted then, the run's
finally, the janitor or the next run scale them down.`,
		Example: "  tkn canary abort podinfo -n shop --reason 'checkout is broken'",
		Args: func(cmd *cobra.Command, args []string) error {
			return failure.As(failure.ErrConfig, cobra.ExactArgs(1)(cmd, args))
		},
		RunE: func(cmd *cobra.Command, args []string) error { return a.run(cmd.Context(), args[0], cmd.OutOrStdout()) },
	}
	a.cluster.add(cmd)
	f := cmd.Flags()
	f.StringVar(&a.reason, "reason", "", "why, for the record (default: that it was aborted)")
	f.StringVar(&a.prometheus.URL, "prometheus-url", "",
		"address of the Prometheus that tells when nobody sends to the canary any more")
	f.DurationVar(&a.drain, "drain", 10*time.Second, "how long the canary's pods stay up at least, with a Prometheus")
	f.DurationVar(&a.deadline, "progress-deadline", time.Minute,
		"how long the primary may take to become ready again, where a promotion is undone")
	f.StringVarP(&a.output, "output", "o", "", "json writes what was done as JSON")
	return cmd
}

func (a aborting) run(ctx context.Context, name string, w io.Writer) error {
	if a.output != "" && a.output != "json" {
		return failure.Configf("reading --output: %q, want json", a.output)
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))
	cluster, namespace, err := a.cluster.connect()
	if err != nil {
		return err
	}
	app := application.Application{Namespace: namespace, Name: name}
	if err := app.Validate(); err != nil {
		return err
	}
	reason := "aborted with tkn canary abort"
	if a.reason != "" {
		reason = "aborted: " + a.reason
	}
	done, err := rollback.Abort(ctx, cluster, app, reason, a.deadline, a.drainOf)
	if unwritten := a.print(done, w); err == nil {
		err = unwritten
	}
	return err
}

func (a aborting) drainOf(r *release.Release) error {
	if a.prometheus.URL == "" {
		r.DrainBlindly()
		return nil
	}
	return r.DrainBy(a.prometheus, a.drain, max(a.drain, release.DrainDeadline))
}

func (a aborting) print(done rollback.Aborted, w io.Writer) error {
	if a.output == "json" {
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		return encoder.Encode(done)
	}
	done.Print(w)
	return nil
}
