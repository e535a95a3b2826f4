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
	Clumps   float64 // errors that usually come at once, at least 1
	Grid     time.Duration
	Gap      time.Duration // between two scrapes of it, as it is; 0 where there were no two
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
	gaps := a.gaps()
	h.Gap = sequential.Gap(gaps)
	if grid == 0 {
		h.Grid = sequential.Grid(gaps)
	}
	known := a.warnings
	a.Busiest = math.SmallestNonzeroFloat64
	for { // what is busiest decides which births are believed
		a.warnings = slices.Clone(known)
		c := a.requests(r.Bad)
		h.usual(c.Instants)
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

// usual adds up the primary's requests, in all and in the intervals that end at the start.
func (h *History) usual(instants []sequential.Instant) {
	h.Primary, h.Busiest = sequential.Counts{}, 0
	intervals := make([]sequential.Counts, HistorySpan/h.Grid+1)
	for _, i := range instants {
		h.Primary = h.Primary.Plus(i.Primary)
		back := &intervals[(HistorySpan-i.At)/h.Grid]
		*back = back.Plus(i.Primary)
		h.Busiest = max(h.Busiest, back.Requests)
	}
	h.Clumps = sequential.Dispersion(intervals)
}

// Lengths is how long the primary's requests took before the start.
type Lengths struct {
	Buckets []sequential.Bucket // by the bounds that all its histograms have
	Total   float64
	Unlike  bool // its histograms have bounds, but none in common
}

// Lengths reads histograms of the primary.
func (r Reader) Lengths(m model.Matrix, start time.Time) (Lengths, error) {
	var l Lengths
	a, err := r.answer(m, Window{Start: start.Add(-HistorySpan), End: start, Busiest: math.Inf(1)})
	if err != nil {
		return l, err
	}
	sums, common := map[float64]float64{}, newCommon()
	for _, s := range a.list {
		if s.arm != primary || s.void <= moment(start) || s.metric[model.BucketLabel] == "" ||
			s.samples[len(s.samples)-1].Timestamp <= moment(a.Start) { // of pods that were gone by then
			continue
		}
		common.add(s)
		a.increments(s, func(_ model.Time, n float64) { sums[s.le] += n })
	}
	shared := common.bounds()
	for le, n := range sums {
		if math.IsInf(le, 1) {
			l.Total = n
		} else if shared[le] {
			l.Buckets = append(l.Buckets, sequential.Bucket{Le: le, Cumulative: n})
		} else {
			l.Unlike = len(shared) == 0
		}
	}
	return l, nil
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
