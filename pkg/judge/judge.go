package judge

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/common/model"

	"github.com/serin-cd/serin/pkg/judge/classic"
	"github.com/serin-cd/serin/pkg/judge/counting"
	"github.com/serin-cd/serin/pkg/judge/verdict"
	"github.com/serin-cd/serin/pkg/task/failure"
	"github.com/serin-cd/serin/pkg/task/run"
)

// ahead is how far Prometheus's clock may be from another.
const ahead = 5 * time.Second

// querier is all that judging asks of Prometheus.
type querier interface {
	Now(context.Context) (time.Time, error)
	Query(context.Context, string, time.Time) (model.Value, error)
}

// clock is the step's own clock.
type clock interface {
	Now() time.Time
	After(time.Duration) <-chan time.Time
}

// Judge judges one canary. It changes nothing.
type Judge struct {
	config  Config
	target  Target
	asOf    time.Time
	canary  classic.Meter
	primary classic.Meter           // the same metrics
	bad     func(model.Metric) bool // which requests are errors
	most    float64                 // rate of errors that the sequential judge allows, 0 for any
	longest float64                 // milliseconds that one request in a hundred may exceed, 0 for any

	// Forecast is told, before there is evidence, if the deadline will come before proof can; nil for nobody.
	Forecast func(ctx context.Context, text string)
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
	if config.Judge == verdict.Sequential && config.splitsServices() && target.CanaryService == target.PrimaryService {
		return nil, failure.Configf("judging %s: canary-service and primary-service are both %q, want two: "+
			"use split workload", target.Canary, target.CanaryService)
	}
	asOf, err := config.asOf()
	if err != nil {
		return nil, err
	}
	j := &Judge{config: config, target: target, asOf: asOf}
	if j.canary, err = config.meter(classic.Subject{
		Namespace: target.Namespace, Name: target.Canary, Service: target.CanaryService}); err != nil {
		return nil, err
	}
	if j.primary, err = config.meter(classic.Subject{
		Namespace: target.Namespace, Name: target.Primary, Service: target.PrimaryService}); err != nil {
		return nil, err
	}
	if config.Judge == verdict.Sequential {
		j.canary.Metrics, j.most, j.longest = evident(j.canary.Metrics)
		j.primary.Metrics, _, _ = evident(j.primary.Metrics)
	}
	codes, err := counting.Codes(config.Sequential.ErrorCodes)
	if err != nil {
		return nil, failure.Configf("reading error-codes: %w", err)
	}
	j.bad = counting.Bad(codes)
	return j, nil
}

// Target is what is judged, with its Services filled in.
func (j *Judge) Target() Target { return j.target }

// Until is how long, on the step's clock, a step that judges these stages should bear a Prometheus that
// does not answer: a minute more than the last stage can take, or than its deadline.
func (j *Judge) Until(stages []run.Stage) time.Time {
	if len(stages) == 0 {
		return time.Time{} // Judge will refuse them
	}
	span := j.config.deadline()
	if j.config.Judge == verdict.Classic {
		span = max(span, time.Duration(j.config.Interval)*time.Duration(j.config.Threshold+j.config.Checks))
	}
	return stages[len(stages)-1].At.Add(span + time.Minute)
}

// Probe asks for every metric once, to learn of a bad query or an absent Prometheus before anything is
// changed. No values are fine.
func (j *Judge) Probe(ctx context.Context, q querier) error {
	now, err := q.Now(ctx)
	if err != nil {
		return err
	}
	if j.config.Judge == verdict.Sequential {
		if err := newReading(j, q, now).probe(ctx); err != nil {
			return fmt.Errorf("judging %s: %w", j.target.Canary, err)
		}
	}
	_, err = j.canary.At(q, now).MeasureAll(ctx)
	return err
}

// Judge repeats the checks of the earlier stages and goes on with those of the last one until there is a
// verdict. It calls onCheck, which may be nil, after each check.
func (j *Judge) Judge(ctx context.Context, q querier, clk clock, stages []run.Stage,
	onCheck func(verdict.Check)) (verdict.Verdict, error) {
	if err := CheckStages(stages); err != nil {
		return verdict.Verdict{}, err
	}
	r := &judging{Judge: j, q: q, clock: clk, stages: stages, onCheck: onCheck}
	r.tally.Rules = classic.Rules{
		Threshold: int(j.config.Threshold), Checks: int(j.config.Checks), NoValuesFail: j.config.NoValues == "fail"}
	judge := r.check
	if j.config.Judge == verdict.Sequential {
		judge = r.weigh
	}
	v, err := judge(ctx)
	if err != nil {
		return verdict.Verdict{}, fmt.Errorf("judging %s: %w", j.target.Canary, err)
	}
	return v, nil
}

// judging is one call of Judge.
type judging struct {
	*Judge
	q       querier
	clock   clock
	stages  []run.Stage
	onCheck func(verdict.Check)

	tally    classic.Tally
	done     []verdict.Check
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
		skew = skew.Round(time.Millisecond)
		slog.WarnContext(ctx, "clock-skew: Prometheus's clock is not the step's", "ahead", skew.String())
		r.warnings = append(r.warnings, fmt.Sprintf("clock-skew: Prometheus's clock is %s ahead of the step's", skew))
	}
	r.began, r.now = now, now
	if !r.asOf.IsZero() {
		if r.now = r.asOf; r.asOf.Sub(now) > ahead {
			return failure.Configf("as-of %s is %s in the future, want a time in the past",
				r.asOf.Format(time.RFC3339), r.asOf.Sub(now).Round(time.Second))
		}
	}
	for i, s := range r.stages {
		if early := s.At.Sub(r.now); early > ahead {
			return failure.Configf("phase %d starts in %s, want a start in the past: "+
				"compare the clocks of the step and Prometheus", i+1, early.Round(time.Second))
		}
	}
	return nil
}

// verdict is one of the last stage as of now, without a decision.
func (r *judging) verdict() verdict.Verdict {
	t := r.target
	v := verdict.New(verdict.Target{Namespace: t.Namespace, Canary: t.Canary, Primary: t.Primary}, r.stages, r.now)
	v.Stage.Deadline = r.config.deadline().Seconds()
	v.Failed, v.Threshold = r.tally.Failed, r.tally.Threshold
	v.OnInconclusive, v.Shadow = r.config.OnInconclusive, r.config.Mode == modeShadow
	v.Warnings = append(v.Warnings, r.warnings...)
	v.AddChecks(r.done)
	return v
}
