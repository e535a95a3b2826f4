package sequential

import "time"

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
	Settle   time.Duration // after its end a cell is closed
	Together bool          // one proxy counts both arms in the same instant

	Basis
	History Counts // of the primary, before the start

	Cells    []Pair
	Instants []Instant // in order
	Bounds   []Bound
	Slow     [][]Pair // cells of each bound; bad ones are slow ones
}

// Moment is how things stood when a cell had closed.
type Moment struct {
	End     time.Duration
	Stage   int // index
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
	Le   float64 // milliseconds, 0 for errors
	Seen Pair    // in all closed cells that count
}

// Findings are what evidence shows.
type Findings struct {
	Standing
	Errors  Judged
	Bounds  []Judged
	Moments []Moment
	Hard    *Hardness
	Share   Share
	InStage Pair // counted after the last stage began
}

// Weigh weighs evidence anew from the start.
func Weigh(e Evidence) Findings {
	w := weighing{Evidence: e, Progress: NewProgress(e.Basis, e.History, e.Bounds, e.Grid)}
	w.closed = min(Closed(e.Until, e.Grid, e.Settle), len(e.Cells))
	w.slow = make([]Pair, len(e.Bounds))
	for k := range w.closed {
		w.begin(k)
		w.cell(k)
	}
	w.begin(-1)
	return w.findings()
}

type weighing struct {
	Evidence
	*Progress
	closed  int
	stage   int
	seen    Pair
	slow    []Pair
	moments []Moment
}

// begin enters the stages that are in force when a cell starts; all that are left where there is none.
func (w *weighing) begin(cell int) {
	for w.stage+1 < len(w.Stages) && (cell < 0 || firstCell(w.Stages[w.stage+1].At, w.Grid) <= cell) {
		w.stage++
		w.NewStage()
	}
}

func (w *weighing) cell(k int) {
	m := Moment{End: time.Duration(k+1) * w.Grid, Stage: w.stage, Cell: w.Cells[k], Slow: make([]Pair, len(w.Slow))}
	for i, slow := range w.Slow {
		m.Slow[i] = slow[k]
		if m.End > w.WarmUp {
			w.slow[i] = w.slow[i].Plus(slow[k])
		}
	}
	w.seen = w.seen.Plus(m.Cell)
	m.Stratum, m.Closed = w.Add(m.Cell, m.Slow)
	s := w.Standing()
	m.Metric, m.Latency, m.Held = w.errors.Pots(), s.Latency, s.Held
	w.moments = append(w.moments, m)
}

func (w *weighing) findings() Findings {
	last := w.Stages[len(w.Stages)-1]
	f := Findings{Standing: w.Standing(), Errors: Judged{Metric: w.errors, Seen: w.seen},
		Moments: w.moments, InStage: w.inStage(last.At)}
	for i, m := range w.durations.metrics {
		f.Bounds = append(f.Bounds, Judged{m, w.Bounds[i].Le, w.slow[i]})
	}
	if hard, found := FindHard(w.Instants, w.Grid, w.Together, w.Until); found {
		f.Hard = &hard
	}
	f.Share = ShareOf(w.settled(last.At), last.Weight)
	f.Since = w.Until - last.At
	f.Standing.Hard, f.Obeyed = f.Hard != nil, f.Share.Kept
	f.Canary, f.Primary = f.InStage.Canary.Requests, f.InStage.Primary.Requests
	return f
}

// inStage is what was counted after a stage began, in cells closed or not.
func (w *weighing) inStage(at time.Duration) Pair {
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
	for k := firstCell(at+weightGrace, w.Grid); k < w.closed; k++ {
		sum = sum.Plus(w.Cells[k])
	}
	return sum
}
