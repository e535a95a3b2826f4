package main

import (
	"context"
	"fmt"
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
	wait       bool
	output     string
}

func abort() *cobra.Command {
	a := aborting{}
	cmd := &cobra.Command{
		Use:   "abort APP",
		Short: "End a run of an application, and give all traffic to the primary",
		Long: `End the run that has an application, even one that is alive: all traffic goes to the primary
at once, and this ends. A promotion that is under way is undone first. The PipelineRun's own
steps then find the run ended, and stop. Its finally, the janitor or the next run scale the
canary's pods down, when nobody sends to them any more.

With --wait it does that itself: without a Prometheus, after a minute.`,
		Example: `  tkn canary abort podinfo -n shop --reason 'checkout is broken'
  tkn canary abort podinfo -n shop --wait`,
		Args: func(cmd *cobra.Command, args []string) error {
			return failure.As(failure.ErrConfig, cobra.ExactArgs(1)(cmd, args))
		},
		RunE: func(cmd *cobra.Command, args []string) error { return a.run(cmd.Context(), args[0], cmd.OutOrStdout()) },
	}
	a.cluster.add(cmd)
	f := cmd.Flags()
	f.StringVar(&a.reason, "reason", "", "why, for the record (default: that it was aborted)")
	f.BoolVar(&a.wait, "wait", false, "wait until nobody sends to the canary's pods any more, and scale them down")
	f.StringVar(&a.prometheus.URL, "prometheus-url", "",
		"with --wait: address of the Prometheus that tells when that is")
	f.DurationVar(&a.drain, "drain", 10*time.Second,
		"with --wait and a Prometheus: how long the canary's pods stay up at least")
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
	done, err := rollback.Abort(ctx, cluster, app, reason, a.deadline, func(r *release.Release) error {
		return a.drainOf(r, w)
	})
	if unwritten := a.print(done, w); err == nil {
		err = unwritten
	}
	return err
}

// drainOf says how the canary's pods go, and tells when that begins: the traffic is back then.
func (a aborting) drainOf(r *release.Release, w io.Writer) error {
	if !a.wait {
		r.Drain = func(context.Context) error { return rollback.ErrLeft }
		return nil
	}
	if a.prometheus.URL == "" {
		r.DrainBlindly()
	} else if err := r.DrainBy(a.prometheus, a.drain, max(a.drain, release.DrainDeadline)); err != nil {
		return err
	}
	drain := r.Drain
	r.Drain = func(ctx context.Context) error {
		if a.output == "" {
			fmt.Fprintf(w, "%s: all traffic to the primary, waiting until nobody sends to the canary\n", r.App)
		}
		return drain(ctx)
	}
	return nil
}

func (a aborting) print(done rollback.Aborted, w io.Writer) error {
	if a.output == "json" {
		return encode(w, a.output, done)
	}
	done.Print(w)
	return nil
}
