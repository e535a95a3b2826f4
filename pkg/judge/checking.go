package judge

import (
	"context"
	"log/slog"
	"time"

	"github.com/serin-cd/serin/pkg/judge/verdict"
)

// check judges with the classic judge.
func (r *judging) check(ctx context.Context) (verdict.Verdict, error) {
	if err := r.start(ctx); err != nil {
		return verdict.Verdict{}, err
	}
	slog.InfoContext(ctx, "judging begins", "canary", r.target.Canary, "phase", len(r.stages),
		"weight", r.stages[len(r.stages)-1].Weight, "judge", verdict.Classic, "interval",
		time.Duration(r.config.Interval), "checks", r.tally.Checks, "threshold", r.tally.Threshold, "deadline",
		r.config.deadline())
	found, err := r.checkAll(ctx)
	if err != nil {
		return verdict.Verdict{}, err
	}
	v := r.verdict()
	v.Passed, v.Wanted = r.tally.Passed, r.tally.Checks
	v.ConcludeChecks(found, r.tally.Empty, r.target.CanaryService)
	return v, nil
}

func (r *judging) checkAll(ctx context.Context) (verdict.Decision, error) {
	for i := range r.stages {
		found, err := r.checkStage(ctx, i)
		if err != nil || found == verdict.Fail || i == len(r.stages)-1 {
			return found, err
		}
	}
	return verdict.Wait, nil
}

// checkStage does the checks of one stage. An earlier stage ends where the next begins; the last one goes on
// until something is decided, or with as-of until the time given.
func (r *judging) checkStage(ctx context.Context, index int) (verdict.Decision, error) {
	r.tally.NewStage()
	last := index == len(r.stages)-1
	begin, every := r.stages[index].At, time.Duration(r.config.Interval)
	for number := 1; ; number++ {
		at := begin.Add(time.Duration(number) * every)
		if !last && !at.Before(r.stages[index+1].At) {
			return verdict.Wait, nil
		}
		if last && r.tally.Empty > 0 && at.Sub(begin) > r.config.deadline() {
			return verdict.Inconclusive, nil // no further check fits before the deadline
		}
		if ready, err := r.await(ctx, at); err != nil || !ready {
			return verdict.Wait, err
		}
		found, err := r.checkOnce(ctx, index, number, at)
		if err != nil || found == verdict.Fail || found == verdict.Pass || found == verdict.Inconclusive && last {
			return found, err
		}
	}
}

// await waits for the time to ask about an instant; with as-of it only says whether that has come.
func (r *judging) await(ctx context.Context, at time.Time) (bool, error) {
	for {
		left := at.Add(time.Duration(r.config.Settle)).Sub(r.now)
		if left <= 0 {
			return true, ctx.Err()
		}
		if !r.asOf.IsZero() {
			return false, nil
		}
		select {
		case <-ctx.Done():
			return false, context.Cause(ctx)
		case <-r.clock.After(left):
		}
		now, err := r.q.Now(ctx)
		if err != nil {
			return false, err
		}
		r.now = now
	}
}

func (r *judging) checkOnce(ctx context.Context, index, number int, at time.Time) (verdict.Decision, error) {
	measurements, err := r.canary.At(r.q, at).MeasureAll(ctx)
	if err != nil {
		return verdict.Wait, err
	}
	c := r.checked(index, number, at, measurements)
	found := r.tally.Add(c.State)
	c.Failed = r.tally.Failed
	r.tell(ctx, c)
	if r.onCheck != nil {
		r.onCheck(c)
	}
	return found, nil
}

// checked is a check of the stage with an index.
func (r *judging) checked(index, number int, at time.Time, measurements []verdict.Measurement) verdict.Check {
	c := verdict.Check{Stage: index + 1, Number: number, At: at.UTC(),
		Canary: r.target.Canary + "." + r.target.Namespace}
	c.Repeated = c.Stage < len(r.stages) || at.Add(time.Duration(r.config.Settle)).Before(r.began)
	return c.Done(measurements)
}

// tell keeps a check, and logs it.
func (r *judging) tell(ctx context.Context, c verdict.Check) {
	r.done = append(r.done, c)
	fields := []any{"canary", r.target.Canary, "phase", c.Stage, "check", c.Number, "at", c.At.Format(time.RFC3339),
		"outcome", string(c.State), "failed", c.Failed, "threshold", int(r.config.Threshold), "repeated", c.Repeated}
	for _, m := range c.Measurements {
		fields = append(fields, m.Name, m.Text)
	}
	if c.Reporter != "" {
		fields = append(fields, "reporter", c.Reporter)
	}
	slog.InfoContext(ctx, "check done", fields...)
}
