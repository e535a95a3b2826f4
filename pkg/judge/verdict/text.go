package verdict

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Halt is the check in the words of Flagger's events; empty for a check that passed.
func (c Check) Halt() string {
	m := c.decisive()
	switch {
	case c.State == Passed:
		return ""
	case m.State == NoValues && m.builtIn():
		return fmt.Sprintf("Halt advancement no values found for istio metric %s probably %s is not receiving traffic",
			m.Name, c.Canary)
	case m.State == NoValues:
		return fmt.Sprintf("Halt advancement no values found for custom metric %s", m.Name)
	}
	what, unit := m.Name, ""
	switch {
	case m.builtIn() && m.Name == SuccessRate:
		what, unit = "success rate", "%"
	case m.builtIn():
		what, unit = "request duration", "ms"
	}
	sign, bound := m.crossed()
	return fmt.Sprintf("Halt %s advancement %s %s%s %s %s%s", c.Canary, what, m.shown(), unit, sign, number(bound),
		unit)
}

// Text is the check in a sentence with its numbers.
func (c Check) Text() string {
	if c.State != Passed {
		return c.decisive().worded()
	}
	texts := make([]string, len(c.Measurements))
	for i, m := range c.Measurements {
		texts[i] = m.worded()
	}
	return strings.Join(texts, "; ")
}

// worded is the measurement in a sentence with its numbers.
func (m Measurement) worded() string {
	if m.State == NoValues {
		if !m.builtIn() {
			return fmt.Sprintf("%s had no values in %s", m.Name, m.Window)
		}
		return fmt.Sprintf("%s had no values in %s (%s, %s)", m.Name, m.Window, m.Source, m.requests())
	}
	text := fmt.Sprintf("%s %s%s, want %s", m.Name, m.shown(), m.unit(), m.bounds())
	if m.builtIn() {
		text += fmt.Sprintf(" (%s in %s)", m.requests(), m.Window)
	}
	switch {
	case m.Primary == nil:
	case m.Primary.State == NoValues:
		text += ", the primary had no values"
	default:
		text += fmt.Sprintf(", the primary has %s%s", m.Primary.shown(), m.unit())
	}
	return text
}

func (m Measurement) requests() string {
	if n := m.Requests.Whole(); n != 1 {
		return number(n) + " requests"
	}
	return "1 request"
}

func (m Measurement) unit() string {
	switch {
	case m.builtIn() && m.Name == SuccessRate:
		return " %"
	case m.builtIn():
		return " ms"
	}
	return ""
}

func (m Measurement) bounds() string {
	switch {
	case m.Max == nil:
		return "at least " + number(*m.Min)
	case m.Min == nil:
		return "at most " + number(*m.Max)
	}
	return number(*m.Min) + " to " + number(*m.Max)
}

// crossed is the bound that the value is outside of.
func (m Measurement) crossed() (sign string, bound float64) {
	if m.Min != nil && float64(*m.Value) < *m.Min {
		return "<", *m.Min
	}
	return ">", *m.Max
}

// shown rounds the value to two decimals, unless that would move it to the other side of a bound.
func (m Measurement) shown() string {
	value := float64(*m.Value)
	rounded := math.Round(value*100) / 100
	if m.stateAt(rounded) != m.State || math.IsInf(rounded, 0) {
		return number(value)
	}
	return number(rounded)
}

func number(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }
