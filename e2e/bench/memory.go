package bench

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/serin-cd/serin/e2e/trial"
)

// memory plays two releases with the programs as processes of this machine, without Tekton: a first one,
// and one that is promoted. It keeps the peak of each program.
func (p programs) memory(ctx context.Context, installation *trial.Installation, r *Report) error {
	app, err := installation.NewApp(ctx, "bench-memory", "shop", trial.V1)
	if err != nil {
		return err
	}
	defer func() { _ = app.Remove(context.WithoutCancel(ctx)) }()
	// to the janitor a run without a PipelineRun is one that was deleted
	if _, err := app.Kubectl(ctx, "", "delete", "cronjob", "serin-janitor"); err != nil {
		return err
	}
	sb := app.Sandbox
	env := environment{Kubeconfig: sb.Kubeconfig, Namespace: app.Namespace, App: app.Name, Prometheus: sb.Prometheus,
		Interval: "10s", Results: p.dir}
	peaks := map[string]float64{}
	run := func(name string, steps ...string) error {
		env.Run = name
		for _, step := range steps {
			peak, err := p.peak(ctx, step, env.list("20"))
			if err != nil {
				return err
			}
			peaks[step] = max(peaks[step], peak)
		}
		return nil
	}
	if err := run("first", "acquire-lease", "prepare-canary", "rollback", "report", "release-lease"); err != nil {
		return err
	}
	stop := app.Load(ctx, 20, nil)
	defer stop()
	if err := app.Push(ctx, trial.V2); err != nil {
		return err
	}
	if err := run("second", "acquire-lease", "prepare-canary", "shift-weight", "analyze-metrics", "promote-primary",
		"rollback", "report", "release-lease"); err != nil {
		return err
	}
	for _, name := range p.names {
		if peaks[name] == 0 {
			continue // it has no part in a release
		}
		row := wanted(name, "peak memory in a real release", "MiB", peaks[name], wantMemory, 1)
		if name == "shift-weight" {
			row.Rival = "62-65 MB, the controller, all the time"
		}
		r.Add(row)
	}
	return nil
}

// peak runs a program to its end and returns its peak memory in MiB.
func (p programs) peak(ctx context.Context, name string, env []string) (float64, error) {
	file := filepath.Join(p.dir, "peak.txt")
	cmd := exec.CommandContext(ctx, filepath.Join(p.dir, "peak"), file, filepath.Join(p.dir, name))
	cmd.Env = env
	if out, err := cmd.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("running %s: %w\n%s", name, err, out)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	kib, err := strconv.ParseFloat(strings.TrimSpace(string(text)), 64)
	return kib / 1024, err
}
