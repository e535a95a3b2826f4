package sequential

import "time"

// Basis is what evidence is weighed by.
type Basis struct {
	Rule   Rule
	Design float64 // requests that count as one, where errors come in clumps; else 1
	WarmUp time.Duration
}

// Progress weighs one rollout cell by cell.
type Progress struct {
	errors    *Metric
	durations *durations
	grid      time.Duration
	end       time.Duration
	recent    []Pair // the cells of the last minute
}

// NewProgress begins a rollout with the primary's history, and the bounds of its latency if there are any.
func NewProgress(b Basis, history Counts, bounds []Bound, grid time.Duration) *Progress {
	return &Progress{errors: newMetric(b.Rule, history, b.Design), durations: newDurations(bounds, b.WarmUp, b.Design),
		grid: grid}
}

// NewStage begins another weight.
func (p *Progress) NewStage() {
	p.errors.NewStage()
	p.durations.newStage()
}

// Add counts a closed cell: its requests, and for each bound the slow ones among them.
func (p *Progress) Add(cell Pair, slow []Pair) (stratum Pair, closed bool) {
	p.end += p.grid
	p.durations.add(slow, p.end, p.grid)
	if last := heldCells(p.grid); len(p.recent) == last {
		copy(p.recent, p.recent[1:])
		p.recent[last-1] = cell
	} else {
		p.recent = append(p.recent, cell)
	}
	return p.errors.Add(cell, p.grid)
}

// Standing is how things stand, without what only those know who count: how long the weight has been
// set, whether it is obeyed, and whether the canary fails hard.
func (p *Progress) Standing() Standing {
	return Standing{
		Blame: p.errors.Blame(), BlameMax: p.errors.BlameMax(), Acquit: p.errors.AcquitMax(),
		Latency: p.durations.standing(),
		Strata:  p.errors.Strata(), Held: held(p.recent, p.grid, p.errors.Before),
	}
}
