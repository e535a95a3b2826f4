package counting

import (
	"math"
	"slices"

	"github.com/prometheus/common/model"

	"github.com/serin-cd/serin/pkg/judge/sequential"
)

// Slow is how many requests took longer than some bounds.
type Slow struct {
	Cells    [][]sequential.Pair // of each bound, the early cell last; bad ones are slow ones
	Lacking  []bool              // bounds that some histogram does not have
	Canary   bool                // the canary has histograms
	Warnings []string
}

// Durations counts requests by how long they took, in the cells of a layout. A histogram that lacks a bound cannot
// tell.
func (r Reader) Durations(m model.Matrix, w Window, bounds []float64, in Layout) (Slow, error) {
	a, err := r.answer(m, w)
	if err != nil {
		return Slow{}, err
	}
	s := Slow{Cells: make([][]sequential.Pair, len(bounds)), Lacking: a.lacking(bounds)}
	all := a.bucket(math.Inf(1), in)
	for i, le := range bounds {
		s.Cells[i] = a.bucket(le, in)
		for k, within := range s.Cells[i] {
			s.Cells[i][k] = sequential.Pair{
				Canary: beyond(all[k].Canary, within.Canary), Primary: beyond(all[k].Primary, within.Primary)}
		}
	}
	for _, series := range a.list {
		s.Canary = s.Canary || series.arm == canary
	}
	s.Warnings = a.warnings
	return s, nil
}

// beyond is all requests, and those among them that were not within a bound.
func beyond(all, within sequential.Counts) sequential.Counts {
	n := all.Requests
	return sequential.Counts{Requests: n, Bad: min(max(n-within.Requests, 0), n)}
}

// bucket counts the requests of one bucket.
func (a *answer) bucket(le float64, in Layout) []sequential.Pair {
	cells := make([]sequential.Pair, len(in.cells))
	of := func(s *series) bool { return s.le == le && s.metric[model.BucketLabel] != "" }
	for _, s := range a.single {
		if !of(s) {
			continue
		}
		a.increments(s, func(at model.Time, n float64) {
			if i := in.at(a.since(at), a.Grid); i >= 0 {
				add(&cells[i], s.arm == canary, false, n)
			}
		})
	}
	for _, group := range a.copied {
		if of(group[0]) {
			a.cells(a.counters(group), in, func(i int, n float64) { add(&cells[i], group[0].arm == canary, false, n) })
		}
	}
	return cells
}

func (a *answer) lacking(bounds []float64) []bool {
	has := map[string][]bool{}
	for _, s := range a.list {
		if s.samples[len(s.samples)-1].Timestamp <= moment(a.Start) {
			continue // of pods that were gone by then
		}
		if has[s.family] == nil {
			has[s.family] = make([]bool, len(bounds))
		}
		if i := slices.Index(bounds, s.le); i >= 0 {
			has[s.family][i] = true
		}
	}
	lacking := make([]bool, len(bounds))
	for _, bucket := range has {
		for i := range bounds {
			lacking[i] = lacking[i] || !bucket[i]
		}
	}
	return lacking
}
