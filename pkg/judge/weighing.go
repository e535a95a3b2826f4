package judge

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/serin-cd/serin/pkg/judge/counting"
	"github.com/serin-cd/serin/pkg/judge/sequential"
	"github.com/serin-cd/serin/pkg/judge/verdict"
	"github.com/serin-cd/serin/pkg/task/failure"
	"github.com/serin-cd/serin/pkg/task/run"
)

const (
	// often is how often a canary that fails hard is looked for.
	often = 5 * time.Second
	// readable is how long after it begins a scrape can be read, and late where it takes its time.
	readable = 200 * time.Millisecond
	late     = 600 * time.Millisecond
	// shortestPause keeps clocks that disagree by a little from asking without end.
	shortestPause = 50 * time.Millisecond
)

// weighing is one call of Judge with the sequential judge. What it knows it has read since it began.
type weighing struct {
	*judging
	read    *reading
	limits  limits
	rules   sequential.Rules
	found   *sequential.Findings
	weigher sequential.Weigher
	layout  counting.Layout // as it was when all was weighed
	latest  counting.Layout // as it was at the last look
	weighed time.Time
	logged  int // moments
}

// weigh judges with the sequential judge.
func (r *judging) weigh(ctx context.Context) (verdict.Verdict, error) {
	last := r.stages[len(r.stages)-1]
	if last.Weight < 1 || last.Weight > 99 {
		return verdict.Verdict{}, failure.Configf("weight %d leaves no primary to compare with, want 1 to 99: "+
			"use judge classic", last.Weight)
	}
	if err := r.start(ctx); err != nil {
		return verdict.Verdict{}, err
	}
	w := &weighing{judging: r, read: newReading(r.Judge, r.q, r.stages[0].At), rules: r.config.rules(!r.asOf.IsZero())}
	w.limits = limits{judging: r, number: 1, canary: r.canary, primary: r.primary}
	if err := w.begin(ctx); err != nil {
		return verdict.Verdict{}, err
	}
	slog.InfoContext(ctx, "judging begins", "canary", r.target.Canary, "phase", len(r.stages), "weight", last.Weight,
		"judge", verdict.Sequential, "gate", w.rules.Gate, "min-dwell", w.rules.MinDwell, "time-box", w.rules.TimeBox,
		"deadline", w.rules.Deadline, "blame-limit", verdict.Rounded(1/w.rules.Alpha),
		"acquit-limit", verdict.Rounded(1/w.rules.Beta))
	decision, code, err := w.run(ctx)
	if err != nil {
		return verdict.Verdict{}, err
	}
	v := w.verdict(decision, code)
	return v, w.linger(ctx, decision)
}

// begin waits for the start where Prometheus's clock is behind: the history ends there.
func (w *weighing) begin(ctx context.Context) error {
	for start := w.stages[0].At; w.asOf.IsZero() && w.now.Before(start); {
		if err := w.pause(ctx, start); err != nil {
			return err
		}
	}
	return nil
}

func (w *weighing) run(ctx context.Context) (verdict.Decision, string, error) {
	for {
		if err := w.look(ctx); err != nil {
			return verdict.Wait, "", err
		}
		decision, code := w.decide()
		if decision != verdict.Wait {
			return decision, code, nil
		}
		if err := w.pause(ctx, w.next()); err != nil {
			return verdict.Wait, "", err
		}
	}
}

func (w *weighing) since(t time.Time) time.Duration { return t.Sub(w.stages[0].At) }

func (w *weighing) stage() run.Stage { return w.stages[len(w.stages)-1] }

// look reads everything once a cell has closed, at the deadline, and before it decides; in between it only looks for a
// canary that fails hard.
func (w *weighing) look(ctx context.Context) error {
	if err := w.read.learn(ctx); err != nil {
		return err
	}
	if w.found == nil {
		w.forecast(ctx)
	}
	full, err := w.due(ctx)
	if err != nil {
		return err
	}
	if full {
		if err := w.weighAll(ctx); err != nil {
			return err
		}
	}
	w.limits.by(w.read.reporter)
	if decision, _ := w.rules.Decide(w.standing()); decision == verdict.Fail {
		return nil // no limit would change it
	}
	if err := w.limits.look(ctx, w.now); err != nil {
		return err
	}
	if decision, _ := w.decide(); full || decision == verdict.Wait {
		return nil
	}
	return w.weighAll(ctx) // who judges as of this time again should find the same
}

// weighAll reads and weighs everything.
func (w *weighing) weighAll(ctx context.Context) error {
	evidence, layout, err := w.read.evidence(ctx, w.now)
	if err != nil {
		return err
	}
	evidence.Stages = w.relative()
	found := w.weigher.Weigh(evidence, w.rules)
	w.found, w.layout, w.latest, w.weighed = &found, layout, layout, w.now
	w.log(ctx)
	return nil
}

// due says whether it is time to read everything.
func (w *weighing) due(ctx context.Context) (bool, error) {
	if w.found == nil || w.now.Sub(w.stage().At) >= w.rules.Deadline {
		return true, nil
	}
	if w.read.reporter == "" {
		return w.now.Sub(w.weighed) >= w.read.grid(), nil
	}
	found, err := w.read.poll(ctx, w.now)
	if err != nil {
		return false, err
	}
	w.latest = found.Layout
	closed, early := found.State()
	closedBefore, earlyBefore := w.layout.State()
	return found.hard || closed > closedBefore || early && (!earlyBefore || closed != closedBefore), nil
}

// relative are the stages in the terms of the mathematics.
func (w *weighing) relative() []sequential.Stage {
	var stages []sequential.Stage
	for _, s := range w.stages {
		stages = append(stages, sequential.Stage{At: w.since(s.At), Weight: float64(s.Weight) / 100})
	}
	return stages
}

// standing is what a decision rests on at this moment.
func (w *weighing) standing() sequential.Standing {
	s := w.found.Standing
	s.Since = w.now.Sub(w.stage().At)
	s.Obeyed = s.Obeyed || w.config.Sequential.WeightCheck == "off"
	s.Halted = s.Halted || w.limits.halted
	return s
}

func (w *weighing) decide() (verdict.Decision, string) {
	decision, code := w.rules.Decide(w.standing())
	if decision != verdict.Fail && w.limits.exceeded() {
		return verdict.Fail, verdict.Threshold
	}
	return decision, code
}

// next is the time at which there is something new to look at.
func (w *weighing) next() time.Time {
	at := w.stage().At
	times := []time.Time{
		w.now.Add(often),
		at.Add(w.rules.MinDwell), at.Add(w.rules.TimeBox), at.Add(w.rules.Deadline), w.limits.next(),
	}
	for _, scrape := range w.latest.Due() {
		due := w.stages[0].At.Add(scrape)
		times = append(times, due.Add(readable), due.Add(late))
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
func (w *weighing) linger(ctx context.Context, decision verdict.Decision) error {
	if w.config.Mode != modeShadow || decision == verdict.Pass || !w.asOf.IsZero() {
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

// verdict words a decision.
func (w *weighing) verdict(d verdict.Decision, code string) verdict.Verdict {
	reporter := w.read.reporter
	if reporter == "" {
		reporter = w.read.candidates()[0]
	}
	selection := w.read.selection(reporter)
	found := *w.found
	found.Standing = w.standing()
	v := w.judging.verdict()
	v.Warnings = append(v.Warnings, w.read.notes...)
	v.ConcludeWeighing(d, code, verdict.Weighing{
		Findings: found, Rules: w.rules, Start: w.stages[0].At, Grid: w.read.grid(), History: w.read.past().Primary,
		Basis: w.read.basis(w.read.past().Clumps), Together: w.read.reporter.Together(),
		Metric: counting.Requests, Reporter: string(w.read.reporter), Split: string(selection.Split),
		Arms: [2]string{selection.Canary, selection.Primary}, Queries: w.read.queries,
	})
	return v
}

// log writes a line for each cell that has closed.
func (w *weighing) log(ctx context.Context) {
	found := w.found
	for _, m := range found.Moments[min(w.logged, len(found.Moments)):] {
		end := w.stages[0].At.Add(m.End)
		fields := []any{
			"canary", w.target.Canary, "phase", m.Stage + 1, "weight", w.stages[m.Stage].Weight,
			"end", end.UTC().Format(time.RFC3339),
			"bad", verdict.Rounded(m.Cell.Canary.Bad), "requests", verdict.Rounded(m.Cell.Canary.Requests),
			"primary-bad", verdict.Rounded(m.Cell.Primary.Bad), "primary-requests",
			verdict.Rounded(m.Cell.Primary.Requests),
			"blame", verdict.Rounded(m.Metric.Blame), "acquit", verdict.Rounded(m.Metric.Acquit),
		}
		if m.Latency != nil {
			fields = append(fields, "latency-blame", verdict.Rounded(m.Latency.Blame),
				"latency-acquit", verdict.Rounded(m.Latency.Acquit))
			fields = append(fields, w.slow(m)...)
		}
		repeated := w.stages[0].At.Add(m.Known).Before(w.began)
		fields = append(fields, "state", w.rules.State(m), "repeated", repeated)
		slog.InfoContext(ctx, "cell closed", fields...)
	}
	w.logged = max(w.logged, len(found.Moments))
}

// slow are the fields that tell how many requests of a cell took longer than each bound.
func (w *weighing) slow(m sequential.Moment) []any {
	var bounds, canary, primary []string
	text := func(v float64) string { return strconv.FormatFloat(verdict.Rounded(v), 'f', -1, 64) }
	for i, b := range w.found.Bounds {
		bounds = append(bounds, text(b.Le))
		canary, primary = append(canary, text(m.Slow[i].Canary.Bad)), append(primary, text(m.Slow[i].Primary.Bad))
	}
	return []any{"bounds", strings.Join(bounds, ","), "slow", strings.Join(canary, ","),
		"primary-slow", strings.Join(primary, ",")}
}
