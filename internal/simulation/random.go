package simulation

import (
	"math"
	"math/rand/v2"
)

// poisson draws a number of events where so many are expected.
func poisson(r *rand.Rand, expected float64) float64 {
	switch {
	case expected <= 0:
		return 0
	case expected < 10:
		return counted(r, expected)
	}
	return rejected(r, expected)
}

// counted multiplies uniform numbers until they are improbable.
func counted(r *rand.Rand, expected float64) float64 {
	limit, product, n := math.Exp(-expected), r.Float64(), 0.0
	for product > limit {
		product *= r.Float64()
		n++
	}
	return n
}

// rejected is Hörmann's transformed rejection with squeeze ("The transformed rejection method for
// generating Poisson random variables", 1993).
func rejected(r *rand.Rand, expected float64) float64 {
	b := 0.931 + 2.53*math.Sqrt(expected)
	a := -0.059 + 0.02483*b
	inverse := 1.1239 + 1.1328/(b-3.4)
	accepted := 0.9277 - 3.6224/(b-2)
	log := math.Log(expected)
	for {
		u, v := r.Float64()-0.5, r.Float64()
		us := 0.5 - math.Abs(u)
		k := math.Floor((2*a/us+b)*u + expected + 0.43)
		if us >= 0.07 && v <= accepted {
			return k
		}
		if k < 0 || us < 0.013 && v > us {
			continue
		}
		gamma, _ := math.Lgamma(k + 1)
		if math.Log(v*inverse/(a/(us*us)+b)) <= k*log-expected-gamma {
			return k
		}
	}
}

// binomial draws how many of n happen.
func binomial(r *rand.Rand, n int, p float64) float64 {
	k := 0.0
	for range n {
		if r.Float64() < p {
			k++
		}
	}
	return k
}
