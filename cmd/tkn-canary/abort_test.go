package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/serin-cd/serin/internal/apitest"
	"github.com/serin-cd/serin/internal/releasetest"
	"github.com/serin-cd/serin/pkg/release/stage"
	"github.com/serin-cd/serin/pkg/task/run"
)

// TestAbortTellsWhenTheTrafficIsBack also while it goes on to wait, and knows no Prometheus.
func TestAbortTellsWhenTheTrafficIsBack(t *testing.T) {
	for _, wait := range []bool{false, true} {
		a := releasetest.New(t)
		r := a.Second()
		if err := stage.Shift(t.Context(), r, 40, time.Minute); err != nil {
			t.Fatal(err)
		}
		args := []string{"abort", "podinfo", "-n", a.Namespace, "--kubeconfig", apitest.KubeconfigOf(t)}
		if wait {
			args = append(args, "--wait", "--prometheus-url", "http://127.0.0.1:1")
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		read, write := io.Pipe()
		cmd := root()
		cmd.SetArgs(args)
		cmd.SetOut(write)
		ended := make(chan error, 1)
		began := time.Now()
		go func() {
			ended <- cmd.ExecuteContext(ctx)
			write.Close()
		}()
		lines := bufio.NewScanner(read)
		next := func(want string) {
			t.Helper()
			for lines.Scan() {
				if strings.Contains(lines.Text(), want) {
					return
				}
			}
			t.Fatalf("it ended with %v without %q", <-ended, want)
		}
		next("podinfo." + a.Namespace + ": all traffic to the primary")
		if took := time.Since(began); took > time.Second {
			t.Errorf("with wait %v it told after %s that the traffic is back, want it within a second", wait, took)
		}
		if s := a.State(); s.Weight != 0 || s.Outcome != run.RolledBack {
			t.Errorf("with wait %v the traffic was not back when it told so: %+v", wait, s)
		}
		if wait {
			next("waiting for 1m0s, because Prometheus cannot tell: reaching Prometheus at http://127.0.0.1:1")
			cancel()
		}
		go func() { _, _ = io.Copy(io.Discard, read) }()
		if err := <-ended; wait != errors.Is(err, context.Canceled) {
			t.Errorf("with wait %v it ended with %v", wait, err)
		}
	}
}
