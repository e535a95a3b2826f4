package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"github.com/serin-cd/serin/internal/outside"
	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/release"
	"github.com/serin-cd/serin/pkg/release/rollback"
	"github.com/serin-cd/serin/pkg/task/parameter"
)

// aborting is what an abort may be told.
type aborting struct {
	cluster clusterFlags
	given   map[string]string // parameters that count more than the run's
	reason  string
	wait    bool
	output  string
}

func abort() *cobra.Command {
	a := aborting{given: map[string]string{}}
	cmd := &cobra.Command{
		Use:   "abort APP",
		Short: "End a run of an application, and give all traffic to the primary",
		Long: `End the run that has an application, even one that is alive: all traffic goes to the primary
at once, and this ends. A promotion that is under way is undone first. The PipelineRun's own
steps then find the run ended, and stop. Its finally, the janitor or the next run scale the
canary's pods down, when nobody sends to them any more.

With --wait it does that itself, as soon as the run's own Prometheus tells that nobody sends,
or after a minute if that cannot be asked. A Prometheus with a name of the cluster is asked
through the API server. Files of a token or a certificate are this machine's.`,
		Example: `  tkn canary abort shop -n production --reason 'checkout is broken'
  tkn canary abort shop -n production --wait`,
		Args:              one,
		ValidArgsFunction: candidates(a.cluster.applications).complete,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.run(cmd.Context(), args[0], cmd.OutOrStdout())
		},
	}
	a.cluster.add(cmd)
	f := cmd.Flags()
	f.StringVar(&a.reason, "reason", "", "why, for the record (default: that it was aborted)")
	f.BoolVar(&a.wait, "wait", false, "wait until nobody sends to the canary's pods any more, and scale them down")
	offer(cmd, a.given, parameter.Of(release.Settling{}))
	f.StringVarP(&a.output, "output", "o", "table", "table, json or yaml")
	return cmd
}

func (a aborting) run(ctx context.Context, name string, w io.Writer) error {
	if err := formatted(a.output, "table", "json", "yaml"); err != nil {
		return err
	}
	ctx, stop := stoppable(ctx)
	defer stop()
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))
	config, namespace, err := a.cluster.config()
	if err != nil {
		return err
	}
	cluster, err := kube.New(config)
	if err != nil {
		return err
	}
	var settling release.Settling
	if err := parameter.Decode(ctx, a.given, &settling); err != nil {
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
	machine := outside.Machine{Cluster: cluster, Config: config, Namespace: namespace}
	done, err := rollback.Abort(ctx, cluster, app, reason, settling.Deadline(), func(r *release.Release) error {
		a.drainOf(r, machine, w)
		return nil
	})
	if err != nil && done.Run == "" {
		return err // it is not known whether there is a run
	}
	if err == nil && done.Run == "" {
		if err := missing(ctx, cluster, namespace, "aborting the run of "+app.String()); err != nil {
			return err
		}
	}
	if unwritten := a.print(done, w); err == nil {
		err = unwritten
	}
	return err
}

// drainOf says how the canary's pods go. The traffic is back when that begins, and nothing is looked for before.
func (a aborting) drainOf(r *release.Release, m outside.Machine, w io.Writer) {
	if !a.wait {
		r.Drain = func(context.Context) error { return rollback.ErrLeft }
		return
	}
	if a.output != "table" {
		w = io.Discard
	}
	r.Drain = func(ctx context.Context) error {
		fmt.Fprintf(w, "%s: all traffic to the primary, waiting until nobody sends to the canary\n", r.App)
		closed, way := m.Observe(ctx, r, a.given)
		defer closed()
		fmt.Fprintf(w, "%s: %s\n", r.App, way)
		return r.Drain(ctx)
	}
}

func (a aborting) print(done rollback.Aborted, w io.Writer) error {
	if a.output != "table" {
		return encode(w, a.output, done)
	}
	done.Print(w)
	return nil
}
