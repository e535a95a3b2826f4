package simulation

import "context"

const (
	paused        = 300 // seconds
	leastMeasured = 0.95
)

// argo plays a rollout as the documentation of Argo Rollouts begins ("Analysis at a Predefined Step"): a weight, a
// pause of five minutes, and one measurement of the success rate, which must be at least 0.95; failureLimit is 0.
// Its query is irate, which knows the last two scrapes only. A canary without requests has no number, and fails.
func (l *life) argo(context.Context) (end, error) {
	for _, weight := range l.weights {
		l.raise(weight)
		l.passes(paused - l.scrapes.every)
		before := l.done[canary].copied()
		l.passes(l.scrapes.every)
		t := l.done[canary].minus(before)
		if !(t.requests > 0 && t.requests-t.bad >= leastMeasured*t.requests) {
			return l.ended(rolledBack, "failed"), nil
		}
	}
	return l.ended(promoted, ""), nil
}
