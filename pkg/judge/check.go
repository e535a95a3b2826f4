package judge

import (
	"math"
	"time"
)

// State is what a measurement, or a whole check, found.
type State string

// The states. A check is in the worst that its measurements are in.
const (
	Passed   State = "passed"
	Failed   State = "failed"
	NoValues State = "no-values"
	Shared   State = "shared" // outside a bound, as is the primary
)

// Measurement is one metric at one instant.
type Measurement struct {
	Metric   Metric
	Value    float64 // without meaning where there are no values
	State    State
	Requests float64      // that the canary answered in the window; for the built-in metrics
	Reporter string       // which proxy counted; for the built-in metrics
	Queries  []string     // that were asked
	Primary  *Measurement // the same of the primary, where it was asked for

	of string // workload that the metric is about
}

// Check is all metrics at one instant.
type Check struct {
	Phase        int // from 1
	Number       int // from 1 in each phase
	At           time.Time
	State        State
	Failures     int  // failed checks so far, over all phases
	Repeated     bool // done in an earlier phase, or before this judging began
	Measurements []Measurement

	target Target
}

// measured judges one value; nil is an empty answer.
func measured(m Metric, value *float64) Measurement {
	if value == nil || math.IsNaN(*value) {
		return Measurement{Metric: m, State: NoValues}
	}
	v := *value
	if m.builtIn() && m.Name == requestDuration {
		v = math.Trunc(v) // whole milliseconds, as Flagger compares them
	}
	state := Passed
	if m.Min != nil && v < *m.Min || m.Max != nil && v > *m.Max {
		state = Failed
	}
	return Measurement{Metric: m, Value: v, State: state}
}

// worst is the state of a check: outside a bound, else without values, else passed.
func worst(measurements []Measurement) State {
	state := Passed
	for _, m := range measurements {
		switch {
		case m.State == Failed:
			return Failed
		case m.State == NoValues:
			state = NoValues
		}
	}
	return state
}

// decisive is the measurement that the check's text is about: the first, in list order, that found what
// the whole check found.
func (c Check) decisive() Measurement {
	for _, m := range c.Measurements {
		if m.State == c.State {
			return m
		}
	}
	return Measurement{State: c.State}
}

// Reporter is the proxy that counted the requests, empty where none did.
func (c Check) Reporter() string {
	for _, m := range c.Measurements {
		if m.Reporter != "" {
			return m.Reporter
		}
	}
	return ""
}
