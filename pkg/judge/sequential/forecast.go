package sequential

import (
	"math"
	"time"
)

// Forecast is how long it takes, at a weight, to prove a canary that is as its primary was before the rollout.
type Forecast struct {
	Weight float64 // a fraction
	Takes  time.Duration
}

// ForecastProof works out how long proof takes at a weight, a fraction, with as many requests as the primary had in the
// span of its history: by the growth of evidence that the number of missing requests is worked out by.
func ForecastProof(b Basis, history Counts, bounds []Bound, span time.Duration, weight, beta float64) Forecast {
	rate := history.Requests / span.Seconds()
	f := Forecast{Weight: weight}
	if rate <= 0 || weight <= 0 || weight >= 1 {
		return f
	}
	proof := func(m *Metric) time.Duration {
		need, _ := missing(weight, m.pooled(), m.Margin, acquitPrior[1], beta)
		return time.Duration(min(need*m.design/(rate*weight), math.MaxInt32) * float64(time.Second))
	}
	f.Takes = proof(newMetric(b.Rule, history, b.Design))
	for _, bound := range bounds {
		f.Takes = max(f.Takes, b.WarmUp+proof(newMetric(latencyRule, bound.History, b.Clumps)))
	}
	return f
}
