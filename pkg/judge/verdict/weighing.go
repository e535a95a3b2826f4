package verdict

import (
	"math"
	"time"

	"github.com/serin-cd/serin/pkg/judge/sequential"
)

const (
	mostStrata = 200
	mostCells  = 600
)

// Weighing is what the sequential judge knows when it decides.
type Weighing struct {
	sequential.Findings
	Rules    sequential.Rules
	Start    time.Time
	Grid     time.Duration
	History  sequential.Counts // of the primary, before the start
	Basis    sequential.Basis
	Together bool   // one proxy counts both arms in the same instant
	Metric   string // Istio's, whose requests were counted
	Reporter string // by which proxies, empty where nobody knows
	Split    string
	Arms     [2]string // Services or workloads: of the canary and of the primary
	Queries  []string
}

// ConcludeWeighing ends with what the sequential judge decided, and says in words why.
func (v *Verdict) ConcludeWeighing(d Decision, code string, w Weighing) {
	v.Judge, v.Decision, v.Code = Sequential, d, code
	v.Target.Reporter, v.Target.Split, v.Stage.Gate = w.Reporter, w.Split, string(w.Rules.Gate)
	v.Queries = append(append([]string{}, w.Queries...), v.Queries...)
	v.Weighed = w.told()
	v.Share.Configured = float64(v.Weight())
	if code == sequential.LowTraffic || code == sequential.Undecided {
		v.Missing = w.missing(float64(v.Weight()) / 100)
	}
	v.Text = w.text(*v)
}

// told is what is found, as people and programs read it.
func (w Weighing) told() *Weighed {
	told := &Weighed{
		Grid:    Grid{Seconds: w.Grid.Seconds(), Cells: len(w.Moments)},
		History: History{600, w.History.Requests, w.History.Bad, w.Basis.Design},
		Rules:   w.rules(), Hard: w.hard(),
		Metrics: []Proportion{w.proportion("errors", w.Errors)}, Strata: []Stratum{}, AllCells: []Cell{},
		Share: w.share(), Held: w.Held,
	}
	for _, b := range w.Bounds {
		told.Metrics = append(told.Metrics, w.proportion("latency", b))
	}
	for _, l := range w.Limits {
		told.Limits = append(told.Limits, limit(l))
	}
	for _, m := range w.Moments {
		told.AllCells = append(told.AllCells, w.cell(m))
		if m.Closed {
			told.Strata = append(told.Strata,
				Stratum{m.End.Seconds(), RatioOf(m.Stratum.Canary), RatioOf(m.Stratum.Primary),
					m.Metric.Blame, m.Metric.Acquit})
		}
	}
	told.Grid.Strata = len(told.Strata)
	told.Strata = told.Strata[max(0, len(told.Strata)-mostStrata):]
	told.Cells = told.AllCells[max(0, len(told.AllCells)-mostCells):]
	if w.Latency != nil {
		told.LatencyBlame = w.Latency.Blame
	}
	return told
}

func (w Weighing) rules() Rules {
	return Rules{
		MinDwell: w.Rules.MinDwell.Seconds(), TimeBox: w.Rules.TimeBox.Seconds(), WarmUp: w.Basis.WarmUp.Seconds(),
		LongestWarmUp: w.Basis.Warm.Seconds(), SlowClumps: w.Basis.Clumps, Together: w.Together,
	}
}

func (w Weighing) hard() *Hard {
	if w.Hard == nil {
		return nil
	}
	return &Hard{w.Hard.At.Seconds(), RatioOf(w.Hard.Canary), RatioOf(w.Hard.Primary)}
}

func (w Weighing) proportion(name string, j sequential.Judged) Proportion {
	p := Proportion{
		Name: name, History: RatioOf(j.History), Tolerance: j.Tolerance, Margin: j.Margin,
		Canary: arm(j.Seen.Canary), Primary: arm(j.Seen.Primary),
		Blame: j.Blame(), BlameMax: j.BlameMax(), BlameLimit: math.Round(1e6/w.Rules.Alpha) / 1e6,
		Acquit: j.Acquit(), AcquitMax: j.AcquitMax(), AcquitLimit: math.Round(1e6/w.Rules.Beta) / 1e6,
	}
	if j.Le > 0 {
		p.LeMs = &j.Le
	}
	return p
}

func limit(l sequential.Limited) Limit {
	low, high := l.Ends()
	t := Limit{Most: l.Most, Canary: RatioOf(l.Seen.Canary), Primary: RatioOf(l.Seen.Primary), CanaryLow: low,
		PrimaryHigh: high}
	if l.Le > 0 {
		t.LeMs = &l.Le
	}
	return t
}

func arm(c sequential.Counts) Arm {
	low, high := sequential.Interval(c)
	return Arm{c.Requests, c.Bad, c.Rate(), low, high}
}

func (w Weighing) share() Share {
	s := Share{LogBF: w.Share.Log, Obeyed: w.Obeyed}
	seen := w.Share.Pair
	if seen.Canary.Requests+seen.Primary.Requests == 0 {
		seen = w.InStage // too early for the judge, but not for people
	}
	if n := seen.Canary.Requests + seen.Primary.Requests; n > 0 {
		percent := math.Round(1e4*seen.Canary.Requests/n) / 100
		s.Seen = &percent
	}
	return s
}

func (w Weighing) cell(m sequential.Moment) Cell {
	c := Cell{
		End: m.End.Seconds(), Known: m.Known.Seconds(), Stage: m.Stage + 1,
		Canary: RatioOf(m.Cell.Canary), Primary: RatioOf(m.Cell.Primary),
		Blame: m.Metric.Blame, Acquit: m.Metric.Acquit, Held: m.Held, AcquitMax: m.Metric.AcquitMax,
		State: w.Rules.State(m),
	}
	if m.Latency != nil {
		c.Latency = &Latency{Blame: m.Latency.Blame, Acquit: m.Latency.Acquit}
		for _, s := range m.Slow {
			c.Latency.Canary = append(c.Latency.Canary, RatioOf(s.Canary))
			c.Latency.Primary = append(c.Latency.Primary, RatioOf(s.Primary))
		}
	}
	return c
}

// missing works out how many requests of the canary would do, for the metric that needs most; nil where none does.
func (w Weighing) missing(weight float64) *float64 {
	share := weight
	if n := w.InStage.Canary.Requests + w.InStage.Primary.Requests; w.InStage.Canary.Requests > 0 && n > 0 {
		share = w.InStage.Canary.Requests / n
	}
	most := 0.0
	for _, m := range append([]sequential.Judged{w.Errors}, w.Bounds...) {
		if m.AcquitMax() < 1/w.Rules.Beta {
			most = max(most, m.Missing(share, w.Rules.Beta))
		}
	}
	if most > 0 {
		return &most
	}
	return nil
}
