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
	"slices"
	"strings"
	"time"

	"github.com/serin-cd/serin/e2e/sandbox/internal/progress"
)

// target is one call of the Go compiler's driver.
type target struct {
	packages []string
	modfile  string // where the module's own go.mod is not wanted
	tags     string
	ldflags  string
}

// compilerFlags spare the compiler a third of its work: no tables for a debugger, no inlining. Go's own packages are
// compiled as ever, so that they are shared with the other programs of this repository.
var compilerFlags = []string{"-gcflags=all=-l -dwarf=false", "-gcflags=std="}

// compilerMemory is a tenth of the compiler's work less: it collects garbage only if it needs a gigabyte, which few
// packages do.
var compilerMemory = []string{"GOGC=off", "GOMEMLIMIT=1GiB"}

func (t target) flags() []string {
	flags := append([]string{"-trimpath", "-ldflags=-s -w" + t.ldflags}, compilerFlags...)
	if t.modfile != "" {
		flags = append(flags, "-modfile="+t.modfile)
	}
	if t.tags != "" {
		flags = append(flags, "-tags="+t.tags)
	}
	return flags
}

// program is a set of binaries from one Go module.
type program struct {
	name    string
	dir     string // of the module, or of the package within the e2e module
	targets []target
	patches []patch
}

func (g program) Name() string { return g.name }

func (g program) key(ctx context.Context) (string, error) {
	version, err := goOutput(ctx, g.dir, "env", "GOVERSION", "GOARCH")
	if err != nil {
		return "", err
	}
	return digest(g.dir, func(path string) bool {
		base := filepath.Base(path)
		return base == "go.mod" || base == "go.sum" || strings.HasSuffix(base, ".go") &&
			!strings.HasSuffix(base, "_test.go")
	}, version, fmt.Sprintf("%+v %v %v %q", g.targets, g.patches, compilerFlags, older))
}

// make fetches all modules before it is its turn to compile: while another compiles, the network is idle.
func (g program) make(ctx context.Context, dir string, turn *Turn, p *progress.Reporter) error {
	task := p.Start(g.name, "fetching modules")
	targets := slices.Clone(g.targets)
	if len(g.patches) > 0 {
		src := filepath.Join(dir, "src")
		defer os.RemoveAll(src)
		modfile, err := g.patched(ctx, src)
		if err != nil {
			return err
		}
		for i := range targets {
			targets[i].modfile = modfile
		}
	}
	for _, t := range targets {
		if err := fetchModules(ctx, g.dir, t, task); err != nil {
			return err
		}
	}
	if err := turn.wait(ctx); err != nil {
		return err
	}
	for n, t := range targets {
		compiled := func() {}
		if n == len(targets)-1 {
			compiled = turn.pass
		}
		if err := compile(ctx, g.dir, dir, t, task, compiled); err != nil {
			return err
		}
	}
	task.Done("built")
	return nil
}

// fetchModules makes go fetch the modules that a target's packages come from.
func fetchModules(ctx context.Context, src string, t target, task *progress.Task) error {
	fetched := 0
	var said tail
	args := append([]string{"list", "-deps", "-f={{if .Error}}{{.Error}}{{end}}"}, t.flags()...)
	err := goStream(ctx, src, append(args, t.packages...), func(line string) {
		if module, ok := strings.CutPrefix(line, "go: downloading "); ok {
			fetched++
			task.Update("fetched %d modules, now %s", fetched, module)
			return
		}
		said.add(line)
	})
	if err != nil {
		return fmt.Errorf("go list: %w\n%s", err, said.String())
	}
	return nil
}

// compile builds one target of the module in src into dir, and tells how many of its packages are done. It calls
// compiled when all are, and what remains is to link them.
func compile(ctx context.Context, src, dir string, t target, task *progress.Task, compiled func()) error {
	what := strings.Join(t.packages, " ")
	stale, err := stalePackages(ctx, src, t)
	if err != nil {
		return err
	}
	task.Update("compiling %d packages", stale)

	args := append([]string{"build", "-v", "-o", dir + string(filepath.Separator)}, t.flags()...)
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
			compiled()
		}
		task.Update("%s, %s so far", state, time.Since(start).Round(time.Second))
	})
	if err != nil {
		return fmt.Errorf("go build %s: %w\n%s", what, err, said.String())
	}
	return nil
}

// stalePackages counts the packages that Go's build cache does not have.
func stalePackages(ctx context.Context, src string, t target) (int, error) {
	args := append([]string{"list", "-deps", "-f={{if .Stale}}{{.ImportPath}}{{end}}"}, t.flags()...)
	out, err := goOutput(ctx, src, append(args, t.packages...)...)
	return len(strings.Fields(out)), err
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
	if err := cmd.Wait(); err != nil {
		return errors.Join(errors.New(err.Error()), ctx.Err()) // go's exit status is not to become this program's
	}
	return nil
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

// goCommand is the go command in dir. Interrupted it keeps what it has compiled, so that the next try goes on from
// there.
func goCommand(ctx context.Context, dir string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOWORK=off", "GOFLAGS=-buildvcs=false")
	cmd.Env = append(cmd.Env, compilerMemory...)
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
