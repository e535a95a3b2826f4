// Command with-apiserver runs a command, such as go test, whose packages share one API server.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"github.com/serin-cd/serin/internal/apitest"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "with-apiserver: want a command and its arguments")
		os.Exit(2)
	}
	code, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "with-apiserver:", err)
	}
	os.Exit(code)
}

// run returns the command's exit code.
func run(command []string) (code int, err error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	server, err := apitest.Start(ctx, apitest.Options{Extra: []apitest.Component{apitest.Controllers}})
	if err != nil {
		return 1, err
	}
	defer func() { server.Stop(code != 0 && ctx.Err() == nil) }()
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), apitest.Kubeconfig+"="+server.Kubeconfig)
	err = cmd.Run()
	if exit := (&exec.ExitError{}); errors.As(err, &exit) && exit.Exited() {
		return exit.ExitCode(), nil // it has said why
	}
	if err != nil {
		return 1, fmt.Errorf("running %s: %w", command[0], err)
	}
	return 0, nil
}
