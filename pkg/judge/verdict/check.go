package verdict

import (
	"encoding/json"
	"math"
	"time"
)

// The metrics that need no query of their own.
const (
	SuccessRate     = "request-success-rate"
	RequestDuration = "request-duration"
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

// Number is a value that was measured. It may be infinite, which JSON cannot say: then it is left out there.
type Number float64

// IsZero says that a number has no form in JSON.
func (n Number) IsZero() bool { return math.IsInf(float64(n), 0) }

// Count is how many requests there were, as a rate estimates it: no whole number, though it is told as one.
type Count float64

// Whole is the count as it is told.
func (c Count) Whole() float64 { return math.Round(float64(c)) }

// MarshalJSON writes the whole number.
func (c Count) MarshalJSON() ([]byte, error) { return json.Marshal(c.Whole()) }

// Measurement is one metric at one instant.
type Measurement struct {
	Name     string   `json:"name"`
	Value    *Number  `json:"value,omitzero"` // nil where there are no values
	Min      *float64 `json:"min,omitempty"`
	Max      *float64 `json:"max,omitempty"`
	Requests *Count   `json:"requests,omitempty"` // that were answered in the window; nil where a query measures
	State    State    `json:"outcome"`
	Text     string   `json:"text"`

	Window   string       `json:"-"` // as PromQL writes it
	Source   string       `json:"-"` // Istio's metric, and the workload; of the built-in metrics
	Reporter string       `json:"-"` // which proxy counted; of the built-in metrics
	Queries  []string     `json:"-"` // that were asked
	Primary  *Measurement `json:"-"` // the same of the primary, where it was asked for
}

// builtIn says whether the metric is read from Istio's standard metrics.
func (m Measurement) builtIn() bool { return m.Requests != nil }

// Found is the measurement once its value is known; nil is an empty answer.
func (m Measurement) Found(value *float64) Measurement {
	if value == nil || math.IsNaN(*value) {
		m.State = NoValues
		return m
	}
	v := *value
	if m.builtIn() && m.Name == RequestDuration {
		v = math.Trunc(v) // whole milliseconds, as Flagger compares them
	}
	found := Number(v)
	m.Value, m.State = &found, m.stateAt(v)
	return m
}

// stateAt compares a value with the bounds, which belong to the inside.
func (m Measurement) stateAt(value float64) State {
	if m.Min != nil && value < *m.Min || m.Max != nil && value > *m.Max {
		return Failed
	}
	return Passed
}

// Check is all metrics at one instant.
type Check struct {
	Stage        int           `json:"phase"` // from 1
	At           time.Time     `json:"at"`
	State        State         `json:"outcome"`
	Failed       int           `json:"failed"` // checks so far, over all stages
	Reporter     string        `json:"reporter,omitempty"`
	Measurements []Measurement `json:"metrics"`

	Number   int    `json:"-"` // from 1 in each stage
	Repeated bool   `json:"-"` // done in an earlier stage, or before this judging began
	Canary   string `json:"-"` // name.namespace
}

// Done is the check with what was measured.
func (c Check) Done(measurements []Measurement) Check {
	c.Measurements, c.State = measurements, worst(measurements)
	for i := range measurements {
		m := &measurements[i]
		m.Text = m.worded()
		if c.Reporter == "" {
			c.Reporter = m.Reporter
		}
	}
	return c
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
