package sequential

import "time"

const (
	hardCanary       = 10  // requests of the canary that must be seen
	hardPrimary      = 20  // and of the primary
	hardCanaryShare  = 0.9 // of the canary's that are bad
	hardPrimaryShare = 0.1 // of the primary's that may be
)

// Hard says whether nearly every request to the canary fails while the primary answers.
func Hard(p Pair) bool {
	return p.Canary.Requests >= hardCanary && p.Primary.Requests >= hardPrimary &&
		p.Canary.Bad >= hardCanaryShare*p.Canary.Requests && p.Primary.Bad <= hardPrimaryShare*p.Primary.Requests
}

// Instant is what was counted at one time after the start.
type Instant struct {
	At      time.Duration
	Sampled bool // a sample of the canary lies here, even if it counted nothing new
	Pair
}

// Hardness is where a canary failed hard.
type Hardness struct {
	At time.Duration
	Pair
}

// FindHard looks for the first time at which the canary fails hard, from what is known when so much time
// has passed since the start. Instants are in order of time. Where one proxy counts both arms in the same
// instant nothing is waited for; else the primary's counters are read half a cell earlier or later.
func FindHard(instants []Instant, grid time.Duration, together bool, since time.Duration) (Hardness, bool) {
	lag := grid / 2
	if together {
		lag = 0
	}
	var canary, primary window
	for _, i := range instants {
		if !i.Sampled || i.At <= 0 {
			continue
		}
		if since < i.At+lag {
			break
		}
		found := Pair{
			Canary:  canary.slide(instants, i.At-grid, i.At).Canary,
			Primary: primary.slide(instants, i.At-grid+lag, i.At+lag).Primary,
		}
		if !together && i.At < grid {
			found.Primary = sinceStart(instants, i.At, i.At+lag, grid)
		}
		if Hard(found) {
			return Hardness{i.At, found}, true
		}
	}
	return Hardness{}, false
}

// sinceStart is what the primary's counters that are read in a time of the first interval tell of the time since the
// start: of what one tells then, the rest was before it, when the canary counted nothing.
func sinceStart(instants []Instant, from, upTo, grid time.Duration) Counts {
	var sum Counts
	for _, i := range instants {
		if i.At >= from && i.At <= upTo {
			share := min(1, i.At.Seconds()/grid.Seconds())
			sum = sum.Plus(Counts{max(i.Primary.Requests*share, i.Primary.Bad), i.Primary.Bad})
		}
	}
	return sum
}

// window sums what lies after one time and up to another, both of which only grow.
type window struct {
	first, next int
	sum         Pair
}

func (w *window) slide(instants []Instant, after, upTo time.Duration) Pair {
	for w.next < len(instants) && instants[w.next].At <= upTo {
		w.sum = w.sum.Plus(instants[w.next].Pair)
		w.next++
	}
	for w.first < w.next && instants[w.first].At <= after {
		w.sum = w.sum.Plus(instants[w.first].times(-1))
		w.first++
	}
	return w.sum
}
