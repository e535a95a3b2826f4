package sequential

import (
	"math"
	"time"
)

const (
	weightGrace   = 30 * time.Second // after a weight was set, in which it need not be obeyed
	concentration = 2                // of the shares that might be in force instead
	oddsFactor    = 2                // by which the odds must differ
)

var logDisobeyed = math.Log(1000)

// Share is what of the traffic reached the canary.
type Share struct {
	Pair         // in cells that began long enough after the weight was set
	Log  float64 // evidence that another share is in force, as the logarithm of a Bayes factor
	Kept bool
}

// ShareOf compares a weight, a fraction, with the requests that were seen (Lindon, Malek, "Anytime-Valid
// Inference for Multinomial Count Data", 2022). Callers outside the mesh may bend a share a little.
func ShareOf(seen Pair, weight float64) Share {
	s := Share{Pair: seen, Log: logBayes(seen, weight), Kept: true}
	odds := seen.Canary.Requests * (1 - weight)
	want := seen.Primary.Requests * weight
	if s.Log >= logDisobeyed && (odds > oddsFactor*want || want > oddsFactor*odds) {
		s.Kept = false
	}
	return s
}

// Shares are the least and the most of the requests, as fractions, that obey a weight however many there are.
func Shares(weight float64) (least, most float64) {
	share := func(odds float64) float64 { return odds / (1 + odds) }
	odds := weight / (1 - weight)
	return share(odds / oddsFactor), share(odds * oddsFactor)
}

func logBayes(seen Pair, w float64) float64 {
	c, p := seen.Canary.Requests, seen.Primary.Requests
	a, b := concentration*w, concentration*(1-w)
	return logGamma(concentration) - logGamma(concentration+c+p) +
		logGamma(a+c) - logGamma(a) - c*math.Log(w) +
		logGamma(b+p) - logGamma(b) - p*math.Log(1-w)
}

func logGamma(x float64) float64 {
	value, _ := math.Lgamma(x)
	return value
}
