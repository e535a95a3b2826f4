package simulation

import (
	"math"
	"math/rand/v2"

	"github.com/serin-cd/serin/pkg/judge/sequential"
)

// bounds are those of Istio's histograms, in milliseconds.
var bounds = []float64{0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000,
	30000, 60000, 300000, 600000, 1800000, 3600000}

const (
	usualMedian = 40  // milliseconds
	usualSigma  = 0.9 // of a lognormal
	objective   = 500 // milliseconds
	stall       = 3000
)

// durations is how long requests take.
type durations struct {
	objective int                            // index of its bound
	usual     []float64                      // probability of each bucket
	canary    func(second float64) []float64 // the same of the canary
}

func newDurations(canary func(second float64) []float64) *durations {
	d := &durations{usual: buckets(1, 0), canary: canary}
	for i, b := range bounds {
		if b == objective {
			d.objective = i
		}
	}
	return d
}

// buckets are the probabilities of a lognormal whose times are multiplied by a factor, and of which a
// share takes three seconds more.
func buckets(factor, stalled float64) []float64 {
	up := func(ms float64) float64 {
		if ms <= 0 {
			return 0
		}
		return 0.5 * math.Erfc(-math.Log(ms/(usualMedian*factor))/(usualSigma*math.Sqrt2))
	}
	probabilities := make([]float64, len(bounds)+1)
	before := 0.0
	for i, b := range bounds {
		all := (1-stalled)*up(b) + stalled*up(b-stall)
		probabilities[i] = all - before
		before = all
	}
	probabilities[len(bounds)] = 1 - before
	return probabilities
}

// draw gives requests to buckets: how many take up to each bound, and how many there are.
func draw(r *rand.Rand, n float64, probabilities []float64) (cumulative []float64, total float64) {
	cumulative = make([]float64, len(bounds))
	for i, p := range probabilities {
		total += poisson(r, n*p)
		if i < len(bounds) {
			cumulative[i] = total
		}
	}
	return cumulative, total
}

// history chooses the bounds to judge as the judge does.
func (d *durations) history(r *rand.Rand, n float64) (sequential.Counts, []sequential.Bound) {
	cumulative, total := draw(r, n, d.usual)
	var all []sequential.Bucket
	for i, le := range bounds {
		all = append(all, sequential.Bucket{Le: le, Cumulative: cumulative[i]})
	}
	return sequential.Counts{Requests: total}, sequential.Bounds(all, total, 0)
}

func (d *durations) bin(r *rand.Rand, n, weight, second float64) bin {
	var b bin
	b.fast[0], b.counts.Canary.Requests = draw(r, n*weight, d.canary(second))
	b.fast[1], b.counts.Primary.Requests = draw(r, n*(1-weight), d.usual)
	return b
}

// slow counts, for each bound, the requests of a window that took longer.
func (l *life) slow(judged []sequential.Bound, begin, end int) []sequential.Pair {
	all := l.window(begin, end)
	pairs := make([]sequential.Pair, len(judged))
	for i, bound := range judged {
		pairs[i] = all
		for j, le := range bounds {
			if le != bound.Le {
				continue
			}
			pairs[i].Canary.Bad, pairs[i].Primary.Bad = all.Canary.Requests, all.Primary.Requests
			for _, b := range l.bins[begin:end] {
				pairs[i].Canary.Bad -= b.fast[0][j]
				pairs[i].Primary.Bad -= b.fast[1][j]
			}
		}
	}
	return pairs
}

// p99 is the 99th percentile of the canary's requests in a window, interpolated inside its bucket as
// Prometheus does.
func (l *life) p99(begin, end int) float64 {
	cumulative := make([]float64, len(bounds))
	total := 0.0
	for _, b := range l.bins[begin:end] {
		for i, n := range b.fast[0] {
			cumulative[i] += n
		}
		total += b.counts.Canary.Requests
	}
	rank := 0.99 * total
	for i, n := range cumulative {
		if n < rank {
			continue
		}
		low, below := 0.0, 0.0
		if i > 0 {
			low, below = bounds[i-1], cumulative[i-1]
		}
		if n == below {
			return bounds[i]
		}
		return low + (bounds[i]-low)*(rank-below)/(n-below)
	}
	return bounds[len(bounds)-1]
}
