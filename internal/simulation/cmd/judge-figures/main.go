// Command judge-figures plays rollouts with random traffic and writes how often the judge errs.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"regexp"

	"github.com/serin-cd/serin/internal/simulation"
)

func main() {
	runs := flag.Int("runs", 2000, "rollouts a row")
	out := flag.String("out", "", "page to write")
	only := flag.String("only", "", "regular expression of the rows to play, all if empty")
	flag.Parse()
	slog.SetDefault(slog.New(slog.DiscardHandler)) // the judge logs each cell
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *runs, *only, *out); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, runs int, only, out string) error {
	rows, err := regexp.Compile(only)
	if err != nil {
		return fmt.Errorf("reading only: %w", err)
	}
	if only != "" && out != "" {
		return errors.New("writing a page of some rows, want all: leave out -only or -out")
	}
	var page bytes.Buffer
	missed, err := simulation.Report(ctx, &page, runs, rows, func(line string) { fmt.Println(line) })
	if err != nil {
		return err
	}
	if out != "" {
		if err := os.WriteFile(out, page.Bytes(), 0o644); err != nil {
			return err
		}
	}
	for _, m := range missed {
		fmt.Fprintln(os.Stderr, m)
	}
	if len(missed) > 0 {
		return fmt.Errorf("%d figures are missed", len(missed))
	}
	return nil
}
