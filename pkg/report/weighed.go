package report

import (
	"math"

	"github.com/serin-cd/serin/pkg/judge"
	"github.com/serin-cd/serin/pkg/judge/sequential"
)

const (
	mostStrata = 200
	mostCells  = 600
)

// Weighed is the part of a report that the sequential judge adds. Times are in seconds after the start of
// the rollout, over which counts run.
type Weighed struct {
	Grid    Grid      `json:"grid"`
	History History   `json:"history"`
	Metrics []Judged  `json:"metrics"`
	Strata  []Stratum `json:"strata"` // the last ones
	Share   Share     `json:"weight"`
	Held    bool      `json:"held"`
	Missing *float64  `json:"missing,omitempty"` // requests of the canary
	Cells   []Cell    `json:"cells"`             // the last ones
}

// Grid is what counts are divided into.
type Grid struct {
	Seconds float64 `json:"seconds"`
	Cells   int     `json:"cells"`
	Strata  int     `json:"strata"`
}

// History is the primary before the rollout.
type History struct {
	Seconds  float64 `json:"seconds"`
	Requests float64 `json:"requests"`
	Bad      float64 `json:"bad"`
}

// Judged is a proportion, and the evidence about it.
type Judged struct {
	Name        string   `json:"name"` // errors or latency
	LeMs        *float64 `json:"leMs,omitempty"`
	Tolerance   float64  `json:"tolerance"`
	Margin      float64  `json:"margin"`
	Canary      Arm      `json:"canary"`
	Primary     Arm      `json:"primary"`
	Blame       float64  `json:"blame"`
	BlameMax    float64  `json:"blameMax"`
	BlameLimit  float64  `json:"blameLimit"`
	Acquit      float64  `json:"acquit"`
	AcquitMax   float64  `json:"acquitMax"`
	AcquitLimit float64  `json:"acquitLimit"`
}

// Arm is what one arm counted, and where its rate lies with 95 % confidence.
type Arm struct {
	Requests float64 `json:"requests"`
	Bad      float64 `json:"bad"`
	Rate     float64 `json:"rate"`
	Low      float64 `json:"low"`
	High     float64 `json:"high"`
}

// Ratio is bad requests and all, in this order.
type Ratio [2]float64

// Stratum is the least that evidence is drawn from.
type Stratum struct {
	End     float64 `json:"end"`
	Canary  Ratio   `json:"canary"`
	Primary Ratio   `json:"primary"`
	Blame   float64 `json:"blame"`
	Acquit  float64 `json:"acquit"`
}

// Share is what of the traffic reached the canary.
type Share struct {
	Configured float64  `json:"configured"`     // percent
	Seen       *float64 `json:"seen,omitempty"` // percent, absent before there was traffic
	LogBF      float64  `json:"logBF"`
	Obeyed     bool     `json:"obeyed"`
}

// Cell is an interval, and how things stood at its end.
type Cell struct {
	End     float64  `json:"end"`
	Phase   int      `json:"phase"`
	Canary  Ratio    `json:"canary"`
	Primary Ratio    `json:"primary"`
	Blame   float64  `json:"blame"`
	Acquit  float64  `json:"acquit"`
	Held    bool     `json:"held,omitempty"`
	Latency *Latency `json:"latency,omitempty"`
}

// Latency is the evidence over all bounds, and what took longer than each.
type Latency struct {
	Blame   float64 `json:"blame"`  // the mean over bounds
	Acquit  float64 `json:"acquit"` // the least, of the most in this phase
	Canary  []Ratio `json:"canary"`
	Primary []Ratio `json:"primary"`
}

// weighed adds what the sequential judge found.
func (r *Report) weighed(v judge.Verdict) {
	f := v.Weighed
	r.Target.Reporter, r.Target.Split = f.Reporter, f.Split
	r.Stage.Gate = f.Gate
	r.Queries = append(append([]string{}, f.Queries...), r.Queries...)
	w := &Weighed{
		Grid:    Grid{Seconds: f.Grid.Seconds(), Cells: len(f.Moments)},
		History: History{600, f.History.Requests, f.History.Bad},
		Metrics: []Judged{proportion("errors", f.Errors, f)}, Strata: []Stratum{}, Cells: []Cell{},
		Share: shared(v), Held: f.Held, Missing: f.Missing,
	}
	for _, b := range f.Bounds {
		w.Metrics = append(w.Metrics, proportion("latency", b, f))
	}
	for _, m := range f.Moments {
		w.Cells = append(w.Cells, cell(m))
		if m.Closed {
			w.Strata = append(w.Strata, Stratum{m.End.Seconds(), ratio(m.Stratum.Canary), ratio(m.Stratum.Primary), m.Metric.Blame, m.Metric.Acquit})
		}
	}
	w.Grid.Strata = len(w.Strata)
	w.Strata = w.Strata[max(0, len(w.Strata)-mostStrata):]
	w.Cells = w.Cells[max(0, len(w.Cells)-mostCells):]
	r.Weighed = w
}

func proportion(name string, j sequential.Judged, f *judge.Weighed) Judged {
	result := Judged{
		Name: name, Tolerance: j.Tolerance, Margin: j.Margin, Canary: arm(j.Seen.Canary), Primary: arm(j.Seen.Primary),
		Blame: j.Blame(), BlameMax: j.BlameMax(), BlameLimit: math.Round(1e6/f.Alpha) / 1e6,
		Acquit: j.Acquit(), AcquitMax: j.AcquitMax(), AcquitLimit: math.Round(1e6/f.Beta) / 1e6,
	}
	if j.Le > 0 {
		le := j.Le
		result.LeMs = &le
	}
	return result
}

func arm(c sequential.Counts) Arm {
	low, high := sequential.Interval(c)
	return Arm{c.Requests, c.Bad, c.Rate(), low, high}
}

func ratio(c sequential.Counts) Ratio { return Ratio{c.Bad, c.Requests} }

func shared(v judge.Verdict) Share {
	f := v.Weighed
	s := Share{Configured: float64(v.Weight()), LogBF: f.Share.Log, Obeyed: f.Obeyed}
	seen := f.Share.Pair
	if seen.Canary.Requests+seen.Primary.Requests == 0 {
		seen = f.InPhase // too early for the judge, but not for people
	}
	if n := seen.Canary.Requests + seen.Primary.Requests; n > 0 {
		percent := math.Round(1e4*seen.Canary.Requests/n) / 100
		s.Seen = &percent
	}
	return s
}

func cell(m sequential.Moment) Cell {
	c := Cell{m.End.Seconds(), m.Phase + 1, ratio(m.Cell.Canary), ratio(m.Cell.Primary), m.Metric.Blame, m.Metric.Acquit, m.Held, nil}
	if m.Latency != nil {
		c.Latency = &Latency{Blame: m.Latency.Blame, Acquit: m.Latency.Acquit}
		for _, s := range m.Slow {
			c.Latency.Canary = append(c.Latency.Canary, ratio(s.Canary))
			c.Latency.Primary = append(c.Latency.Primary, ratio(s.Primary))
		}
	}
	return c
}
