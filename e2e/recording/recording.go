package recording

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/serin-cd/serin/e2e/sandbox"
	"github.com/serin-cd/serin/e2e/trial"
)

const (
	rate   = 100         // of the load, in requests a second
	before = time.Minute // that it goes on before the release, so that the judge knows what is usual
)

// Play releases an application, and then its next version, which is recorded into a file.
func Play(ctx context.Context, sb *sandbox.Sandbox, file string, progress io.Writer) error {
	installation, err := trial.Install(ctx, sb, progress)
	if err != nil {
		return err
	}
	app, err := installation.NewApp(ctx, "production", "shop", trial.V1)
	if err != nil {
		return err
	}
	if err := app.Initialize(ctx, ""); err != nil {
		return err
	}
	if err := app.Eventually(ctx, time.Minute, "the gateway answers for "+app.Host,
		func(ctx context.Context) (bool, error) { return app.Reached(ctx), nil }); err != nil {
		return err
	}
	defer app.Load(ctx, rate, nil)()
	root, err := trial.Checkout(ctx)
	if err != nil {
		return err
	}
	program := filepath.Join(root, "dist", "bin", "tkn-canary")
	build := exec.CommandContext(ctx, "go", "build", "-ldflags=-w", "-o", program, "./cmd/tkn-canary")
	build.Dir = root
	if text, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building tkn-canary: %w\n%s", err, text)
	}
	fmt.Fprintln(progress, "sending requests for", before)
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(before):
	}
	if err := app.Push(ctx, trial.V2); err != nil {
		return err
	}
	if _, err := app.Start(ctx, "canary", "shop-2", nil); err != nil {
		return err
	}
	fmt.Fprintln(progress, "recording the release of version", trial.V2)
	cmd := exec.CommandContext(ctx, program, "watch", app.Name, "-n", app.Namespace, "--kubeconfig", sb.Kubeconfig,
		"--context", sb.Context)
	cmd.Env = append(os.Environ(), "TERM=xterm-256color")
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	defer out.Close()
	cast := Cast{Columns: 96, Rows: 26, Typed: "tkn canary watch shop -n production", Faster: 8,
		Frame: 500 * time.Millisecond, Last: 4 * time.Second}
	if err := cast.Record(out, cmd); err != nil {
		return err
	}
	return out.Close()
}
