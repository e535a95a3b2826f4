package judge

import (
	"context"
	"time"

	"github.com/serin-cd/serin/pkg/judge/counting"
)

// limits are metrics with bounds, as the sequential judge keeps them: a canary that is outside while its
// primary is inside fails after threshold checks, whatever else speaks for it. A bound that both break
// convicts nobody, and neither does a metric without values. A query that names no workload has no primary:
// its bound stands alone.
type limits struct {
	*judging
	primary *Judge
	phase   int // index of the phase whose checks are next
	number  int
	halted  bool // by the last check of this phase
}

func newLimits(r *judging) limits {
	l := limits{judging: r, number: 1}
	canary, primary := *r.Judge, *r.Judge
	primary.target.Canary, primary.target.CanaryService = r.target.Primary, r.target.PrimaryService
	primary.metrics = r.Judge.primaryMetrics
	copied := *r
	copied.Judge = &canary
	l.judging, l.primary = &copied, &primary
	return l
}

// of takes the word of the reporter that the judge believes.
func (l *limits) of(reporter counting.Reporter) {
	if reporter != "" {
		l.config.Reporter = string(reporter)
		l.primary.config.Reporter = string(reporter)
	}
}

// due is the instant of the next check.
func (l *limits) due() time.Time {
	return l.phases[l.phase].At.Add(time.Duration(l.number) * time.Duration(l.config.Interval))
}

// next is the time at which Prometheus can be asked about the next check, or none where nothing is limited.
func (l *limits) next() time.Time {
	if len(l.metrics) == 0 {
		return time.Time{}
	}
	return l.due().Add(time.Duration(l.config.Settle))
}

func (l *limits) exceeded() bool { return l.tally.failed >= int(l.config.Threshold) }

// look does the checks that have come due, those of earlier phases included.
func (l *limits) look(ctx context.Context, now time.Time) error {
	for len(l.metrics) > 0 && !l.exceeded() {
		if l.phase+1 < len(l.phases) && !l.due().Before(l.phases[l.phase+1].At) {
			l.phase, l.number, l.halted = l.phase+1, 1, false
			continue
		}
		if l.next().After(now) {
			return nil
		}
		if err := l.check(ctx, l.due()); err != nil {
			return err
		}
		l.number++
	}
	return nil
}

func (l *limits) check(ctx context.Context, at time.Time) error {
	c := Check{Phase: l.phase + 1, Number: l.number, At: at, target: l.target}
	c.Repeated = c.Phase < len(l.phases) || at.Add(time.Duration(l.config.Settle)).Before(l.began)
	canary, primary := l.Judge.at(l.q, at), l.primary.at(l.q, at)
	measurements, err := canary.measureAll(ctx)
	if err != nil {
		return err
	}
	for i, m := range measurements {
		if m.State != Failed || !m.Metric.builtIn() && m.Metric.Query == l.primary.metrics[i].Query {
			continue
		}
		of, err := primary.measure(ctx, l.primary.metrics[i])
		if err != nil {
			return err
		}
		measurements[i].Primary = &of
		if of.State == Failed {
			measurements[i].State = Shared
		}
	}
	c.Measurements = measurements
	c.State = worst(measurements)
	if l.halted = c.State == Failed; l.halted {
		l.tally.failed++
	}
	c.Failures = l.tally.failed
	l.done = append(l.done, c)
	c.log(ctx, l.config)
	if l.onCheck != nil && c.State != NoValues { // which halts nothing here
		l.onCheck(c)
	}
	return nil
}
