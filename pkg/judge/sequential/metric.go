package sequential

import (
	"math"
	"time"
)

const (
	memorySeconds  = 60  // in which what was seen loses its weight by e
	pseudoRequests = 100 // that stand behind the rates expected at first
	thinHistory    = 100 // requests that a history needs to be relied on
	fewestRequests = 3   // of each arm in a stratum
)

// Rule says how much worse than its primary a canary may be.
type Rule struct {
	Tolerance         float64 // worse by up to this is never blamed
	ToleranceRelative float64 // the same, as a share of the primary's rate
	Margin            float64 // worse by this must be ruled out
	MarginRelative    float64
}

// latencyRule is that of latency bounds.
var latencyRule = Rule{Tolerance: 0.001, ToleranceRelative: 0.25, Margin: 0.02, MarginRelative: 1}

// Tolerances are fixed by the history, before the rollout.
type Tolerances struct {
	Tolerance float64 // δ0
	Margin    float64 // δ1
	Before    float64 // rate of the primary in the history, 0 where that is too thin
	expected  float64 // rate that experts start from
}

// Thin says whether a history is too short to say what is usual.
func Thin(history Counts) bool { return history.Requests < thinHistory }

// Of is what the rule makes of the primary's history.
func (r Rule) Of(history Counts) Tolerances {
	t := Tolerances{expected: (history.Bad + 0.5) / (history.Requests + pseudoRequests)}
	if !Thin(history) {
		t.Before = history.Rate()
	}
	t.Tolerance = max(r.Tolerance, r.ToleranceRelative*t.Before)
	t.Margin = max(r.Margin, r.MarginRelative*t.Before, 2*t.Tolerance)
	return t
}

// Metric judges one proportion of requests.
type Metric struct {
	Tolerances
	design  float64 // requests that count as one
	blame   pot
	acquit  pot
	memory  Pair
	open    Pair // the stratum that is not closed yet
	openFor time.Duration
	strata  int // in this stage
}

// newMetric judges with a rule and the primary's history; errors that come in clumps count by the design
// effect, 1 where they do not.
func newMetric(rule Rule, history Counts, design float64) *Metric {
	m := &Metric{Tolerances: rule.Of(history), design: design, blame: newPot(blamePrior), acquit: newPot(acquitPrior)}
	m.memory.Primary = history
	return m
}

func (m *Metric) clone() *Metric {
	c := *m
	return &c
}

// Blame is the wealth that bets on a worse canary.
func (m *Metric) Blame() float64 { return m.blame.total() }

// BlameMax is the most that blame ever was.
func (m *Metric) BlameMax() float64 { return m.blame.most }

// Acquit is the wealth that bets, in this stage, on a canary that is not worse by the margin.
func (m *Metric) Acquit() float64 { return m.acquit.total() }

// AcquitMax is the most that it was in this stage.
func (m *Metric) AcquitMax() float64 { return m.acquit.most }

// Strata is how many were closed in this stage.
func (m *Metric) Strata() int { return m.strata }

// NewStage begins another weight: what is blamed stays, what was proven does not.
func (m *Metric) NewStage() (discarded Pair) {
	discarded = m.open
	m.open, m.openFor, m.strata = Pair{}, 0, 0
	m.blame.deal(kept)
	m.acquit = newPot(acquitPrior)
	return discarded
}

// Add counts a closed cell, and bets if that closes a stratum.
func (m *Metric) Add(cell Pair, length time.Duration) (stratum Pair, closed bool) {
	m.open, m.openFor = m.open.Plus(cell), m.openFor+length
	if m.open.Canary.Requests < fewestRequests || m.open.Primary.Requests < fewestRequests {
		return Pair{}, false
	}
	stratum = m.open
	m.bet(stratum)
	m.memory = m.memory.times(math.Exp(-m.openFor.Seconds() / memorySeconds)).Plus(stratum)
	m.open, m.openFor = Pair{}, 0
	m.strata++
	return stratum, true
}

func (m *Metric) bet(s Pair) {
	var logs [experts]float64
	for j, expected := range m.blaming() {
		logs[j+1] = logE(s, expected, m.Tolerance, blames) / m.design
	}
	m.blame.bet(&logs)
	for j, expected := range m.acquitting() {
		logs[j+1] = logE(s, expected, m.Margin, acquits) / m.design
	}
	m.acquit.bet(&logs)
}

// usual is the rate expected of the primary.
func (m *Metric) usual() float64 {
	p := m.memory.Primary
	return clamp((p.Bad + pseudoRequests*m.expected) / (p.Requests + pseudoRequests))
}

func (m *Metric) blaming() [experts - 1]rates {
	var all [experts - 1]rates
	primary := m.usual()
	for j, step := range blameSteps {
		all[j] = rates{clamp(primary + m.Tolerance + step), primary}
	}
	c := m.memory.Canary
	all[len(blameSteps)] = rates{clamp((c.Bad + 0.5) / (c.Requests + 10)), primary}
	return all
}

// pooled is the rate expected of both arms if they are alike.
func (m *Metric) pooled() float64 {
	both := m.memory.Primary.Plus(m.memory.Canary)
	return clamp((both.Bad + pseudoRequests*m.expected) / (both.Requests + pseudoRequests))
}

func (m *Metric) acquitting() [2]rates {
	c := m.memory.Canary
	own := clamp((c.Bad + pseudoRequests*m.expected) / (c.Requests + pseudoRequests))
	return [2]rates{{m.pooled(), m.pooled()}, {own, m.usual()}}
}
