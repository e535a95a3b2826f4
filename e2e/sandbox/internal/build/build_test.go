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
	first, err := Ensure(t.Context(), a, NewTurn(nil), p)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(first, "hello")); err != nil {
		t.Error(err)
	}
	if !strings.Contains(said.String(), "hello: built") {
		t.Errorf("it said %q, want what was built", said.String())
	}

	said.Reset()
	again, err := Ensure(t.Context(), a, NewTurn(nil), p)
	if err != nil || again != first || said.Len() > 0 {
		t.Errorf("got %s (%v, said %q) the second time, want %s from the cache", again, err, said.String(), first)
	}

	if err := os.WriteFile(filepath.Join(a.dir, "main.go"), []byte("package main\n\nfunc main() { println(2) }\n"),
		0o644); err != nil {
		t.Fatal(err)
	}
	changed, err := Ensure(t.Context(), a, NewTurn(nil), p)
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
	if _, err := Ensure(t.Context(), written(t, "package main\n\nfunc main() { nonsense() }\n"), NewTurn(nil),
		progress.New(nil)); err == nil || !strings.Contains(err.Error(), "nonsense") {
		t.Errorf("got %v, want the compiler's words", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Ensure(ctx, written(t, "package main\n\nfunc main() {}\n"), NewTurn(nil),
		progress.New(nil)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want it canceled", err)
	}
	left, err := filepath.Glob(filepath.Join(cache, "serin", "build", "*hello-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v (%v)", left, err)
	}
}

// TestTurns has the third wait for the first, though the second has nothing to compile.
func TestTurns(t *testing.T) {
	first := NewTurn(nil)
	second := NewTurn(first)
	third := NewTurn(second)
	if err := first.wait(t.Context()); err != nil {
		t.Errorf("the first: %v, want it to compile at once", err)
	}
	second.pass()
	impatient, cancel := context.WithCancel(t.Context())
	cancel()
	if err := third.wait(impatient); !errors.Is(err, context.Canceled) {
		t.Errorf("the third, while the first compiles: %v, want it canceled", err)
	}
	select {
	case <-third.before:
		t.Error("the third may compile while the first does")
	default:
	}
	first.pass()
	first.pass()
	if err := third.wait(t.Context()); err != nil {
		t.Errorf("the third, when the first has compiled: %v, want it to compile", err)
	}
}

// TestVersions compares what the sandbox calls its programs with what they are.
func TestVersions(t *testing.T) {
	program, err := cluster("any")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"k8s.io/kubernetes": KubernetesVersion, tektonModule: TektonVersion} {
		if got, err := goOutput(t.Context(), program.dir, "list", "-m", "-f={{.Version}}", name); err != nil ||
			got != want {
			t.Errorf("%s: the cluster's module requires %s (%v), want %s", name, got, err, want)
		}
	}
	if program, err = module("triggers", "any"); err != nil {
		t.Fatal(err)
	}
	if got, err := goOutput(t.Context(), program.dir, "list", "-m", "-f={{.Version}}", triggersModule); err != nil ||
		got != TriggersVersion {
		t.Errorf("%s: its module requires %s (%v), want %s", triggersModule, got, err, TriggersVersion)
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
