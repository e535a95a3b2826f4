package build

import (
	"context"
	"os"
	"path/filepath"

	"github.com/serin-cd/serin/e2e/sandbox/internal/progress"
)

// definitions is crds.yaml: custom resource definitions as a module has them, at the version that another requires.
type definitions struct {
	name   string
	from   string // folder of the module that requires the other
	module string // that has them
	file   string // of that module
}

func (d definitions) Name() string { return d.name }

func (d definitions) version(ctx context.Context) (string, error) {
	return goOutput(ctx, d.from, "list", "-m", "-f={{.Version}}", d.module)
}

func (d definitions) key(ctx context.Context) (string, error) {
	version, err := d.version(ctx)
	if err != nil {
		return "", err
	}
	return digest("", nil, version)
}

func (d definitions) make(ctx context.Context, dir string, turn *Turn, _ *progress.Reporter) error {
	turn.pass()
	version, err := d.version(ctx)
	if err != nil {
		return err
	}
	module, err := moduleDir(ctx, os.TempDir(), d.module+"@"+version)
	if err != nil {
		return err
	}
	return copyFile(filepath.Join(module, d.file), filepath.Join(dir, "crds.yaml"), 0o644)
}
