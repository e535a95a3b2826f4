package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/release/handover"
)

// handing is what each command is told that hands an application over.
type handing struct {
	looking
	dry bool
}

func (h *handing) add(cmd *cobra.Command) {
	h.cluster.add(cmd)
	cmd.Flags().BoolVar(&h.dry, "dry-run", false, "print what would be done, and do nothing")
	h.formats(cmd, "table", "json", "yaml")
}

// handed is what was done, or would be.
type handed struct {
	App   string   `json:"app"`
	Done  bool     `json:"done"`
	Steps []string `json:"steps"`
	Notes []string `json:"notes,omitempty"`
	Next  []string `json:"next,omitempty"` // commands to go on with
	Saved string   `json:"saved,omitempty"`
}

// begin checks the output, and reaches the application.
func (h *handing) begin(ctx context.Context, name string) (*kube.Cluster, application.Application, error) {
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))
	if err := formatted(h.output, "table", "json", "yaml"); err != nil {
		return nil, application.Application{}, err
	}
	cluster, namespace, err := h.cluster.connect()
	if err != nil {
		return nil, application.Application{}, err
	}
	app := application.Application{Namespace: namespace, Name: name}
	if err := app.Validate(); err != nil {
		return nil, app, err
	}
	return cluster, app, missing(ctx, cluster, namespace, "looking for "+app.String())
}

// do plays a plan and tells of each step when it begins, or of all in a dry run.
func (h *handing) do(ctx context.Context, plan handover.Plan, w io.Writer, out *handed) error {
	tell := func(s handover.Step) {
		out.Steps = append(out.Steps, s.Text)
		if h.output == "table" {
			fmt.Fprintf(w, "%s: %s\n", out.App, s.Text)
		}
	}
	out.Notes = append(out.Notes, plan.Notes...)
	if h.dry {
		for _, s := range plan.Steps {
			tell(s)
		}
		return nil
	}
	if err := plan.Run(ctx, tell); err != nil {
		return fmt.Errorf("%s: %w: run it again to go on", out.App, err)
	}
	out.Done = true
	return nil
}

// print writes what do has not told.
func (h *handing) print(w io.Writer, out handed) error {
	if h.output != "table" {
		return encode(w, h.output, out)
	}
	for _, note := range out.Notes {
		fmt.Fprintf(w, "%s: %s\n", out.App, note)
	}
	if h.dry {
		fmt.Fprintf(w, "%s: nothing was changed (dry run)\n", out.App)
	}
	for i, command := range out.Next {
		begin := "next: "
		if i > 0 {
			begin = "      "
		}
		fmt.Fprintln(w, begin+command)
	}
	return nil
}

// stoppable ends with a signal of the terminal.
func stoppable(ctx context.Context) (context.Context, context.CancelFunc) {
	return signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
}
