package simulation

import (
	"math"
	"slices"
	"sort"
)

const (
	objective = 500  // milliseconds
	stall     = 3000 // milliseconds
	sigma     = 0.9  // of a lognormal
)

// istio are the bounds of Istio's histograms, in milliseconds.
var istio = []float64{0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000,
	30000, 60000, 300000, 600000, 1800000, 3600000}

// moment is a time as the application feels it.
type moment struct {
	second float64 // after the start
	raised float64 // seconds since the canary felt its last weight
}

// durations is how long requests take. What happens is told apart by the bounds of both arms and the objective;
// proxies tell only what their own bounds do.
type durations struct {
	bounds []float64   // of all, in milliseconds
	told   [arms][]int // indices of an arm's own among them
	slow   int         // index of the first cell beyond the objective
	usual  *mixture    // before the start
	at     [arms]func(moment) *mixture
}

// mixture says how requests spread over the cells between bounds.
type mixture struct{ shares, upTo []float64 }

// newDurations has lognormal durations of a median in milliseconds, in histograms of these bounds.
func newDurations(median float64, own [arms][]float64) *durations {
	d := &durations{bounds: []float64{objective}}
	for _, bounds := range own {
		d.bounds = append(d.bounds, bounds...)
	}
	slices.Sort(d.bounds)
	d.bounds = slices.Compact(d.bounds)
	for arm, bounds := range own {
		for i, b := range d.bounds {
			if slices.Contains(bounds, b) {
				d.told[arm] = append(d.told[arm], i)
			}
		}
	}
	d.slow = slices.Index(d.bounds, objective) + 1
	d.usual = d.mixture(median, 0)
	same := func(moment) *mixture { return d.usual }
	d.at = [arms]func(moment) *mixture{same, same}
	return d
}

// mixture is that of a lognormal with a median, of which a share takes three seconds more.
func (d *durations) mixture(median, stalled float64) *mixture {
	up := func(ms float64) float64 {
		if ms <= 0 {
			return 0
		}
		return 0.5 * math.Erfc(-math.Log(ms/median)/(sigma*math.Sqrt2))
	}
	m := &mixture{}
	before := 0.0
	for _, b := range d.bounds {
		all := (1-stalled)*up(b) + stalled*up(b-stall)
		m.shares, m.upTo = append(m.shares, all-before), append(m.upTo, all)
		before = all
	}
	m.shares, m.upTo = append(m.shares, 1-before), append(m.upTo, 1)
	return m
}

// cell is where a request lies whose duration has this probability not to be exceeded.
func (m *mixture) cell(u float64) int { return min(sort.SearchFloat64s(m.upTo, u), len(m.upTo)-1) }

// quantile interpolates inside a bucket as Prometheus's histogram_quantile does; buckets are cumulative, in the
// order of their bounds, the last of which is infinite.
func quantile(q float64, bounds, buckets []float64) float64 {
	last := len(buckets) - 1
	if last < 1 || !(buckets[last] > 0) {
		return math.NaN()
	}
	rank := q * buckets[last]
	i := sort.Search(last, func(i int) bool { return buckets[i] >= rank })
	if i == last {
		return bounds[last-1]
	}
	low, below := 0.0, 0.0
	if i > 0 {
		low, below = bounds[i-1], buckets[i-1]
	}
	if buckets[i] == below {
		return bounds[i]
	}
	return low + (bounds[i]-low)*(rank-below)/(buckets[i]-below)
}
