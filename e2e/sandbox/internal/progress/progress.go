// Package progress tells a person what a long task is doing.
package progress

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"
)

// plainEvery is how often a running task says something where lines cannot be rewritten.
const plainEvery = 10 * time.Second

// Reporter writes the state of tasks: rewritten in place on a terminal, as plain lines elsewhere.
type Reporter struct {
	mu    sync.Mutex
	out   io.Writer
	width int // of the terminal; 0: plain lines
	start time.Time
}

// New returns a reporter to out; a nil out says nothing.
func New(out io.Writer) *Reporter {
	r := &Reporter{out: out, start: time.Now()}
	if out == nil {
		r.out = io.Discard
	}
	if f, ok := out.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		r.width, _, _ = term.GetSize(int(f.Fd()))
	}
	return r
}

// Say writes one line that stays.
func (r *Reporter) Say(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.line(fmt.Sprintf(format, args...), true)
}

func (r *Reporter) line(text string, stays bool) {
	text = fmt.Sprintf("%5.1fs  %s", time.Since(r.start).Seconds(), text)
	if r.width == 0 {
		fmt.Fprintln(r.out, text)
		return
	}
	if len(text) >= r.width {
		text = text[:r.width-1]
	}
	end := ""
	if stays {
		end = "\n"
	}
	fmt.Fprintf(r.out, "\r\x1b[K%s%s", text, end)
}

// Task is one piece of work with a name and an end.
type Task struct {
	r    *Reporter
	name string
	from time.Time
	last time.Time // of the last plain line
	mu   sync.Mutex
}

// Start begins a task and says so.
func (r *Reporter) Start(name, format string, args ...any) *Task {
	t := &Task{r: r, name: name, from: time.Now(), last: time.Now()}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.line(name+": "+fmt.Sprintf(format, args...), false)
	return t
}

// Update says how far the task is.
func (t *Task) Update(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.r.width == 0 && time.Since(t.last) < plainEvery {
		return
	}
	t.last = time.Now()
	t.r.mu.Lock()
	defer t.r.mu.Unlock()
	t.r.line(t.name+": "+fmt.Sprintf(format, args...), false)
}

// Done says what came of the task and how long it took.
func (t *Task) Done(format string, args ...any) {
	text := strings.TrimSpace(fmt.Sprintf(format, args...))
	t.r.Say("%s: %s (%s)", t.name, text, time.Since(t.from).Round(100*time.Millisecond))
}
