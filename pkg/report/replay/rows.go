package replay

import (
	"slices"
	"time"

	"github.com/serin-cd/serin/pkg/judge/verdict"
	"github.com/serin-cd/serin/pkg/task/parameter"
)

// Row is how things stood at the time when something could be known.
type Row struct {
	At         time.Time        `json:"at"`
	Weight     parameter.Weight `json:"weight"`
	Sequential *Cell            `json:"sequential,omitempty"`
	Classic    *Check           `json:"classic,omitempty"`
	Verdicts   *Pair            `json:"verdicts,omitempty"`
}

// Cell is one that has closed.
type Cell struct {
	Canary  verdict.Ratio `json:"canary"`
	Primary verdict.Ratio `json:"primary"`
	State   string        `json:"state"`
	Blame   float64       `json:"blame"`  // the most, of errors and latency
	Acquit  float64       `json:"acquit"` // the least
}

// Check is one that was done.
type Check struct {
	State  verdict.State `json:"outcome"`
	Failed int           `json:"failed"` // checks so far

	outside string // the metric that was outside its bounds
}

// Pair is what the judges said, in two words.
type Pair struct {
	Sequential string `json:"sequential,omitempty"`
	Classic    string `json:"classic,omitempty"`
}

// rows are in order of time.
func (r Result) rows(settle time.Duration) []Row {
	all := []Row{}
	at := func(t time.Time) *Row {
		i, found := slices.BinarySearchFunc(all, t, func(r Row, t time.Time) int { return r.At.Compare(t) })
		if !found {
			all = slices.Insert(all, i, Row{At: t.UTC(), Weight: r.weightAt(t)})
		}
		return &all[i]
	}
	weighed, checked := r.Judges[0], r.Judges[1]
	for _, c := range weighed.Verdict.AllCells {
		at(r.start().Add(seconds(c.Known))).Sequential = cellOf(c)
	}
	for _, c := range checked.Verdict.Checks {
		at(c.At.Add(settle)).Classic = checkOf(c)
	}
	for _, j := range r.Judges {
		for _, s := range j.Stages {
			here := at(s.At)
			here.Weight = s.Weight
			if here.Verdicts == nil {
				here.Verdicts = &Pair{}
			}
			if j.Judge == verdict.Sequential {
				here.Verdicts.Sequential = s.short()
			} else {
				here.Verdicts.Classic = s.short()
			}
		}
	}
	return all
}

func (r Result) start() time.Time { return r.Stages[0].At }

func (r Result) weightAt(t time.Time) parameter.Weight {
	weight := r.Stages[0].Weight
	for _, s := range r.Stages {
		if s.At.Before(t) {
			weight = s.Weight
		}
	}
	return weight
}

// cellOf is a cell with the most that speaks against the canary, its errors or its latency, and the least that speaks
// for it.
func cellOf(c verdict.Cell) *Cell {
	cell := Cell{c.Canary, c.Primary, c.State, c.Blame, c.AcquitMax}
	if c.Latency != nil {
		cell.Blame, cell.Acquit = max(c.Blame, c.Latency.Blame), min(c.AcquitMax, c.Latency.Acquit)
	}
	return &cell
}

func checkOf(c verdict.Check) *Check {
	check := Check{State: c.State, Failed: c.Failed}
	for _, m := range c.Measurements {
		if c.State == verdict.Failed && m.State == verdict.Failed {
			check.outside = m.Name
			break
		}
	}
	return &check
}
