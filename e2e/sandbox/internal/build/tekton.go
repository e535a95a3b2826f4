package build

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/serin-cd/serin/e2e/sandbox/internal/progress"
)

// tektonTargets are Tekton's programs. The entrypoint is copied into every pod, so it leaves out 37 MB that no run here
// uses. Controller and webhook panic at their start beside newer modules of OpenTelemetry than their own.
var tektonTargets = []target{
	{packages: []string{tektonModule + "/cmd/entrypoint"}, tags: "disable_spire,disable_tls"},
	{packages: []string{tektonModule + "/cmd/controller", tektonModule + "/cmd/webhook"}},
}

const (
	tektonModule   = "github.com/tektoncd/pipeline"
	triggersModule = "github.com/tektoncd/triggers"
)

// tektonManifests is what an installation needs, in the order in which it can be applied.
var tektonManifests = []string{
	"100-namespace/*.yaml", "200-*.yaml", "201-*.yaml", "clusterrole-*.yaml", "300-crds/*.yaml",
	"config-*.yaml", "500-webhooks.yaml", "controller.yaml", "webhook.yaml",
}

var triggersManifests = []string{
	"200-*.yaml", "201-*.yaml", "clusterrole-*.yaml", "300-*.yaml", "config-*.yaml", "500-webhooks.yaml",
	"interceptors/00-*.yaml", "controller.yaml", "controller-service.yaml", "webhook.yaml", "webhook-service.yaml",
	"interceptors/core-interceptors-deployment.yaml", "interceptors/core-interceptors.yaml",
}

// tekton is a project of Tekton: its programs, and its manifests as they are in the module.
type tekton struct {
	program
	module    string
	manifests []string
}

// Tekton is Pipelines' controller, webhook and entrypoint, and tekton.yaml, its manifests.
func Tekton() (Artifact, error) {
	program, err := cluster("tekton", tektonTargets...)
	program.patches = []patch{{module: tektonModule}, {module: "knative.dev/pkg"}}
	return tekton{program, tektonModule, tektonManifests}, err
}

// Triggers is the controller, the webhook, the interceptors and the sink of Tekton Triggers, and triggers.yaml, its
// manifests. It is from a module of its own: it needs older modules than Pipelines.
func Triggers() (Artifact, error) {
	program, err := module("triggers", "triggers", target{packages: []string{triggersModule + "/cmd/controller",
		triggersModule + "/cmd/eventlistenersink", triggersModule + "/cmd/interceptors",
		triggersModule + "/cmd/webhook"}})
	return tekton{program, triggersModule, triggersManifests}, err
}

func (t tekton) key(ctx context.Context) (string, error) {
	programs, err := t.program.key(ctx)
	if err != nil {
		return "", err
	}
	return digest("", nil, programs, fmt.Sprint(t.manifests))
}

func (t tekton) make(ctx context.Context, dir string, turn *Turn, p *progress.Reporter) error {
	if err := t.program.make(ctx, dir, turn, p); err != nil {
		return err
	}
	module, err := moduleDir(ctx, t.dir, t.module)
	if err != nil {
		return err
	}
	var manifest bytes.Buffer
	for _, pattern := range t.manifests {
		files, err := filepath.Glob(filepath.Join(module, "config", filepath.FromSlash(pattern)))
		if err != nil || len(files) == 0 {
			return fmt.Errorf("looking for %s in module %s: found none", pattern, t.module)
		}
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				return err
			}
			fmt.Fprintf(&manifest, "---\n%s\n", b)
		}
	}
	return os.WriteFile(filepath.Join(dir, t.name+".yaml"), manifest.Bytes(), 0o644)
}

// moduleDir fetches a module, which the module in dir requires or which is named with its version, and returns the
// folder of its files.
func moduleDir(ctx context.Context, dir, module string) (string, error) {
	out, err := goOutput(ctx, dir, "mod", "download", "-json", module)
	if err != nil {
		return "", err
	}
	var info struct{ Dir string }
	if err := json.Unmarshal([]byte(out), &info); err != nil {
		return "", fmt.Errorf("reading go's description of module %s: %w", module, err)
	}
	return info.Dir, nil
}
