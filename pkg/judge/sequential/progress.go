package sequential

import (
	"slices"
	"time"
)

// Basis is what evidence is weighed by.
type Basis struct {
	Rule   Rule
	Design float64       // errors that usually come at once, at least 1
	Clumps float64       // the same of slow requests
	Alpha  float64       // probability that a metric blames a canary that is not worse
	WarmUp time.Duration // after the first weight, in which latency does not count; half of it after a later one
	Warm   time.Duration // the longest that either may be, 0 for any
	Most   float64       // the highest rate of errors, 0 for any
}

// Cell is what was counted in one interval of the grid, or in several that one reading of a counter covers.
type Cell struct {
	Pair
	Length time.Duration
	Known  time.Duration // after the start, when all of it was known
}

// progress weighs one rollout cell by cell.
type progress struct {
	errors    *Metric
	durations *durations
	grid      time.Duration
	end       time.Duration
	recent    []Cell // of the last minute
}

// newProgress begins a rollout with the primary's history, and the bounds of its latency if there are any.
func newProgress(b Basis, history Counts, bounds []Bound, grid time.Duration) progress {
	return progress{errors: newMetric(b.Rule, history, b.Design), durations: newDurations(bounds, b.Clumps), grid: grid}
}

// clone is a progress of its own, for weighing that may have to be undone.
func (p progress) clone() progress {
	p.errors, p.durations, p.recent = p.errors.clone(), p.durations.clone(), slices.Clone(p.recent)
	return p
}

// newStage begins another weight.
func (p *progress) newStage() {
	p.errors.NewStage()
	p.durations.newStage()
}

// add counts a closed cell: its requests, and for each bound the slow ones among them, unless the canary is cold.
func (p *progress) add(cell Cell, slow []Pair, cold bool) (stratum Pair, closed bool) {
	p.end += cell.Length
	if !cold {
		p.durations.add(slow, cell.Length)
	}
	p.recent = lastMinute(append(p.recent, cell), p.grid)
	return p.errors.Add(cell.Pair, cell.Length)
}

// standing is how things stand, without what only those know who count: how long the weight has been
// set, whether it is obeyed, and whether the canary fails hard.
func (p *progress) standing() Standing {
	return Standing{
		Blame: p.errors.Blame(), BlameMax: p.errors.BlameMax(), Acquit: p.errors.AcquitMax(),
		Latency: p.durations.standing(),
		Strata:  p.errors.Strata(), Held: held(p.lately(), p.errors.Before),
	}
}

// lately is what the primary counted in the last minute.
func (p *progress) lately() Counts {
	var sum Counts
	for _, c := range p.recent {
		sum = sum.Plus(c.Primary)
	}
	return sum
}
