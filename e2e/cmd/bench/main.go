// Command bench prints what Serin costs and how fast it is, beside what is wanted and what Flagger needs.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/serin-cd/serin/e2e/bench"
)

func main() {
	o := bench.Options{Out: os.Stderr}
	output, page := "", ""
	flag.StringVar(&o.Sandbox, "sandbox", "", "use a sandbox that is up, and do not measure how it starts")
	flag.BoolVar(&o.Cold, "cold", false, "begin with empty caches, which takes a quarter of an hour")
	flag.BoolVar(&o.Minute, "minute", false, "also play a release at an interval of a minute, which takes five")
	flag.BoolVar(&o.Many, "lossless", false,
		"also release again and again until 200,000 requests were sent, which takes a quarter of an hour")
	flag.BoolVar(&o.Only, "only-lossless", false, "do that alone")
	flag.BoolVar(&o.Command, "only-command", false, "measure the command line alone, which takes two minutes")
	flag.StringVar(&output, "o", "", "json: print for programs")
	flag.StringVar(&page, "write", "", "also write the numbers to this file of the checkout, as a page")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := measure(ctx, o, output, page); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func measure(ctx context.Context, o bench.Options, output, page string) error {
	if output != "" && output != "json" {
		return fmt.Errorf("-o %s, want json", output)
	}
	report, err := bench.Run(ctx, o)
	if err != nil {
		return err
	}
	if page != "" {
		if err := bench.WritePage(ctx, page, report.Markdown); err != nil {
			return err
		}
	}
	if output == "json" {
		return report.JSON(os.Stdout)
	}
	return report.Text(os.Stdout)
}
