// Command recording plays a release in a sandbox, and records how `tkn canary watch` shows it, as an asciicast and as an
// SVG that moves.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/serin-cd/serin/e2e/recording"
	"github.com/serin-cd/serin/e2e/sandbox"
)

func main() {
	out := flag.String("out", "watch.cast", "the file to write")
	picture := flag.String("picture", "watch.svg", "the file for the picture of it")
	drawn := flag.Bool("draw", false, "record nothing, and draw what is in the file")
	name := flag.String("sandbox", "", "a sandbox that is up (default: one of its own)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := error(nil)
	if !*drawn {
		err = play(ctx, *name, *out)
	}
	if err == nil {
		err = draw(*out, *picture)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "recording:", err)
		os.Exit(1)
	}
}

func play(ctx context.Context, name, out string) (err error) {
	if name != "" {
		sb, err := sandbox.Attach(name)
		if err != nil {
			return err
		}
		return recording.Play(ctx, sb, out, os.Stderr)
	}
	sb, err := sandbox.Up(ctx, sandbox.Options{Name: "recording", Out: os.Stderr})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sb.Down()) }()
	return recording.Play(ctx, sb, out, os.Stderr)
}

func draw(cast, picture string) error {
	from, err := os.Open(cast)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.Create(picture)
	if err != nil {
		return err
	}
	defer to.Close()
	if err := recording.Draw(to, from); err != nil {
		return err
	}
	return to.Close()
}
