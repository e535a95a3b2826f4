package build

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/serin-cd/serin/e2e/sandbox/internal/progress"
)

// target is one call of the Go compiler's driver.
type target struct {
	packages []string
	output   string // a name, where the package's own is not wanted
	tags     string
	ldflags  string
}

// program is a set of binaries from one Go module.
type program struct {
	name    string
	dir     string // of the module, or of the package within the e2e module
	targets []target
}

func (g program) Name() string { return g.name }

func (g program) key(ctx context.Context) (string, error) {
	version, err := goOutput(ctx, g.dir, "env", "GOVERSION", "GOARCH")
	if err != nil {
		return "", err
	}
	return digest(g.dir, func(path string) bool {
		base := filepath.Base(path)
		return base == "go.mod" || base == "go.sum" || strings.HasSuffix(base, ".go") && !strings.HasSuffix(base, "_test.go")
	}, version, fmt.Sprintf("%+v", g.targets))
}

func (g program) make(ctx context.Context, dir string, p *progress.Reporter) error {
	for _, t := range g.targets {
		if err := compile(ctx, g.name, g.dir, dir, t, p); err != nil {
			return err
		}
	}
	return nil
}

// compile builds one target of the module in src into dir, and tells how many of its packages are done.
func compile(ctx context.Context, name, src, dir string, t target, p *progress.Reporter) error {
	flags := []string{"-trimpath", "-ldflags=-s -w" + t.ldflags}
	if t.tags != "" {
		flags = append(flags, "-tags="+t.tags)
	}
	what := strings.Join(t.packages, " ")
	task := p.Start(name, "fetching modules and counting what is to compile")
	stale, err := stalePackages(ctx, src, flags, t.packages, task)
	if err != nil {
		return err
	}
	task.Update("compiling %d packages", stale)

	out := dir + string(filepath.Separator)
	if t.output != "" {
		out += t.output
	}
	args := append([]string{"build", "-v", "-o", out}, flags...)
	var said tail
	done, start := 0, time.Now()
	err = goStream(ctx, src, append(args, t.packages...), func(line string) {
		said.add(line)
		if strings.HasPrefix(line, "#") || strings.ContainsAny(line, " \t") { // a message, not a package
			return
		}
		done++
		state := fmt.Sprintf("compiled %d of %d packages", done, max(stale, done))
		if done >= stale {
			state += ", now linking"
		}
		task.Update("%s, %s so far", state, time.Since(start).Round(time.Second))
	})
	if err != nil {
		return fmt.Errorf("go build %s: %w\n%s", what, err, said.String())
	}
	task.Done("built %s", what)
	return nil
}

// stalePackages counts the packages that the build cache does not have.
func stalePackages(ctx context.Context, src string, flags, packages []string, task *progress.Task) (int, error) {
	args := append([]string{"list", "-deps", "-f={{if .Stale}}{{.ImportPath}}{{end}}"}, flags...)
	count, fetched := 0, 0
	var said tail
	err := goStream(ctx, src, append(args, packages...), func(line string) {
		switch {
		case strings.HasPrefix(line, "go: downloading "):
			fetched++
			task.Update("fetched %d modules, now %s", fetched, strings.TrimPrefix(line, "go: downloading "))
		case strings.Contains(line, " "):
			said.add(line)
		case line != "":
			count++
		}
	})
	if err != nil {
		return 0, fmt.Errorf("go list: %w\n%s", err, said.String())
	}
	return count, nil
}

// goStream runs the go command in dir and hands over each line that it says.
func goStream(ctx context.Context, dir string, args []string, line func(string)) error {
	cmd := goCommand(ctx, dir, args...)
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		w.Close()
		return err
	}
	w.Close()
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line(lines.Text())
	}
	return errors.Join(cmd.Wait(), ctx.Err())
}

// goOutput runs the go command in dir and returns what it prints.
func goOutput(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := goCommand(ctx, dir, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return strings.TrimSpace(string(out)), nil
}

// goCommand is the go command in dir. Interrupted it keeps what it has compiled, so that the next try goes on from there.
func goCommand(ctx context.Context, dir string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOWORK=off", "GOFLAGS=-buildvcs=false")
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

// tail keeps the last lines of a program's words, for when it fails.
type tail struct{ lines []string }

func (t *tail) add(line string) {
	t.lines = append(t.lines, line)
	if len(t.lines) > 30 {
		t.lines = t.lines[1:]
	}
}

func (t *tail) String() string { return strings.Join(t.lines, "\n") }

// copyTree copies regular files and folders, writable, which the module cache's are not.
func copyTree(from, to string) error {
	return filepath.Walk(from, func(path string, info os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if info.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o755)
		}
		if !info.Mode().IsRegular() {
			return nil
		}
		return copyFile(path, filepath.Join(to, rel), 0o644)
	})
}

func copyFile(from, to string, mode os.FileMode) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		out.Close()
		return err
	}
	return out.Close()
}
