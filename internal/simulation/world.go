package simulation

import (
	"math"
	"math/rand/v2"

	"github.com/serin-cd/serin/pkg/judge/sequential"
)

const (
	binSeconds     = 5
	historySeconds = 600
)

// rate is a share of requests that changes over time, which is in seconds after the start.
type rate func(second float64) float64

func always(p float64) rate { return func(float64) float64 { return p } }

// from is one rate before a time and another one after it.
func from(second, before, after float64) rate {
	return between(second, math.Inf(1), before, after)
}

func between(begin, end, outside, inside float64) rate {
	return func(second float64) float64 {
		if second >= begin && second < end {
			return inside
		}
		return outside
	}
}

// World is a kind of rollout.
type World struct {
	rps             float64
	weights         []float64
	canary, primary rate
	read            int     // bins between two readings of the counters
	early           int     // bins by which the canary's counters are read earlier than the primary's
	bursts          float64 // seconds between two bursts of errors, 0 for none
	spread          float64 // of the canary's error rate from run to run, as the σ of a lognormal
	latency         *durations
	warmUp          float64
	deadline        float64 // of early stages
}

func world(rps, canary, primary float64) World {
	return World{rps: rps, weights: []float64{0.2, 0.4, 0.6}, canary: always(canary), primary: always(primary),
		read: 3, warmUp: 60, deadline: 600}
}

// burst is how many errors come at once.
const burst = 20

// bin is what happens in five seconds.
type bin struct {
	counts sequential.Pair
	fast   [2][]float64 // requests of canary and primary up to each bound of a histogram
}

// life is one run of a world.
type life struct {
	World
	random *rand.Rand
	factor float64 // on the canary's error rate
	bins   []bin
}

func (w World) live(r *rand.Rand) *life {
	l := &life{World: w, random: r, factor: 1}
	if w.spread > 0 {
		l.factor = math.Exp(w.spread * r.NormFloat64())
	}
	return l
}

// history is what the primary counted before the start.
func (l *life) history() (sequential.Counts, []sequential.Bound) {
	n := historySeconds * l.rps
	if l.latency != nil {
		return l.latency.history(l.random, n)
	}
	p := l.primary(-1)
	bad := poisson(l.random, n*p)
	h := sequential.Counts{Requests: bad + poisson(l.random, n*(1-p)), Bad: bad}
	if l.bursts > 0 {
		extra := burst * poisson(l.random, historySeconds/l.bursts)
		h = h.Plus(sequential.Counts{Requests: extra, Bad: extra})
	}
	return h, nil
}

// pass lets a bin pass with so much weight on the canary.
func (l *life) pass(weight float64) {
	second := float64(len(l.bins)) * binSeconds
	n := binSeconds * l.rps
	var b bin
	if l.latency != nil {
		b = l.latency.bin(l.random, n, weight, second)
	} else {
		b.counts.Canary = l.arm(n*weight, min(l.canary(second)*l.factor, 1))
		b.counts.Primary = l.arm(n*(1-weight), l.primary(second))
	}
	if l.bursts > 0 {
		for range int(poisson(l.random, binSeconds/l.bursts)) {
			c := binomial(l.random, burst, weight)
			b.counts = b.counts.Plus(sequential.Pair{
				Canary:  sequential.Counts{Requests: c, Bad: c},
				Primary: sequential.Counts{Requests: burst - c, Bad: burst - c}})
		}
	}
	l.bins = append(l.bins, b)
}

func (l *life) arm(n, p float64) sequential.Counts {
	bad := poisson(l.random, n*p)
	return sequential.Counts{Requests: bad + poisson(l.random, n*(1-p)), Bad: bad}
}

// window adds up bins; the canary's are those that had passed when its counters were read.
func (l *life) window(begin, end int) sequential.Pair {
	var sum sequential.Pair
	for i := begin; i < end; i++ {
		if early := i - l.early; early >= 0 {
			sum.Canary = sum.Canary.Plus(l.bins[early].counts.Canary)
		}
		if i >= 0 {
			sum.Primary = sum.Primary.Plus(l.bins[i].counts.Primary)
		}
	}
	return sum
}

// failed is how many of the canary's requests failed, or were slow.
func (l *life) failed() float64 {
	sum := 0.0
	for _, b := range l.bins {
		if l.latency == nil {
			sum += b.counts.Canary.Bad
		} else {
			sum += b.counts.Canary.Requests - b.fast[0][l.latency.objective]
		}
	}
	return sum
}
