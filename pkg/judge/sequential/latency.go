package sequential

import (
	"slices"
	"time"
)

var quantiles = []float64{0.5, 0.9, 0.99}

// Bucket is a bound of a histogram and how many requests took at most so long.
type Bucket struct {
	Le         float64 // milliseconds
	Cumulative float64
}

// Bound is a duration, and how many requests of the primary took longer before the rollout.
type Bound struct {
	Le      float64 // milliseconds
	History Counts  // bad ones are slow ones
}

// Bounds are the durations to judge, from the primary's history: those that half, a tenth and a hundredth
// of its requests exceed, as far as buckets tell, and the first that is not below an objective, 0 for none.
func Bounds(buckets []Bucket, total, objective float64) []Bound {
	if Thin(Counts{Requests: total}) {
		return nil
	}
	slices.SortFunc(buckets, func(a, b Bucket) int {
		if a.Le < b.Le {
			return -1
		}
		return 1
	})
	var bounds []Bound
	add := func(wanted func(Bucket) bool) {
		i := slices.IndexFunc(buckets, wanted)
		if i < 0 || slices.ContainsFunc(bounds, func(b Bound) bool { return b.Le == buckets[i].Le }) {
			return
		}
		bounds = append(bounds, Bound{buckets[i].Le, Counts{total, max(total-buckets[i].Cumulative, 0)}})
	}
	for _, q := range quantiles {
		add(func(b Bucket) bool { return b.Cumulative >= q*total })
	}
	if objective > 0 {
		add(func(b Bucket) bool { return b.Le >= objective })
	}
	slices.SortFunc(bounds, func(a, b Bound) int {
		if a.Le < b.Le {
			return -1
		}
		return 1
	})
	return bounds
}

// durations judges all bounds of latency together.
type durations struct {
	metrics []*Metric
	most    float64 // that the mean of blame ever was
}

func newDurations(bounds []Bound, design float64) *durations {
	d := &durations{most: 1}
	for _, b := range bounds {
		d.metrics = append(d.metrics, newMetric(latencyRule, b.History, design))
	}
	return d
}

func (d *durations) newStage() {
	for _, m := range d.metrics {
		m.NewStage()
	}
}

func (d *durations) clone() *durations {
	c := &durations{most: d.most}
	for _, m := range d.metrics {
		c.metrics = append(c.metrics, m.clone())
	}
	return c
}

// add counts a closed cell of each bound.
func (d *durations) add(cells []Pair, length time.Duration) {
	if len(d.metrics) == 0 {
		return
	}
	for i, m := range d.metrics {
		m.Add(cells[i], length)
	}
	d.most = max(d.most, d.blame())
}

// blame is the mean over the bounds: a mean of martingales is one.
func (d *durations) blame() float64 {
	sum := 0.0
	for _, m := range d.metrics {
		sum += m.Blame()
	}
	return sum / float64(len(d.metrics))
}

// standing is nil where there is no bound.
func (d *durations) standing() *Latency {
	if len(d.metrics) == 0 {
		return nil
	}
	s := Latency{Blame: d.blame(), BlameMax: d.most, Acquit: d.metrics[0].AcquitMax()}
	for _, m := range d.metrics {
		s.Acquit = min(s.Acquit, m.AcquitMax())
	}
	return &s
}
