// Command bench-scale releases hundreds of applications at once, and prints what that costs beside what is wanted.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/serin-cd/serin/e2e/bench"
	"github.com/serin-cd/serin/e2e/scale"
)

func main() {
	o := scale.Options{Out: os.Stderr}
	output, page := "", ""
	flag.IntVar(&o.Apps, "apps", 500, "applications, each with one release")
	flag.DurationVar(&o.Interval, "interval", 15*time.Second, "of the releases")
	flag.StringVar(&output, "o", "", "json: print for programs")
	flag.StringVar(&page, "write", "", "also write the numbers to this file of the checkout, as a page")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := measure(ctx, o, output, page); err != nil {
		fmt.Fprintln(os.Stderr, "bench-scale:", err)
		os.Exit(1)
	}
}

func measure(ctx context.Context, o scale.Options, output, page string) error {
	if output != "" && output != "json" {
		return fmt.Errorf("-o %s, want json", output)
	}
	report, err := scale.Run(ctx, o)
	if err != nil {
		return err
	}
	if page != "" {
		if err := bench.WritePage(ctx, page, scale.Page(report)); err != nil {
			return err
		}
	}
	show := report.Text
	if output == "json" {
		show = report.JSON
	}
	if err := show(os.Stdout); err != nil {
		return err
	}
	if missed := report.Missed(); len(missed) > 0 {
		return fmt.Errorf("%d numbers were missed, first of all: %s", len(missed), missed[0].What)
	}
	return nil
}
