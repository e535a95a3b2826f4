package judge

import (
	"context"
	"time"

	"github.com/serin-cd/serin/pkg/judge/classic"
	"github.com/serin-cd/serin/pkg/judge/counting"
	"github.com/serin-cd/serin/pkg/judge/verdict"
)

// limits are metrics with bounds, as the sequential judge keeps them: a canary that is outside while its
// primary is inside fails after threshold checks, whatever else speaks for it. A bound that both break
// convicts nobody, and neither does a metric without values. A query that names no workload has no primary:
// its bound stands alone.
type limits struct {
	*judging
	canary, primary classic.Meter // by the word of the reporter that the judge believes

	stage  int // index of the stage whose checks are next
	number int
	halted bool // by the last check of this stage
}

// by has a reporter count, once it is known.
func (l *limits) by(reporter counting.Reporter) {
	if reporter != "" {
		l.canary.Reporter, l.primary.Reporter = string(reporter), string(reporter)
	}
}

// due is the instant of the next check.
func (l *limits) due() time.Time {
	return l.stages[l.stage].At.Add(time.Duration(l.number) * time.Duration(l.config.Interval))
}

// next is the time at which Prometheus can be asked about the next check, or none where nothing is limited.
func (l *limits) next() time.Time {
	if len(l.canary.Metrics) == 0 {
		return time.Time{}
	}
	return l.due().Add(time.Duration(l.config.Settle))
}

func (l *limits) exceeded() bool { return l.tally.Failed >= int(l.config.Threshold) }

// look does the checks that have come due, those of earlier stages included.
func (l *limits) look(ctx context.Context, now time.Time) error {
	for len(l.canary.Metrics) > 0 && !l.exceeded() {
		if l.stage+1 < len(l.stages) && !l.due().Before(l.stages[l.stage+1].At) {
			l.stage, l.number, l.halted = l.stage+1, 1, false
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
	measurements, err := l.measure(ctx, at)
	if err != nil {
		return err
	}
	c := l.checked(l.stage, l.number, at, measurements)
	if l.halted = c.State == verdict.Failed; l.halted {
		l.tally.Failed++
	}
	c.Failed = l.tally.Failed
	l.tell(ctx, c)
	if l.onCheck != nil && c.State != verdict.NoValues { // which halts nothing here
		l.onCheck(c)
	}
	return nil
}

// measure measures the canary, and where that is outside a bound its primary.
func (l *limits) measure(ctx context.Context, at time.Time) ([]verdict.Measurement, error) {
	canary, primary := l.canary.At(l.q, at), l.primary.At(l.q, at)
	measurements, err := canary.MeasureAll(ctx)
	if err != nil {
		return nil, err
	}
	for i := range measurements {
		m, metric := &measurements[i], l.primary.Metrics[i]
		if alone := metric.Query != "" && metric.Query == l.canary.Metrics[i].Query; alone ||
			m.State != verdict.Failed {
			continue
		}
		of, err := primary.Measure(ctx, metric)
		if err != nil {
			return nil, err
		}
		m.Primary = &of
		if of.State == verdict.Failed {
			m.State = verdict.Shared
		}
	}
	return measurements, nil
}
