package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/serin-cd/serin/e2e/trial"
	"github.com/serin-cd/serin/pkg/task/run"
)

// What is wanted of a release that is disturbed.
const (
	wantNoticed   = 2   // s
	wantDisturbed = 150 // failed requests
	away          = time.Minute
)

// disturbance is what happens to a release while it is under way.
type disturbance struct {
	name    string
	version trial.Version // that is released
	at      func(trial.State) bool
	do      func(ctx context.Context) error
	after   func(ctx context.Context) error // a minute later; nil for nothing
	outcome run.Outcome

	noticed, lost Row
}

// disturbed plays releases that are disturbed, and measures each from that moment on.
func (b *bench) disturbed(ctx context.Context, app *trial.App, c *trial.Clients) error {
	at40 := func(s trial.State) bool { return s.Weight == 40 }
	promoting := func(s trial.State) bool {
		return s.Record != nil && s.Record.Phase == run.Promoting &&
			s.Weight == 60
	}
	push := func(ctx context.Context) error { return app.Push(ctx, trial.Errors) }
	note := "of its answers every third a 500"
	for _, d := range []disturbance{
		{
			name: "pushed-at-40", version: trial.V2, at: at40, do: push, outcome: run.RolledBack,
			noticed: Row{What: "another revision pushed at weight 40: to weight 0", Want: wantNoticed, Note: note,
				Rival: "57 s"},
			lost: Row{What: "another revision pushed at weight 40: failed requests", Want: wantDisturbed,
				Rival: "1052"},
		}, {
			name: "pods-die", version: trial.V2, at: at40, outcome: run.RolledBack,
			do: func(ctx context.Context) error {
				if err := app.ScaleTekton(ctx, 0); err != nil {
					return err
				}
				return app.Crash(ctx)
			},
			after:   func(ctx context.Context) error { return app.ScaleTekton(ctx, 1) },
			noticed: Row{What: "the canary's pods die at weight 40 while Tekton is down: to weight 0", None: true},
			lost: Row{What: "the canary's pods die at weight 40 while Tekton is down: failed requests",
				Want: wantDisturbed, Rival: "4099"},
		}, {
			name: "pushed-promoting", version: trial.V2, at: promoting, do: push, outcome: run.Promoted,
			noticed: Row{What: "another revision pushed while promoting: to weight 0", Want: wantNoticed, Note: note},
			lost: Row{What: "another revision pushed while promoting: failed requests", Want: wantDisturbed,
				Rival: "1636"},
		},
	} {
		b.say("%s", d.lost.What)
		if err := b.disturb(ctx, app, c, d); err != nil {
			return fmt.Errorf("%s: %w", d.name, err)
		}
	}
	return nil
}

func (b *bench) disturb(ctx context.Context, app *trial.App, c *trial.Clients, d disturbance) error {
	watched, stop := context.WithCancel(ctx)
	defer stop()
	zero := weightZero(watched, app)
	if err := app.Push(ctx, d.version); err != nil {
		return err
	}
	started, err := app.Start(ctx, "canary", d.name, nil)
	if err != nil {
		return err
	}
	if err := app.Eventually(ctx, 5*time.Minute, "the release is at its moment",
		func(ctx context.Context) (bool, error) {
			s, err := app.State(ctx)
			return err == nil && d.at(s), err
		}); err != nil {
		return err
	}
	c.Reset()
	begin := time.Now()
	if err := d.do(ctx); err != nil {
		return err
	}
	if d.after != nil {
		defer func() { _ = d.after(context.WithoutCancel(ctx)) }() // also where it fails before
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Until(begin.Add(away))):
		}
		if err := d.after(ctx); err != nil {
			return err
		}
	}
	result, err := started.Wait(ctx, 10*time.Minute)
	if err != nil {
		return err
	}
	if got := result.Results["outcome"]; got != string(d.outcome) {
		return fmt.Errorf("outcome %q (%s), want %q", got, result.Results["reason"], d.outcome)
	}
	stop()
	sent, failed := c.Seen()
	d.noticed.Part, d.noticed.Got, d.noticed.Unit, d.noticed.Digits = "Releases", (<-zero).Sub(begin).Seconds(), "s", 1
	d.lost.Part, d.lost.Got, d.lost.Note = "Releases", float64(len(failed)), fmt.Sprintf("of %d", sent)
	b.report.Add(d.noticed, d.lost)
	return nil
}
