package scale

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/serin-cd/serin/internal/packing"
)

// starting is how long a program keeps its task's place that then waits for pods or for Prometheus.
const starting = 300 * time.Millisecond

// waiting are the steps that do. Others keep it for the step that follows.
var waiting = []string{"prepare-canary", "analyze-metrics", "promote-primary", "rollback"}

// niceness leaves the processors to the API server and Prometheus first, which would have their own.
const niceness = 5

// places is how many programs start or work at once: in a cluster they would have more processors than here.
var places = 3 * runtime.NumCPU()

// programs are the steps as they are shipped.
type programs struct {
	files  map[string]string
	places chan struct{}
}

func buildPrograms(ctx context.Context, root, dir string) (*programs, error) {
	text, err := packing.Manifest(root)
	if err != nil {
		return nil, err
	}
	images, err := packing.Build(ctx, root, dir, text, "scale", "scale")
	if err != nil {
		return nil, err
	}
	p := &programs{files: map[string]string{}, places: make(chan struct{}, places)}
	for _, i := range images {
		p.files[i.Program] = i.File
	}
	return p, nil
}

// exit is the end of a step.
type exit struct {
	run, task, step string
	app             *app
	code            int           // -1: a signal
	work            time.Duration // of processors, user and system
	took            time.Duration // from its start
	said            string        // its last line
}

// death is when a program is killed: some time after its start, once due is closed.
type death struct {
	due   <-chan struct{}
	after time.Duration
}

// run runs a program to its end, in a place. Where ctx ends it is killed.
func (p *programs) run(ctx context.Context, at *place, name string, env []string, d *death) (exit, error) {
	file, ok := p.files[name]
	if !ok {
		return exit{}, fmt.Errorf("starting %s: no such step was built", name)
	}
	if err := at.enter(ctx); err != nil {
		return exit{}, err
	}
	said := &lastLine{}
	cmd := exec.CommandContext(ctx, file)
	cmd.Env, cmd.Stderr = env, said
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		return exit{}, err
	}
	_ = syscall.Setpriority(syscall.PRIO_PROCESS, cmd.Process.Pid, niceness) // it may have ended
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	var started <-chan time.Time
	if slices.Contains(waiting, name) {
		started = time.After(starting)
	}
	err := wait(cmd, done, started, at, d)
	if ctx.Err() != nil {
		return exit{}, context.Cause(ctx)
	}
	if other := (*exec.ExitError)(nil); err != nil && !errors.As(err, &other) {
		return exit{}, fmt.Errorf("running %s: %w", name, err)
	}
	s := cmd.ProcessState
	return exit{code: s.ExitCode(), work: s.UserTime() + s.SystemTime(), took: time.Since(begin), said: said.String()},
		nil
}

// place is one task's, for whichever of its steps is at work: in a pod they follow each other at once.
type place struct {
	free chan struct{}
	held bool
}

func (p *programs) place() *place { return &place{free: p.places} }

// enter waits until there is room, unless the task has a place already.
func (p *place) enter(ctx context.Context) error {
	if p.held {
		return nil
	}
	select {
	case p.free <- struct{}{}:
		p.held = true
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (p *place) leave() {
	if p.held {
		p.held = false
		<-p.free
	}
}

// wait returns when a program has ended, and gives up the place once it has started.
func wait(cmd *exec.Cmd, done <-chan error, started <-chan time.Time, at *place, d *death) error {
	var due <-chan struct{}
	var fatal <-chan time.Time
	if d != nil {
		due = d.due
	}
	for {
		select {
		case err := <-done:
			return err
		case <-started:
			at.leave()
		case <-due:
			due, fatal = nil, time.After(d.after)
		case <-fatal:
			_ = cmd.Process.Kill() // it may just have ended
		}
	}
}

// lastLine keeps the end of what is written to it.
type lastLine struct{ text string }

// Write implements io.Writer.
func (l *lastLine) Write(p []byte) (int, error) {
	l.text += string(p)
	l.text = l.text[max(0, len(l.text)-2000):]
	return len(p), nil
}

// String is the last line, or as much of it as people read.
func (l *lastLine) String() string {
	lines := strings.Split(strings.TrimSpace(l.text), "\n")
	last := lines[len(lines)-1]
	return last[:min(len(last), 400)]
}
