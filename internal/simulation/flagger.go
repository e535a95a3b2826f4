package simulation

import "context"

const (
	leastSuccess = 0.99
	threshold    = 5 // failed checks
)

// flagger plays a rollout by Flagger's rule: each minute a look at the canary's last minute. Like the other rules
// beside the judge's it is spared scrapes: it sees what happened.
func (l *life) flagger(context.Context) (end, error) {
	failed := 0
	l.raise(l.weights[0])
	for stage := 0; ; {
		before := l.done[canary].copied()
		l.passes(60)
		if failed >= threshold {
			return l.ended(rolledBack, "threshold"), nil
		}
		switch minute := l.done[canary].minus(before); {
		case !l.keeps(minute):
			failed++
		case stage == len(l.weights)-1:
			return l.ended(promoted, ""), nil
		default:
			stage++
			l.raise(l.weights[stage])
		}
	}
}

// keeps says whether a canary kept its bounds.
func (l *life) keeps(t tally) bool {
	return t.requests > 0 && t.bad <= (1-leastSuccess)*t.requests &&
		(l.durations == nil || l.p99(canary, t) <= objective)
}

// p99 is the 99th percentile of the duration, in milliseconds, as an arm's histograms tell it.
func (l *life) p99(arm int, t tally) float64 {
	var bounds, buckets []float64
	sum, cell := 0.0, 0
	for _, i := range l.durations.told[arm] {
		for ; cell <= i; cell++ {
			sum += t.cells[cell]
		}
		bounds, buckets = append(bounds, l.durations.bounds[i]), append(buckets, sum)
	}
	return quantile(0.99, append(bounds, 0), append(buckets, t.requests))
}
