package build

import (
	"context"
	"os"
	"path/filepath"

	"github.com/serin-cd/serin/e2e/sandbox/internal/progress"
)

// istioExtensions imports each of the 350 extensions that an Envoy may have, a fifth of all that istiod compiles.
// Without it istiod knows the extensions that it configures itself; it refuses an EnvoyFilter that has another.
const istioExtensions = "pkg/config/xds/filter_types.gen.go"

// Istiod is Istio's control plane, pilot-discovery.
func Istiod() (Artifact, error) {
	program, err := cluster("istiod", target{packages: []string{"istio.io/istio/pilot/cmd/pilot-discovery"},
		tags: "vtprotobuf,disable_pgv"})
	program.patches = []patch{{module: "istio.io/istio", remove: []string{istioExtensions}}}
	return program, err
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

func (c istioCRDs) make(ctx context.Context, dir string, turn *Turn, p *progress.Reporter) error {
	turn.pass()
	version, err := c.version(ctx)
	if err != nil {
		return err
	}
	module, err := moduleDir(ctx, os.TempDir(), "istio.io/api@"+version)
	if err != nil {
		return err
	}
	return copyFile(filepath.Join(module, "kubernetes", "customresourcedefinitions.gen.yaml"),
		filepath.Join(dir, "crds.yaml"), 0o644)
}
