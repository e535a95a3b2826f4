package sequential

import "math"

// Counts are requests, and how many of them were bad.
type Counts struct{ Requests, Bad float64 }

// Plus is the sum of two counts.
func (c Counts) Plus(more Counts) Counts {
	return Counts{c.Requests + more.Requests, c.Bad + more.Bad}
}

// Rate is the share of bad requests, 0 where there are none.
func (c Counts) Rate() float64 {
	if c.Requests <= 0 {
		return 0
	}
	return c.Bad / c.Requests
}

// Pair is what both arms counted over the same time.
type Pair struct{ Canary, Primary Counts }

// Plus is the sum of two pairs.
func (p Pair) Plus(more Pair) Pair {
	return Pair{p.Canary.Plus(more.Canary), p.Primary.Plus(more.Primary)}
}

func (p Pair) times(factor float64) Pair {
	return Pair{Counts{p.Canary.Requests * factor, p.Canary.Bad * factor},
		Counts{p.Primary.Requests * factor, p.Primary.Bad * factor}}
}

// direction is what an e-value argues against.
type direction float64

const (
	blames  direction = +1 // the canary is worse by at most δ
	acquits direction = -1 // the canary is worse by at least δ
)

// rates are those that an expert expects of both arms.
type rates struct{ canary, primary float64 }

// The rates that an expert may expect, whatever it has seen.
const (
	lowestRate  = 1e-6
	highestRate = 0.999
)

func clamp(rate float64) float64 { return min(max(rate, lowestRate), highestRate) }

const (
	bisections = 60
	inside     = 1e-12 // how far from the ends of an interval bisecting starts
)

// logE is the logarithm of the e-value of a stratum for an alternative that was chosen before it was seen.
func logE(s Pair, expected rates, delta float64, against direction) float64 {
	n := rates{s.Canary.Requests, s.Primary.Requests}
	if float64(against)*(expected.canary-expected.primary-delta) <= 0 || n.canary <= 0 || n.primary <= 0 {
		return 0
	}
	null := project(n, expected, delta)
	return likelihood(s.Canary, expected.canary, null.canary) + likelihood(s.Primary, expected.primary, null.primary)
}

func likelihood(c Counts, expected, null float64) float64 {
	return c.Bad*math.Log(expected/null) + (c.Requests-c.Bad)*math.Log((1-expected)/(1-null))
}

// project is the pair of rates exactly δ apart that is nearest, by Kullback and Leibler, to those expected
// of n requests in each arm.
func project(n, expected rates, delta float64) rates {
	low, high := max(0, -delta)+inside, min(1, 1-delta)-inside
	for range bisections {
		t := (low + high) / 2
		slope := n.canary*(t+delta-expected.canary)/((t+delta)*(1-t-delta)) + n.primary*(t-expected.primary)/(t*(1-t))
		if slope > 0 {
			high = t
		} else {
			low = t
		}
	}
	t := (low + high) / 2
	return rates{t + delta, t}
}
