package verdict

import "github.com/serin-cd/serin/pkg/judge/sequential"

// Weighed is the part of a verdict that the sequential judge adds. Times are in seconds after the start of
// the rollout, over which counts run.
type Weighed struct {
	Grid    Grid         `json:"grid"`
	History History      `json:"history"`
	Metrics []Proportion `json:"metrics"` // errors, and each bound of latency
	Limits  []Limit      `json:"limits,omitempty"`
	Strata  []Stratum    `json:"strata"` // the last ones
	Share   Share        `json:"weight"`
	Rules   Rules        `json:"rules"`
	Hard    *Hard        `json:"hardFailure,omitempty"`
	Held    bool         `json:"held"`
	Missing *float64     `json:"missing,omitempty"` // requests of the canary
	Cells   []Cell       `json:"cells"`             // the last ones

	AllCells     []Cell  `json:"-"`
	LatencyBlame float64 `json:"-"` // the mean over bounds
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
	Clumps   float64 `json:"designEffect"` // errors that usually come at once, or that the parameter says
}

// Rules are what evidence is weighed by, beside the bounds and tolerances of each metric. Times are in seconds.
type Rules struct {
	MinDwell      float64 `json:"minDwell"`
	TimeBox       float64 `json:"timeBox"`
	WarmUp        float64 `json:"warmUp"`           // after the first weight
	LongestWarmUp float64 `json:"longestWarmUp"`    // 0 for any
	SlowClumps    float64 `json:"slowDesignEffect"` // slow requests that usually come at once
	Together      bool    `json:"together"`         // one proxy counts both arms in the same instant
}

// Hard is an interval in which nearly every request to the canary failed while the primary answered.
type Hard struct {
	End     float64 `json:"end"`
	Canary  Ratio   `json:"canary"`
	Primary Ratio   `json:"primary"`
}

// Proportion is one of requests that are bad, and the evidence about it.
type Proportion struct {
	Name        string   `json:"name"` // errors or latency
	LeMs        *float64 `json:"leMs,omitempty"`
	History     Ratio    `json:"history"` // of the primary, before the rollout
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

// Limit is a rate that the canary may not exceed while its primary does not: of failed requests, or of those that took
// longer than a bound.
type Limit struct {
	LeMs        *float64 `json:"leMs,omitempty"`
	Most        float64  `json:"most"`
	Canary      Ratio    `json:"canary"`
	Primary     Ratio    `json:"primary"`
	CanaryLow   float64  `json:"canaryLow"`   // where the confidence sequence of the canary's rate begins
	PrimaryHigh float64  `json:"primaryHigh"` // where that of the primary's ends
}

// Arm is what one arm counted, and where its rate lies with 95 % confidence.
type Arm struct {
	Requests float64 `json:"requests"`
	Bad      float64 `json:"bad"`
	Rate     float64 `json:"rate"`
	Low      float64 `json:"low"`
	High     float64 `json:"high"`
}

func (a Arm) rounded() Ratio { return Ratio{Rounded(a.Bad), Rounded(a.Requests)} }

// Ratio is bad requests and all, in this order.
type Ratio [2]float64

// RatioOf is that of counts.
func RatioOf(c sequential.Counts) Ratio { return Ratio{c.Bad, c.Requests} }

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
	Known   float64  `json:"known"` // when it had closed
	Stage   int      `json:"phase"` // from 1
	Canary  Ratio    `json:"canary"`
	Primary Ratio    `json:"primary"`
	Blame   float64  `json:"blame"`
	Acquit  float64  `json:"acquit"`
	Held    bool     `json:"held,omitempty"`
	Latency *Latency `json:"latency,omitempty"`

	AcquitMax float64 `json:"-"` // in its stage
	State     string  `json:"-"` // in a word
}

// Latency is the evidence over all bounds, and what took longer than each.
type Latency struct {
	Blame   float64 `json:"blame"`  // the mean over bounds
	Acquit  float64 `json:"acquit"` // the least, of the most in this stage
	Canary  []Ratio `json:"canary"`
	Primary []Ratio `json:"primary"`
}
