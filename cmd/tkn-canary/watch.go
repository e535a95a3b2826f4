package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/serin-cd/serin/internal/screen"
	"github.com/serin-cd/serin/internal/terminal"
	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/release/status"
	"github.com/serin-cd/serin/pkg/task/failure"
)

// watching is what watch is told.
type watching struct {
	looking
	run   string
	plain bool
}

func watches() *cobra.Command {
	w := watching{}
	cmd := &cobra.Command{
		Use:   "watch APP",
		Short: "Follow a run until it ends",
		Long: `Follow the run that an application has, or its last one. On a terminal it shows the whole
run: weight, stages, requests of both versions, evidence, events. q leaves, and the run
goes on. Otherwise, and with --plain, it prints a line for each task, weight, verdict and
phase.

It ends with the run, and its exit code says how: 0 released, 3 the canary was judged and
failed, 4 inconclusive, 2 refused, 1 anything else. It watches the cluster and asks
nothing while nothing changes.`,
		Example: `  tkn canary watch shop -n production
  tkn canary watch shop -n production --plain
  tkn canary watch shop -n production --run shop-7 -o json`,
		Args:              one,
		ValidArgsFunction: w.complete,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := formatted(w.output, "table", "json", "yaml"); err != nil {
				return err
			}
			cluster, namespace, err := w.cluster.connect()
			if err != nil {
				return err
			}
			r, err := w.find(cmd.Context(), cluster, application.Application{Namespace: namespace, Name: args[0]})
			if err != nil {
				return err
			}
			return follow(cmd, cluster, r, w.output, w.plain)
		},
	}
	w.cluster.add(cmd)
	f := cmd.Flags()
	addRun(cmd, &w.looking, &w.run)
	f.StringVarP(&w.output, "output", "o", "table", "table, or a line of json or a document of yaml a change")
	f.BoolVar(&w.plain, "plain", false, "print lines on a terminal, too")
	w.offerFormats(cmd, "table", "json", "yaml")
	return cmd
}

// find is the run that is meant.
func (w *watching) find(ctx context.Context, cluster *kube.Cluster, app application.Application) (status.Run, error) {
	all, err := status.Runs(ctx, cluster, app.Namespace)
	if err != nil {
		return status.Run{}, err
	}
	found, ok := chosen(all, app, w.run)
	if ok {
		return found, nil
	}
	if err := missing(ctx, cluster, app.Namespace, "watching "+app.String()); err != nil {
		return found, err
	}
	if w.run == "" {
		return found, failure.Configf("watching %s: it has no PipelineRun: start one with tkn canary start", app)
	}
	return found, failure.Configf("watching %s: it has no PipelineRun %s", app, w.run)
}

// follow shows what happens to a run, and fails as it does.
func follow(cmd *cobra.Command, cluster *kube.Cluster, r status.Run, output string, plain bool) error {
	ctx, stop := stoppable(cmd.Context())
	defer stop()
	in, out := cmd.InOrStdin(), cmd.OutOrStdout()
	var ended status.Run
	var err error
	if output == "table" && !plain && terminal.Is(in) && terminal.Is(out) {
		ended, err = screen.Show(ctx, in, out, r, cluster.Now, func(ctx context.Context,
			tell func(status.Change)) (status.Run, error) {
			return status.FollowClosely(ctx, cluster, r, tell)
		})
	} else {
		ended, err = lines(ctx, cluster, r, output, out)
	}
	if ctx.Err() != nil || errors.Is(err, screen.ErrLeft) {
		return fmt.Errorf("watching run %s of %s: %w, and it goes on: tkn canary watch %[2]s -n %[4]s follows it again",
			r.ID.Name, r.App, screen.ErrLeft, r.ID.Namespace)
	}
	if err != nil {
		return err
	}
	return ended.Err()
}

// lines prints what happens to a run.
func lines(ctx context.Context, cluster *kube.Cluster, r status.Run, output string, w io.Writer) (status.Run, error) {
	var unwritten error
	ended, err := status.Follow(ctx, cluster, r.ID, func(c status.Change) {
		if err := tell(w, output, r, c); err != nil {
			unwritten = err
		}
	})
	if err == nil {
		err = unwritten
	}
	return ended, err
}

// tell prints a change.
func tell(w io.Writer, output string, r status.Run, c status.Change) error {
	switch output {
	case "json":
		return json.NewEncoder(w).Encode(c)
	case "yaml":
		if _, err := fmt.Fprintln(w, "---"); err != nil {
			return err
		}
		return encode(w, output, c)
	}
	text := ""
	switch {
	case c.Weight != nil:
		text = fmt.Sprintf("weight %d %%", c.Weight.Weight)
	case c.Phase != "":
		text = string(c.Phase)
	case c.Ended != nil:
		text = fmt.Sprintf("ended %s: %s", cmp.Or(string(c.Ended.Outcome), c.Ended.State), cmp.Or(c.Ended.Reason,
			c.Ended.Message))
	case c.Task.Ended.IsZero():
		text = c.Task.Name + " begins"
	default:
		text = c.Task.Name + " " + c.Task.State
		if c.Task.Verdict != "" || c.Task.State != "Succeeded" {
			text += ": " + verdictOf(*c.Task)
		}
	}
	_, err := fmt.Fprintf(w, "%s  %s  %s\n", c.At.Local().Format(time.TimeOnly), r.ID.Name, text)
	return err
}
