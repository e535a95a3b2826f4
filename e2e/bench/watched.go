package bench

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/charmbracelet/x/vt"
	"github.com/creack/pty"

	"github.com/serin-cd/serin/internal/releasetest"
	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/task/parameter"
	"github.com/serin-cd/serin/pkg/task/run"
)

const (
	weights = 10 // that are written while a run is watched
	patient = 30 * time.Second
)

// watch measures watch of a run whose weight changes now and then, as a person sees it.
func (c command) watch(ctx context.Context, r *Report, cluster *kube.Cluster, app application.Application, id run.ID,
	how string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	args := c.connected("watch", app.Name, "--namespace", app.Namespace)
	if strings.HasPrefix(how, "-") {
		args = append(args, how)
	}
	given := []parameter.Weight{20}
	write := func() error { return releasetest.Record(ctx, cluster, app, releasetest.Shifted(cluster, id, given...)) }
	if err := write(); err != nil {
		return err
	}
	pictures, err := onTerminal(ctx, exec.CommandContext(ctx, c.file, args...))
	if err != nil {
		return err
	}
	if _, err := shows(pictures, given[0]); err != nil {
		return err
	}
	var slowest time.Duration
	for i := range weights {
		given = append(given, parameter.Weight(21+i))
		begin := time.Now()
		if err := write(); err != nil {
			return err
		}
		at, err := shows(pictures, given[len(given)-1])
		if err != nil {
			return err
		}
		slowest = max(slowest, at.Sub(begin))
	}
	asked, err := c.atRest(pictures)
	if err != nil {
		return err
	}
	what := "tkn canary watch, " + how
	r.Add(
		Row{Part: commandPart, What: what + ": a change is shown after", Got: slowest.Seconds(), Want: wantShown,
			Unit: "s", Digits: 2, Note: fmt.Sprintf("slowest of %d, from before it is written", weights)},
		Row{Part: commandPart, What: what + ": API calls while nothing changes, in " + c.rest.String(),
			Got: float64(asked)})
	return nil
}

// atRest is how often the API server is asked while nothing changes.
func (c command) atRest(pictures <-chan picture) (int, error) {
	before, err := c.asked()
	if err != nil {
		return 0, err
	}
	for over := time.After(c.rest); ; {
		select {
		case _, goesOn := <-pictures: // of the seconds that pass
			if !goesOn {
				return 0, fmt.Errorf("watch has ended, want it to go on")
			}
		case <-over:
			after, err := c.asked()
			return after - before, err
		}
	}
}

// picture is what a terminal shows, and since when.
type picture struct {
	at   time.Time
	text string
}

// shows waits until a weight is in a picture, and returns when that came.
func shows(pictures <-chan picture, weight parameter.Weight) (time.Time, error) {
	want, last := fmt.Sprintf(" %d %%", weight), ""
	for late := time.After(patient); ; {
		select {
		case p, goesOn := <-pictures:
			if !goesOn {
				return time.Time{}, fmt.Errorf("watch has ended without%s:\n%s", want, last)
			}
			if last = p.text; strings.Contains(last, want) {
				return p.at, nil
			}
		case <-late:
			return time.Time{}, fmt.Errorf("watch has not shown%s within %s:\n%s", want, patient, last)
		}
	}
}

// onTerminal starts a program on a terminal. There is a picture for each of its writes, until it ends.
func onTerminal(ctx context.Context, cmd *exec.Cmd) (<-chan picture, error) {
	const columns, rows = 80, 24
	cmd.Env = append(os.Environ(), "TERM=xterm-256color")
	terminal, err := pty.StartWithSize(cmd, &pty.Winsize{Cols: columns, Rows: rows})
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", cmd, err)
	}
	screen := vt.NewSafeEmulator(columns, rows)
	go func() { _, _ = io.Copy(terminal, screen) }() // answers to what the program asks its terminal
	pictures := make(chan picture)
	go func() {
		defer close(pictures)
		defer func() { _ = screen.Close(); _ = terminal.Close(); _ = cmd.Wait() }()
		for buffer := make([]byte, 1<<16); ; {
			n, err := terminal.Read(buffer)
			at := time.Now()
			if err != nil {
				return // it has ended
			}
			if _, err := screen.Write(buffer[:n]); err != nil {
				return
			}
			select {
			case pictures <- picture{at, screen.String()}:
			case <-ctx.Done():
				return
			}
		}
	}()
	return pictures, nil
}
