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

// tektonTargets are built inside Tekton's own module: with newer OpenTelemetry modules beside it, controller and webhook
// panic at their start. The entrypoint is copied into every pod, so it leaves out 37 MB that no run here uses.
var tektonTargets = []target{
	{packages: []string{"./cmd/entrypoint"}, tags: "disable_spire,disable_tls"},
	{packages: []string{"./cmd/controller", "./cmd/webhook"}},
}

// tektonManifests is what an installation needs, in the order in which it can be applied.
var tektonManifests = []string{
	"100-namespace/*.yaml", "200-*.yaml", "201-*.yaml", "clusterrole-*.yaml", "300-crds/*.yaml",
	"config-*.yaml", "500-webhooks.yaml", "controller.yaml", "webhook.yaml",
}

type tekton struct{}

// Tekton is Pipelines' controller, webhook and entrypoint, and tekton.yaml, its manifests as they are in the module.
func Tekton() Artifact { return tekton{} }

func (tekton) Name() string { return "tekton" }

func (tekton) key(ctx context.Context) (string, error) {
	version, err := goOutput(ctx, ".", "env", "GOVERSION", "GOARCH")
	if err != nil {
		return "", err
	}
	return digest("", nil, TektonVersion, version, fmt.Sprintf("%+v %v", tektonTargets, tektonManifests))
}

func (tekton) make(ctx context.Context, dir string, p *progress.Reporter) error {
	module, err := moduleDir(ctx, "github.com/tektoncd/pipeline@"+TektonVersion)
	if err != nil {
		return err
	}
	src := filepath.Join(dir, "src")
	for _, part := range []string{"cmd", "pkg", "internal", "third_party", "go.mod", "go.sum"} {
		if err := copyPart(module, src, part); err != nil {
			return err
		}
	}
	defer os.RemoveAll(src)
	for _, t := range tektonTargets {
		if err := compile(ctx, "tekton", src, dir, t, p); err != nil {
			return err
		}
	}
	var manifest bytes.Buffer
	for _, pattern := range tektonManifests {
		files, err := filepath.Glob(filepath.Join(module, "config", pattern))
		if err != nil || len(files) == 0 {
			return fmt.Errorf("looking for %s in Tekton's module: found none", pattern)
		}
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				return err
			}
			fmt.Fprintf(&manifest, "---\n%s\n", b)
		}
	}
	return os.WriteFile(filepath.Join(dir, "tekton.yaml"), manifest.Bytes(), 0o644)
}

func copyPart(module, src, part string) error {
	from := filepath.Join(module, part)
	info, err := os.Stat(from)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.IsDir() {
		return copyTree(from, filepath.Join(src, part))
	}
	return copyFile(from, filepath.Join(src, part), 0o644)
}

// moduleDir fetches a module, named with its version, and returns the folder of its files.
func moduleDir(ctx context.Context, module string) (string, error) {
	out, err := goOutput(ctx, os.TempDir(), "mod", "download", "-json", module)
	if err != nil {
		return "", err
	}
	var info struct{ Dir string }
	if err := json.Unmarshal([]byte(out), &info); err != nil {
		return "", fmt.Errorf("reading go's description of module %s: %w", module, err)
	}
	return info.Dir, nil
}

type istioCRDs struct{}

// IstioCRDs is crds.yaml, the custom resource definitions of the Istio version that this module requires.
func IstioCRDs() Artifact { return istioCRDs{} }

func (istioCRDs) Name() string { return "istio-crds" }

func (istioCRDs) version(ctx context.Context) (string, error) {
	dir, err := sourceDir()
	if err != nil {
		return "", err
	}
	return goOutput(ctx, dir, "list", "-m", "-f={{.Version}}", "istio.io/api")
}

func (c istioCRDs) key(ctx context.Context) (string, error) {
	version, err := c.version(ctx)
	if err != nil {
		return "", err
	}
	return digest("", nil, version)
}

func (c istioCRDs) make(ctx context.Context, dir string, p *progress.Reporter) error {
	version, err := c.version(ctx)
	if err != nil {
		return err
	}
	module, err := moduleDir(ctx, "istio.io/api@"+version)
	if err != nil {
		return err
	}
	return copyFile(filepath.Join(module, "kubernetes", "customresourcedefinitions.gen.yaml"), filepath.Join(dir, "crds.yaml"), 0o644)
}
