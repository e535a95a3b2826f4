package simulation

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
)

// measured is what many runs of a world came to.
type measured struct {
	runs    int
	count   [outcomes]int
	shares  [outcomes]float64 // percent
	second  [outcomes]float64 // medians
	failed  float64           // median, of those taken back
	reasons map[string]int    // of the inconclusive ones
	causes  map[string]int    // of those taken back
	first   float64           // second of the first promotion
}

// player plays one run.
type player func(*life, context.Context) (end, error)

// measure plays as many rollouts; each has a seed of its own, so that the figures are always the same.
func measure(ctx context.Context, w World, runs int, seed uint64, play player) (measured, error) {
	ends := make([]end, runs)
	failures := make([]error, runtime.GOMAXPROCS(0))
	var group sync.WaitGroup
	for worker := range failures {
		group.Go(func() {
			place, err := w.place(ctx)
			for i := worker; i < runs && err == nil; i += len(failures) {
				ends[i], err = play(place.live(rand.New(rand.NewPCG(seed, uint64(i)))), ctx)
			}
			failures[worker] = err
		})
	}
	group.Wait()
	return summed(ends), errors.Join(failures...)
}

func summed(ends []end) measured {
	m := measured{runs: len(ends), reasons: map[string]int{}, causes: map[string]int{}, first: math.Inf(1)}
	var seconds [outcomes][]float64
	var failed []float64
	for _, e := range ends {
		m.count[e.outcome]++
		seconds[e.outcome] = append(seconds[e.outcome], e.second)
		switch e.outcome {
		case rolledBack:
			failed = append(failed, e.failed)
			m.causes[e.reason]++
		case inconclusive:
			m.reasons[e.reason]++
		case promoted:
			m.first = min(m.first, e.second)
		}
	}
	for o, s := range seconds {
		m.shares[o] = 100 * float64(len(s)) / float64(len(ends))
		m.second[o] = median(s)
	}
	m.failed = median(failed)
	return m
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	return values[len(values)/2]
}

// most is how large, in percent, the share of an outcome may be: the upper bound of Clopper and Pearson ("The use of
// confidence or fiducial limits illustrated in the case of the binomial", 1934), exceeded with probability 0.05.
func (m measured) most(o outcome) float64 {
	k, n := float64(m.count[o]), float64(m.runs)
	if m.count[o] == m.runs {
		return 100
	}
	low, high := k/n, 1.0
	for range 60 {
		if p := (low + high) / 2; atMost(k, n, p) > 0.05 {
			low = p
		} else {
			high = p
		}
	}
	return 100 * high
}

// atMost is the probability that at most k of n happen.
func atMost(k, n, p float64) float64 {
	all, _ := math.Lgamma(n + 1)
	sum := 0.0
	for i := 0.0; i <= k; i++ {
		a, _ := math.Lgamma(i + 1)
		b, _ := math.Lgamma(n - i + 1)
		sum += math.Exp(all - a - b + i*math.Log(p) + (n-i)*math.Log1p(-p))
	}
	return sum
}
