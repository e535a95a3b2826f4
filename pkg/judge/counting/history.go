package counting

import (
	"math"
	"slices"
	"time"

	"github.com/prometheus/common/model"

	"github.com/serin-cd/serin/pkg/judge/sequential"
)

// History is what the primary did before the rollout.
type History struct {
	Primary  sequential.Counts
	Busiest  float64 // requests in its busiest interval
	Grid     time.Duration
	Warnings []string
}

// History counts the primary's requests before the start, and how often it is scraped, unless a grid other
// than 0 says so.
func (r Reader) History(m model.Matrix, start time.Time, grid time.Duration) (History, error) {
	h := History{Grid: grid}
	a, err := r.answer(m, Window{Start: start.Add(-HistorySpan), End: start, Grid: time.Minute})
	if err != nil {
		return h, err
	}
	if grid == 0 {
		h.Grid = sequential.Grid(a.gaps())
	}
	known := a.warnings
	for { // what is busiest decides which births are believed
		a.warnings = slices.Clone(known)
		c := a.requests(r.Bad)
		h.Primary, h.Busiest = usual(c.Instants, h.Grid)
		h.Warnings = c.Warnings
		if a.Busiest == h.Busiest || !slices.Contains(c.Warnings, ImplausibleBirth) {
			return h, nil
		}
		a.Busiest = h.Busiest
	}
}

// gaps are those between two scrapes of the primary inside the window.
func (a *answer) gaps() []time.Duration {
	var gaps []time.Duration
	start, end := moment(a.Start), moment(a.End)
	for _, s := range a.list {
		if s.arm != primary || s.void <= end {
			continue
		}
		for i := 1; i < len(s.samples); i++ {
			if s.samples[i-1].Timestamp > start {
				gaps = append(gaps, s.samples[i].Timestamp.Sub(s.samples[i-1].Timestamp))
			}
		}
	}
	return gaps
}

// usual adds up the primary's requests, and finds the busiest of the intervals that end at the start.
func usual(instants []sequential.Instant, grid time.Duration) (sequential.Counts, float64) {
	var all sequential.Counts
	intervals := map[time.Duration]float64{}
	busiest := 0.0
	for _, i := range instants {
		all = all.Plus(i.Primary)
		back := (HistorySpan - i.At) / grid
		intervals[back] += i.Primary.Requests
		busiest = max(busiest, intervals[back])
	}
	return all, busiest
}

// Buckets is how long the primary's requests took before the start.
func (r Reader) Buckets(m model.Matrix, start time.Time) (buckets []sequential.Bucket, total float64, err error) {
	a, err := r.answer(m, Window{Start: start.Add(-HistorySpan), End: start, Busiest: math.Inf(1)})
	if err != nil {
		return nil, 0, err
	}
	sums := map[float64]float64{}
	for _, s := range a.list {
		if s.arm != primary || s.void <= moment(start) || s.metric[model.BucketLabel] == "" {
			continue
		}
		a.increments(s, func(_ model.Time, n float64) { sums[s.le] += n })
	}
	for le, n := range sums {
		if math.IsInf(le, 1) {
			total = n
		} else {
			buckets = append(buckets, sequential.Bucket{Le: le, Cumulative: n})
		}
	}
	return buckets, total, nil
}

// Native says whether an answer holds native histograms, which have no buckets of their own to count.
func Native(m model.Matrix) bool {
	for _, s := range m {
		if len(s.Histograms) > 0 {
			return true
		}
	}
	return false
}
