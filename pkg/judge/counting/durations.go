package counting

import (
	"math"
	"slices"

	"github.com/prometheus/common/model"

	"github.com/serin-cd/serin/pkg/judge/sequential"
)

// Slow is how many requests took longer than some bounds.
type Slow struct {
	Cells    [][]sequential.Pair // of each bound; bad ones are slow ones
	Lacking  []bool              // bounds that some histogram does not have
	Canary   bool                // the canary has histograms
	Warnings []string
}

// Durations counts requests by how long they took. A histogram that lacks a bound cannot tell.
func (r Reader) Durations(m model.Matrix, w Window, bounds []float64) (Slow, error) {
	a, err := r.answer(m, w)
	if err != nil {
		return Slow{}, err
	}
	s := Slow{Cells: make([][]sequential.Pair, len(bounds)), Lacking: a.lacking(bounds), Warnings: a.warnings}
	all := a.cells(math.Inf(1))
	for i, le := range bounds {
		s.Cells[i] = a.cells(le)
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

// cells counts the requests of one bucket.
func (a *answer) cells(le float64) []sequential.Pair {
	cells := make([]sequential.Pair, a.closed())
	for _, s := range a.list {
		if s.le != le || s.metric[model.BucketLabel] == "" {
			continue
		}
		a.increments(s, func(at model.Time, n float64) {
			if k := sequential.CellAt(a.since(at), a.Grid); k < len(cells) && !a.known(s.void, k) {
				add(&cells[k], s.arm == canary, false, n)
			}
		})
	}
	return cells
}

func (a *answer) lacking(bounds []float64) []bool {
	has := map[string][]bool{}
	for _, s := range a.list {
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
