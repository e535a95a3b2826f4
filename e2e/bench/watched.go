package bench

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/serin-cd/serin/e2e/tty"
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
	terminal, err := tty.Start(ctx, exec.CommandContext(ctx, c.file, args...))
	if err != nil {
		return err
	}
	pictures := terminal.Pictures
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
func (c command) atRest(pictures <-chan tty.Picture) (int, error) {
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

// shows waits until a weight is in a picture, and returns when that came.
func shows(pictures <-chan tty.Picture, weight parameter.Weight) (time.Time, error) {
	want, last := fmt.Sprintf(" %d %%", weight), ""
	for late := time.After(patient); ; {
		select {
		case p, goesOn := <-pictures:
			if !goesOn {
				return time.Time{}, fmt.Errorf("watch has ended without%s:\n%s", want, last)
			}
			if last = p.Text; strings.Contains(last, want) {
				return p.At, nil
			}
		case <-late:
			return time.Time{}, fmt.Errorf("watch has not shown%s within %s:\n%s", want, patient, last)
		}
	}
}
