package sequential

import "math"

const (
	intervalAlpha = 0.05
	narrowestAt   = 1000 // requests for which intervals are tuned
)

// Interval is where a rate lies, with 95 % confidence at all times at once: a confidence sequence (Howard,
// Ramdas, McAuliffe, Sekhon, "Time-uniform, nonparametric, nonasymptotic confidence sequences", 2021). It
// is for people; no verdict rests on it.
func Interval(c Counts) (low, high float64) {
	return interval(c, intervalAlpha, narrowestAt)
}

func interval(c Counts, alpha, tuned float64) (low, high float64) {
	if c.Requests <= 0 {
		return 0, 1
	}
	limit := math.Log(1 / alpha)
	plausible := func(p float64) bool { return logMixture(c, p, limit, tuned) < limit }
	rate := min(max(c.Rate(), 0), 1)
	low, high = 0, 1
	if c.Bad > 0 {
		low = edge(rate, 0, plausible)
	}
	if c.Bad < c.Requests {
		high = edge(rate, 1, plausible)
	}
	return low, high
}

// edge is the last plausible rate between one that is and one that is not.
func edge(is, isNot float64, plausible func(float64) bool) float64 {
	for range 200 {
		middle := (is + isNot) / 2
		if middle == is || middle == isNot {
			break
		}
		if middle > 0 && middle < 1 && plausible(middle) {
			is = middle
		} else {
			isNot = middle
		}
	}
	return isNot
}

// logMixture is the logarithm of a martingale if p is the rate.
func logMixture(c Counts, p, limit, tuned float64) float64 {
	g, h := p, 1-p
	s, v := c.Bad-c.Requests*p, c.Requests*g*h
	rho := g * h * tuned / (2*limit + math.Log(1+2*limit))
	rho = max(rho-g*h, 0.001*g*h)
	return logBeta((rho+v-g*s)/g, (rho+v+h*s)/h) - logBeta(rho/g, rho/h) -
		(v+h*s)/h*math.Log(g) - (v-g*s)/g*math.Log(h)
}

func logBeta(a, b float64) float64 { return logGamma(a) + logGamma(b) - logGamma(a+b) }
