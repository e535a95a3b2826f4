package build

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/serin-cd/serin/e2e/sandbox/internal/progress"
)

// written writes a module with one program, and returns it as an artifact.
func written(t *testing.T, source string) program {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{"go.mod": "module example.com/hello\n\ngo 1.26\n", "main.go": source} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return program{name: "hello", dir: dir, targets: []target{{packages: []string{"."}}}}
}

func TestEnsure(t *testing.T) {
	goCache, err := goOutput(t.Context(), ".", "env", "GOCACHE")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("GOCACHE", goCache)
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	var said bytes.Buffer
	p := progress.New(&said)

	a := written(t, "package main\n\nfunc main() { println(1) }\n")
	first, err := Ensure(t.Context(), a, p)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(first, "hello")); err != nil {
		t.Error(err)
	}
	if !strings.Contains(said.String(), "hello: built .") {
		t.Errorf("it said %q, want what was built", said.String())
	}

	said.Reset()
	again, err := Ensure(t.Context(), a, p)
	if err != nil || again != first || said.Len() > 0 {
		t.Errorf("got %s (%v, said %q) the second time, want %s from the cache", again, err, said.String(), first)
	}

	if err := os.WriteFile(filepath.Join(a.dir, "main.go"), []byte("package main\n\nfunc main() { println(2) }\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	changed, err := Ensure(t.Context(), a, p)
	if err != nil || changed == first {
		t.Errorf("got %s (%v) for another source, want it built anew", changed, err)
	}
}

func TestEnsureLeavesNothingHalf(t *testing.T) {
	cache := t.TempDir()
	goCache, err := goOutput(t.Context(), ".", "env", "GOCACHE")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("GOCACHE", goCache)
	t.Setenv("XDG_CACHE_HOME", cache)
	if _, err := Ensure(t.Context(), written(t, "package main\n\nfunc main() { nonsense() }\n"), progress.New(nil)); err == nil || !strings.Contains(err.Error(), "nonsense") {
		t.Errorf("got %v, want the compiler's words", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Ensure(ctx, written(t, "package main\n\nfunc main() {}\n"), progress.New(nil)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want it canceled", err)
	}
	left, err := filepath.Glob(filepath.Join(cache, "serin", "build", "*hello-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v (%v)", left, err)
	}
}

func TestCheckDigest(t *testing.T) {
	file := filepath.Join(t.TempDir(), "wheel")
	if err := os.WriteFile(file, []byte("not Envoy"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := checkDigest(file, envoyDigest); err == nil || !strings.Contains(err.Error(), envoyDigest) {
		t.Errorf("got %v, want an error with the digest that is expected", err)
	}
}
