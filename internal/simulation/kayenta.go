package simulation

import (
	"context"
	"math"
)

const (
	points       = 5    // of a metric at each weight, one a minute
	confidence   = 0.98 // of NetflixACAJudge
	wilcoxonSlop = 0.25 // its tolerance, as a share of the estimated difference
	passing      = 95   // the score that a canary needs
)

// kayenta plays a rollout as Spinnaker does with Kayenta's NetflixACAJudge: at each weight five minutes with one point
// a minute of the error rate in percent and, where there are histograms, the 99th percentile; the baseline is the
// primary. Both metrics fail when they are higher. A score below 75 (marginal) ends the rollout at once and one below
// 95 at the end of the five minutes, which are the same here.
func (l *life) kayenta(context.Context) (end, error) {
	for _, weight := range l.weights {
		l.raise(weight)
		var rates, durations [arms][]float64
		for range points {
			before := [arms]tally{l.done[canary].copied(), l.done[primary].copied()}
			l.passes(60)
			for arm := range before {
				t := l.done[arm].minus(before[arm])
				rates[arm] = numbers(rates[arm], 100*t.bad/t.requests)
				if l.durations != nil {
					durations[arm] = numbers(durations[arm], l.p99(arm, t))
				}
			}
		}
		if score(rates, durations) < passing {
			return l.ended(rolledBack, "score"), nil
		}
	}
	return l.ended(promoted, ""), nil
}

// numbers appends what is one.
func numbers(values []float64, v float64) []float64 {
	if math.IsNaN(v) {
		return values
	}
	return append(values, v)
}

// score is the share of metrics, in percent, that pass among those that have data, 0 where none has.
func score(metrics ...[arms][]float64) float64 {
	passed, all := 0.0, 0.0
	for _, m := range metrics {
		if len(m[canary]) == 0 || len(m[primary]) == 0 {
			continue
		}
		all++
		if !higher(m[canary], m[primary]) {
			passed++
		}
	}
	if all == 0 {
		return 0
	}
	return 100 * passed / all
}

// higher classifies a metric as Kayenta's MannWhitneyClassifier does: it is high if the confidence interval of the
// difference lies above a quarter of the estimated difference.
func higher(experiment, control []float64) bool {
	t := wilcoxon{experiment, control}
	if t.tied() {
		return false
	}
	low, _ := t.interval(confidence)
	return low > wilcoxonSlop*math.Abs(t.estimate())
}
