package sequential

import "math"

const (
	mostDispersed     = 50
	fewestToDisperse  = 3 // intervals
	independentSpread = 2 // variance of Pearson's statistic of one interval with many errors
)

// Dispersion is how many errors usually come at once, from 1 to 50: Pearson's chi-squared statistic of the errors in
// intervals before the rollout over its degrees of freedom, less its standard error where errors are independent
// (McCullagh, Nelder, "Generalized Linear Models", 1989, 4.5). With few errors the variance of the statistic is larger
// by the inverse of how many an interval has.
func Dispersion(intervals []Counts) float64 {
	var all Counts
	n := 0.0
	for _, c := range intervals {
		if c.Requests > 0 {
			all = all.Plus(c)
			n++
		}
	}
	p := all.Rate()
	if n < fewestToDisperse || p <= 0 || p >= 1 {
		return 1
	}
	statistic := 0.0
	for _, c := range intervals {
		if expected := c.Requests * p; expected > 0 {
			statistic += (c.Bad - expected) * (c.Bad - expected) / (expected * (1 - p))
		}
	}
	usual := math.Sqrt((independentSpread + n/all.Bad) / (n - 1))
	return min(max(1, statistic/(n-1)-usual), mostDispersed)
}
