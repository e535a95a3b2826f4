package sequential

import (
	"slices"
	"time"
)

// Stage is one weight of a rollout.
type Stage struct {
	At     time.Duration // after the start
	Weight float64       // a fraction
}

// Evidence is all that there is to weigh. Times are after the start, which is that of the first stage.
type Evidence struct {
	Stages   []Stage // the last one is judged
	Until    time.Duration
	Grid     time.Duration
	Together bool // one proxy counts both arms in the same instant

	Basis
	History Counts // of the primary, before the start
	Unlike  bool   // the arms' histograms have no bound in common

	Cells    []Cell // the closed ones
	Early    *Cell  // the next one, in which each proxy has been read
	Instants []Instant
	Bounds   []Bound
	Slow     [][]Pair // for each bound what the cells counted, and after them the early one; bad ones are slow ones

	Longest float64 // milliseconds that one request in a hundred may take, as a bound of both histograms; 0 for any
	TooSlow []Pair  // the same as Slow, for requests that took longer
}

// Moment is how things stood when a cell had closed.
type Moment struct {
	End     time.Duration
	Known   time.Duration // when all that it counts was
	Stage   int           // index
	Cell    Pair
	Slow    []Pair // of each bound
	Stratum Pair
	Closed  bool // the cell closed the stratum
	Metric  Pots
	Latency *Latency
	Held    bool
}

// Pots are those of a metric.
type Pots struct{ Blame, BlameMax, Acquit, AcquitMax float64 }

// Pots are what is in them now.
func (m *Metric) Pots() Pots {
	return Pots{m.Blame(), m.BlameMax(), m.Acquit(), m.AcquitMax()}
}

// Judged is one proportion at the time of judging.
type Judged struct {
	*Metric
	Le      float64 // milliseconds, 0 for errors
	Seen    Pair    // in all closed cells that count
	History Counts  // of the primary, before the start
}

// Findings are what evidence shows.
type Findings struct {
	Standing
	Errors  Judged
	Bounds  []Judged
	Limits  []Limited
	Moments []Moment
	Hard    *Hardness
	Share   Share
	Recent  Counts // of the primary, in the last minute
	InStage Pair   // counted after the last stage began
}

// Weigher weighs evidence that grows. What it has weighed it does not weigh again, as long as that stays the same.
type Weigher struct{ before *weighing }

// Weigh weighs evidence as of its time. A canary is convicted by the early cell too: nothing will be added to that, but
// for a proxy that is read ahead of its time.
func (w *Weigher) Weigh(e Evidence, rules Rules) Findings {
	begun := w.before
	if begun == nil || !begun.began(e) {
		begun = begin(e)
	}
	begun.Evidence = e
	for k := len(begun.moments); k < len(e.Cells); k++ {
		begun.cell(k, e.Cells[k])
	}
	w.before = begun
	found := begun.clone().findings()
	if decision, _ := rules.Decide(found.Standing); decision == Fail || e.Early == nil {
		return found
	}
	hasty := begun.clone()
	cell := *e.Early
	cell.Length, cell.Known = min(cell.Length, max(e.Until-hasty.end, 0)), e.Until // it ends now
	hasty.cell(len(e.Cells), cell)
	early := hasty.findings()
	if decision, _ := rules.Decide(early.Standing); decision == Fail {
		return early
	}
	return found
}

// Weigh weighs evidence from its start.
func Weigh(e Evidence, rules Rules) Findings { return new(Weigher).Weigh(e, rules) }

// weighing is evidence, and what comes of its first cells.
type weighing struct {
	Evidence
	progress
	stage            int
	seen             Pair
	slow             []Pair
	slowest          Pair   // by the limit
	worst, worstSlow Counts // the cell in which most of the canary's requests were bad, by errors and by the limit
	tooBad           int    // cells in a row after which the limit of errors is exceeded
	tooSlow          int    // the same of the limit of durations
	moments          []Moment
}

func begin(e Evidence) *weighing {
	return &weighing{Evidence: e, progress: newProgress(e.Basis, e.History, e.Bounds, e.Grid),
		slow: make([]Pair, len(e.Bounds))}
}

// began says whether evidence begins with what has been weighed.
func (w *weighing) began(e Evidence) bool {
	n := len(w.moments)
	if w.Basis != e.Basis || w.History != e.History || w.Grid != e.Grid || w.Longest != e.Longest ||
		len(e.Cells) < n || !slices.Equal(w.Stages, e.Stages) || !slices.Equal(w.Bounds, e.Bounds) ||
		!slices.Equal(w.Cells[:n], e.Cells[:n]) || w.Longest > 0 && !slices.Equal(w.TooSlow[:n], e.TooSlow[:n]) {
		return false
	}
	for i := range w.Bounds {
		if !slices.Equal(w.Slow[i][:n], e.Slow[i][:n]) {
			return false
		}
	}
	return true
}

func (w *weighing) clone() *weighing {
	c := *w
	c.progress, c.slow, c.moments = w.progress.clone(), slices.Clone(w.slow), slices.Clip(w.moments)
	return &c
}

// enter enters the stages that are in force at a time.
func (w *weighing) enter(at time.Duration) {
	for w.stage+1 < len(w.Stages) && w.Stages[w.stage+1].At <= at {
		w.stage++
		w.newStage()
	}
}

func (w *weighing) cell(k int, cell Cell) {
	w.enter(w.end)
	m := Moment{End: w.end + cell.Length, Known: cell.Known, Stage: w.stage, Cell: cell.Pair,
		Slow: make([]Pair, len(w.Slow))}
	cold := w.cold(m.End)
	for i, slow := range w.Slow {
		m.Slow[i] = slow[k]
		if !cold {
			w.slow[i] = w.slow[i].Plus(slow[k])
		}
	}
	if w.Longest > 0 && !cold {
		w.slowest, w.worstSlow = w.slowest.Plus(w.TooSlow[k]), worse(w.worstSlow, w.TooSlow[k].Canary)
	}
	w.seen, w.worst = w.seen.Plus(m.Cell), worse(w.worst, m.Cell.Canary)
	w.watchLimits(cold)
	m.Stratum, m.Closed = w.add(cell, m.Slow, cold)
	s := w.standing()
	m.Metric, m.Latency, m.Held = w.errors.Pots(), s.Latency, s.Held
	w.moments = append(w.moments, m)
}

// worse are the counts with more bad requests.
func worse(a, b Counts) Counts {
	if b.Bad > a.Bad {
		return b
	}
	return a
}

// cold says whether a cell that ends at a time ends so soon after a weight was set that latency does not count.
func (w *weighing) cold(end time.Duration) bool {
	for i, s := range w.Stages {
		warm := w.WarmUp
		if i > 0 {
			warm /= 2
		}
		if w.Warm > 0 {
			warm = min(warm, w.Warm)
		}
		if end > s.At && end <= s.At+warm {
			return true
		}
	}
	return false
}

// findings enters the last stage, and tells what has been found.
func (w *weighing) findings() Findings {
	last := w.Stages[len(w.Stages)-1]
	w.enter(last.At)
	f := Findings{Standing: w.standing(), Errors: Judged{w.errors, 0, w.seen, w.History}, Limits: w.limited(),
		Moments: w.moments, InStage: w.after(last.At), Recent: w.lately()}
	for i, m := range w.durations.metrics {
		f.Bounds = append(f.Bounds, Judged{m, w.Bounds[i].Le, w.slow[i], w.Bounds[i].History})
	}
	if hard, found := FindHard(w.Instants, w.Grid, w.Together, w.Until); found {
		f.Hard = &hard
	}
	for _, l := range f.Limits {
		f.Broken, f.Halted = f.Broken || l.Broken(), f.Halted || l.Suspect()
	}
	f.Share = ShareOf(w.settled(last.At), last.Weight)
	f.Since = w.Until - last.At
	f.Standing.Hard, f.Obeyed, f.Standing.Unlike = f.Hard != nil, f.Share.Kept, w.Unlike
	f.Silent = !w.Together && w.silent(last)
	f.Canary, f.Primary = f.InStage.Canary.Requests, f.InStage.Primary.Requests
	return f
}

// after is what was counted after a time, in cells closed or not.
func (w *weighing) after(at time.Duration) Pair {
	var sum Pair
	for _, i := range w.Instants {
		if i.At > at && i.At <= w.Until {
			sum = sum.Plus(i.Pair)
		}
	}
	return sum
}

// settled is what was counted in closed cells once the weight must be obeyed.
func (w *weighing) settled(at time.Duration) Pair {
	var sum Pair
	start := time.Duration(0) // of the cell
	for _, m := range w.moments {
		if start >= at+weightGrace {
			sum = sum.Plus(m.Cell)
		}
		start = m.End
	}
	return sum
}
