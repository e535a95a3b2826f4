// Command sandbox runs a real one-node Kubernetes with Tekton, Istio and Prometheus on this machine.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := root().ExecuteContext(ctx)
	interrupted := ctx.Err() != nil
	stop()
	var exit *exec.ExitError
	switch {
	case err == nil:
	case interrupted:
		fmt.Fprintln(os.Stderr, "sandbox: interrupted; what was compiled so far is kept")
		os.Exit(130)
	case errors.As(err, &exit) && exit.ExitCode() > 0: // a command on the node has said why
		os.Exit(exit.ExitCode())
	default:
		fmt.Fprintln(os.Stderr, "sandbox:", err)
		os.Exit(1)
	}
}
