package judge

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/serin-cd/serin/pkg/judge/sequential"
	"github.com/serin-cd/serin/pkg/task/failure"
	"github.com/serin-cd/serin/pkg/task/run"
)

const (
	// often is how often a canary that fails hard is looked for.
	often = 5 * time.Second
	// shortestPause keeps clocks that disagree by a little from asking without end.
	shortestPause = 50 * time.Millisecond
)

// weighing is one call of Judge with the sequential judge. What it knows it has read since it began.
type weighing struct {
	*judging
	read   *reading
	limits limits
	rules  sequential.Rules
	found  *sequential.Findings
	logged int // moments
}

// weigh judges the last phase until there is a verdict.
func (j *Judge) weigh(ctx context.Context, r *judging) (Verdict, error) {
	last := r.phases[len(r.phases)-1]
	if last.Weight < 1 || last.Weight > 99 {
		return Verdict{}, failure.Configf("weight %d leaves no primary to compare with, want 1 to 99: use judge classic", last.Weight)
	}
	if err := r.start(ctx); err != nil {
		return Verdict{}, err
	}
	w := &weighing{judging: r, read: newReading(j, r.q, r.phases[0].At), rules: j.config.rules(!j.asOf.IsZero())}
	w.limits = newLimits(r)
	verdict, reason, err := w.run(ctx)
	if err != nil {
		return Verdict{}, err
	}
	v := w.worded(verdict, reason)
	if err := w.linger(ctx, verdict); err != nil {
		return Verdict{}, err
	}
	return v, nil
}

func (w *weighing) run(ctx context.Context) (sequential.Verdict, string, error) {
	for {
		if err := w.look(ctx); err != nil {
			return sequential.Wait, "", err
		}
		verdict, reason := w.decide()
		if verdict != sequential.Wait {
			return verdict, reason, nil
		}
		if err := w.pause(ctx, w.next()); err != nil {
			return sequential.Wait, "", err
		}
	}
}

func (w *weighing) since(t time.Time) time.Duration { return t.Sub(w.phases[0].At) }

func (w *weighing) stage() run.Stage { return w.phases[len(w.phases)-1] }

// look reads everything once a cell has closed, and at the deadline; in between it only looks for a canary
// that fails hard.
func (w *weighing) look(ctx context.Context) error {
	if err := w.read.learn(ctx); err != nil {
		return err
	}
	closed := sequential.Closed(w.since(w.now), w.read.grid(), time.Duration(w.config.Settle))
	full := w.found == nil || closed > len(w.found.Moments) || w.now.Sub(w.stage().At) >= w.rules.Deadline
	if !full {
		hard, err := w.read.poll(ctx, w.now)
		if err != nil {
			return err
		}
		full = hard
	}
	if full {
		evidence, err := w.read.evidence(ctx, w.now)
		if err != nil {
			return err
		}
		evidence.Phases = w.relative()
		found := sequential.Weigh(evidence)
		w.found = &found
		w.log(ctx)
	}
	w.limits.of(w.read.reporter)
	if verdict, _ := w.rules.Decide(w.standing()); verdict == sequential.Fail {
		return nil // no limit would change it
	}
	return w.limits.look(ctx, w.now)
}

// relative are the phases in the terms of the judge.
func (w *weighing) relative() []sequential.Phase {
	var phases []sequential.Phase
	for _, p := range w.phases {
		phases = append(phases, sequential.Phase{At: w.since(p.At), Weight: float64(p.Weight) / 100})
	}
	return phases
}

// standing is what a decision rests on at this moment.
func (w *weighing) standing() sequential.Standing {
	s := w.found.Standing
	s.Since = w.now.Sub(w.stage().At)
	s.Obeyed = s.Obeyed || w.config.Sequential.WeightCheck == "off"
	s.Halted = w.limits.halted
	return s
}

func (w *weighing) decide() (sequential.Verdict, string) {
	verdict, reason := w.rules.Decide(w.standing())
	if verdict != sequential.Fail && w.limits.exceeded() {
		return sequential.Fail, "threshold"
	}
	return verdict, reason
}

// next is the time at which there is something new to look at.
func (w *weighing) next() time.Time {
	start, at, grid := w.phases[0].At, w.stage().At, w.read.grid()
	cells := time.Duration(len(w.found.Moments) + 1)
	times := []time.Time{
		w.now.Add(often), start.Add(cells*grid + time.Duration(w.config.Settle)),
		at.Add(w.rules.MinDwell), at.Add(w.rules.TimeBox), at.Add(w.rules.Deadline), w.limits.next(),
	}
	times = slices.DeleteFunc(times, func(t time.Time) bool { return !t.After(w.now) })
	return slices.MinFunc(times, time.Time.Compare)
}

// pause waits until a time on Prometheus's clock has come, or nearly so.
func (w *weighing) pause(ctx context.Context, until time.Time) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-w.clock.After(max(until.Sub(w.now), shortestPause)):
	}
	now, err := w.q.Now(ctx)
	if err != nil {
		return err
	}
	w.now = now
	return ctx.Err()
}

// linger gives a stage that is only watched the time that it would have had: a bad canary that nobody takes
// back should not reach its next weight sooner than a good one.
func (w *weighing) linger(ctx context.Context, verdict sequential.Verdict) error {
	if w.config.Mode != modeShadow || verdict == sequential.Pass || !w.asOf.IsZero() {
		return nil
	}
	until := w.stage().At.Add(max(w.rules.MinDwell, w.rules.TimeBox))
	for w.now.Before(until) {
		if err := w.pause(ctx, until); err != nil {
			return fmt.Errorf("waiting for the end of the stage: %w", err)
		}
	}
	return nil
}
