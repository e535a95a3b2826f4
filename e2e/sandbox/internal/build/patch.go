package build

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// patch is a module of which a program is built from a changed copy: go replaces no single file of a module.
type patch struct {
	module string
	remove []string // files that the copy goes without
}

// older are changes that let sources for newer versions of client-go compile with Kubernetes' own, so that all programs
// share it. What is newer are lists that are streamed, and port forwarding; no program does either in a sandbox.
var older = []string{
	"cache.ToListWatcherWithWatchListSemantics(",
	"func(lw cache.ListerWatcher, _ any) cache.ListerWatcher { return lw }(",
	"cache.DoneChecker", "any",
	"spdy.NewUpgraderForStreaming(upgrader)", "spdy.Upgrader(upgrader)",
	"ForStreaming(", "(",
	"k8s.io/streaming/pkg/", "k8s.io/apimachinery/pkg/util/",
}

// patched copies the program's patched modules to src, and returns a go.mod that has them.
func (g program) patched(ctx context.Context, src string) (modfile string, err error) {
	edit := []string{"mod", "edit"}
	for _, p := range g.patches {
		from, err := moduleDir(ctx, g.dir, p.module)
		if err != nil {
			return "", err
		}
		to := filepath.Join(src, filepath.FromSlash(p.module))
		if err := copySources(from, to); err != nil {
			return "", fmt.Errorf("copying module %s: %w", p.module, err)
		}
		for _, file := range p.remove {
			if err := os.Remove(filepath.Join(to, filepath.FromSlash(file))); err != nil {
				return "", fmt.Errorf("patching module %s: %w", p.module, err)
			}
		}
		edit = append(edit, "-replace="+p.module+"="+to)
	}
	modfile = filepath.Join(src, "patched.mod")
	err = errors.Join(copyFile(filepath.Join(g.dir, "go.mod"), modfile, 0o644),
		copyFile(filepath.Join(g.dir, "go.sum"), filepath.Join(src, "patched.sum"), 0o644))
	if err == nil {
		_, err = goOutput(ctx, g.dir, append(edit, modfile)...)
	}
	return modfile, err
}

// copySources copies a module without its tests, and makes it older.
func copySources(from, to string) error {
	makeOlder := strings.NewReplacer(older...)
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && d.Name() == "testdata" {
			return fs.SkipDir
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o755)
		}
		if !d.Type().IsRegular() || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if strings.HasSuffix(path, ".go") {
			text = []byte(makeOlder.Replace(string(text)))
		}
		return os.WriteFile(filepath.Join(to, rel), text, 0o644)
	})
}
