package judge

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/common/model"

	"github.com/serin-cd/serin/pkg/judge/counting"
	"github.com/serin-cd/serin/pkg/task/failure"
	"github.com/serin-cd/serin/pkg/task/run"
)

// ahead is how far Prometheus's clock may be from another.
const ahead = 5 * time.Second

// clock is the step's own clock.
type clock interface {
	Now() time.Time
	After(time.Duration) <-chan time.Time
}

// Judge judges one canary. It changes nothing.
type Judge struct {
	config  Config
	target  Target
	metrics []Metric
	asOf    time.Time

	primaryMetrics []Metric                // the same, of the primary
	bad            func(model.Metric) bool // which requests are errors
}

// New checks everything that can be checked without asking Prometheus.
func New(config Config, target Target) (*Judge, error) {
	target, err := target.validated()
	if err != nil {
		return nil, err
	}
	if err := config.validate(); err != nil {
		return nil, err
	}
	if config.Judge == judgeSequential && config.splitsServices() && target.CanaryService == target.PrimaryService {
		return nil, failure.Configf("judging %s: canary-service and primary-service are both %q, want two: use split workload", target.Canary, target.CanaryService)
	}
	asOf, err := config.asOf()
	if err != nil {
		return nil, err
	}
	j := &Judge{config: config, target: target, asOf: asOf}
	if j.metrics, err = config.metrics(target); err != nil {
		return nil, err
	}
	other := target
	other.Canary = target.Primary
	if j.primaryMetrics, err = config.metrics(other); err != nil {
		return nil, err
	}
	codes, err := counting.Codes(config.Sequential.ErrorCodes)
	if err != nil {
		return nil, failure.Configf("reading error-codes: %w", err)
	}
	j.bad = counting.Bad(codes)
	return j, nil
}

// Target is what is judged, with its Service filled in.
func (j *Judge) Target() Target { return j.target }

// Until is how long, on the step's clock, a step that judges these phases should bear a Prometheus that
// does not answer: a minute more than the last phase can take, or than its deadline.
func (j *Judge) Until(phases []run.Stage) time.Time {
	if len(phases) == 0 {
		return time.Time{} // Judge will refuse them
	}
	span := j.config.deadline()
	if j.config.Judge == judgeClassic {
		span = max(span, time.Duration(j.config.Interval)*time.Duration(j.config.Threshold+j.config.Checks))
	}
	return phases[len(phases)-1].At.Add(span + time.Minute)
}

// Probe asks for every metric once, to learn of a bad query or an absent Prometheus before anything is
// changed. No values are fine.
func (j *Judge) Probe(ctx context.Context, q querier) error {
	now, err := q.Now(ctx)
	if err != nil {
		return err
	}
	if j.config.Judge == judgeSequential {
		if err := newReading(j, q, now).probe(ctx); err != nil {
			return fmt.Errorf("judging %s: %w", j.target.Canary, err)
		}
	}
	_, err = j.at(q, now).measureAll(ctx)
	return err
}

func (j *Judge) at(q querier, at time.Time) *instant {
	return &instant{Judge: j, q: q, at: at, totals: map[time.Duration]traffic{}}
}

// Judge repeats the checks of the earlier phases and goes on with those of the last one until there is a
// verdict. It calls onCheck, which may be nil, after each check.
func (j *Judge) Judge(ctx context.Context, q querier, clk clock, phases []run.Stage, onCheck func(Check)) (Verdict, error) {
	if err := CheckPhases(phases); err != nil {
		return Verdict{}, err
	}
	r := &judging{Judge: j, q: q, clock: clk, phases: phases, onCheck: onCheck}
	r.tally.rules = rules{int(j.config.Threshold), int(j.config.Checks), j.config.NoValues == "fail"}
	if j.config.Judge == judgeSequential {
		v, err := j.weigh(ctx, r)
		if err != nil {
			return v, fmt.Errorf("judging %s: %w", j.target.Canary, err)
		}
		return v, nil
	}
	if err := r.start(ctx); err != nil {
		return Verdict{}, fmt.Errorf("judging %s: %w", j.target.Canary, err)
	}
	found, err := r.run(ctx)
	if err != nil {
		return Verdict{}, fmt.Errorf("judging %s: %w", j.target.Canary, err)
	}
	return r.verdict(found), nil
}

// judging is one call of Judge.
type judging struct {
	*Judge
	q       querier
	clock   clock
	phases  []run.Stage
	onCheck func(Check)

	tally    tally
	done     []Check
	warnings []string
	began    time.Time // on Prometheus's clock, as is now
	now      time.Time
}

// start learns Prometheus's time.
func (r *judging) start(ctx context.Context) error {
	now, err := r.q.Now(ctx)
	if err != nil {
		return err
	}
	if skew := now.Sub(r.clock.Now()); skew.Abs() > ahead {
		slog.WarnContext(ctx, "clock-skew: Prometheus's clock is not the step's", "ahead", skew.Round(time.Millisecond).String())
		r.warnings = append(r.warnings, fmt.Sprintf("clock-skew: Prometheus's clock is %s ahead of the step's", skew.Round(time.Millisecond)))
	}
	r.began, r.now = now, now
	if !r.asOf.IsZero() {
		if r.now = r.asOf; r.asOf.Sub(now) > ahead {
			return failure.Configf("as-of %s is %s in the future, want a time in the past",
				r.asOf.Format(time.RFC3339), r.asOf.Sub(now).Round(time.Second))
		}
	}
	for i, p := range r.phases {
		if early := p.At.Sub(r.now); early > ahead {
			return failure.Configf("phase %d starts in %s, want a start in the past: compare the clocks of the step and Prometheus",
				i+1, early.Round(time.Second))
		}
	}
	return nil
}

func (r *judging) run(ctx context.Context) (decision, error) {
	for i := range r.phases {
		found, err := r.phase(ctx, i)
		if err != nil || found == fail {
			return found, err
		}
		if i == len(r.phases)-1 {
			return found, nil
		}
	}
	return wait, nil
}

// phase does the checks of one phase. An earlier phase ends where the next begins; the last one goes on
// until something is decided, or with as-of until the time given.
func (r *judging) phase(ctx context.Context, index int) (decision, error) {
	r.tally.phase()
	last := index == len(r.phases)-1
	begin, every := r.phases[index].At, time.Duration(r.config.Interval)
	for number := 1; ; number++ {
		at := begin.Add(time.Duration(number) * every)
		if !last && !at.Before(r.phases[index+1].At) {
			return wait, nil
		}
		if last && r.tally.empty > 0 && at.Sub(begin) > r.config.deadline() {
			return inconclusive, nil // no further check fits before the deadline
		}
		if ready, err := r.await(ctx, at); err != nil || !ready {
			return wait, err
		}
		found, err := r.check(ctx, index+1, number, at)
		if err != nil || found == fail || found == pass || found == inconclusive && last {
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

func (r *judging) check(ctx context.Context, phase, number int, at time.Time) (decision, error) {
	c := Check{Phase: phase, Number: number, At: at, target: r.target}
	c.Repeated = phase < len(r.phases) || at.Add(time.Duration(r.config.Settle)).Before(r.began)
	measurements, err := r.at(r.q, at).measureAll(ctx)
	if err != nil {
		return wait, err
	}
	c.Measurements = measurements
	c.State = worst(c.Measurements)
	found := r.tally.add(c.State)
	c.Failures = r.tally.failed
	r.done = append(r.done, c)
	c.log(ctx, r.config)
	if r.onCheck != nil {
		r.onCheck(c)
	}
	return found, nil
}

func (c Check) log(ctx context.Context, config Config) {
	fields := []any{"canary", c.target.Canary, "phase", c.Phase, "check", c.Number, "at", c.At.UTC().Format(time.RFC3339),
		"outcome", string(c.State), "failed", c.Failures, "threshold", int(config.Threshold), "repeated", c.Repeated}
	for _, m := range c.Measurements {
		fields = append(fields, m.Metric.Name, m.Text())
	}
	if reporter := c.Reporter(); reporter != "" {
		fields = append(fields, "reporter", reporter)
	}
	slog.InfoContext(ctx, "check done", fields...)
}
