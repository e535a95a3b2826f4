package judge

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Halt is the check in the words of Flagger's events; empty for a check that passed.
func (c Check) Halt() string {
	m := c.decisive()
	who := c.target.Canary + "." + c.target.Namespace
	switch {
	case c.State == Passed:
		return ""
	case m.State == NoValues && m.Metric.builtIn():
		return fmt.Sprintf("Halt advancement no values found for istio metric %s probably %s is not receiving traffic", m.Metric.Name, who)
	case m.State == NoValues:
		return fmt.Sprintf("Halt advancement no values found for custom metric %s", m.Metric.Name)
	}
	what, unit := m.Metric.Name, ""
	switch {
	case m.Metric.builtIn() && m.Metric.Name == successRate:
		what, unit = "success rate", "%"
	case m.Metric.builtIn():
		what, unit = "request duration", "ms"
	}
	sign, bound := m.crossed()
	return fmt.Sprintf("Halt %s advancement %s %s%s %s %s%s", who, what, m.shown(), unit, sign, number(bound), unit)
}

// Text is the check in a sentence with its numbers.
func (c Check) Text() string {
	if c.State != Passed {
		return c.decisive().Text()
	}
	texts := make([]string, len(c.Measurements))
	for i, m := range c.Measurements {
		texts[i] = m.Text()
	}
	return strings.Join(texts, "; ")
}

// Text is the measurement in a sentence with its numbers.
func (m Measurement) Text() string {
	if m.State == NoValues {
		if !m.Metric.builtIn() {
			return fmt.Sprintf("%s had no values in %s", m.Metric.Name, m.Metric.Interval)
		}
		return fmt.Sprintf("%s had no values in %s (%s of %s, %s)", m.Metric.Name, m.Metric.Interval, m.Metric.source(), m.of, m.requests())
	}
	text := fmt.Sprintf("%s %s%s, want %s", m.Metric.Name, m.shown(), m.Metric.unit(), m.Metric.bounds())
	if m.Metric.builtIn() {
		text += fmt.Sprintf(" (%s in %s)", m.requests(), m.Metric.Interval)
	}
	switch {
	case m.Primary == nil:
	case m.Primary.State == NoValues:
		text += ", the primary had no values"
	default:
		text += fmt.Sprintf(", the primary has %s%s", m.Primary.shown(), m.Metric.unit())
	}
	return text
}

func (m Measurement) requests() string {
	if n := math.Round(m.Requests); n != 1 {
		return strconv.FormatFloat(n, 'f', -1, 64) + " requests"
	}
	return "1 request"
}

// source is the Istio metric behind a built-in one.
func (m Metric) source() string {
	if m.Name == requestDuration {
		return durations
	}
	return requests
}

func (m Metric) unit() string {
	switch {
	case m.builtIn() && m.Name == successRate:
		return " %"
	case m.builtIn():
		return " ms"
	}
	return ""
}

func (m Metric) bounds() string {
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
	if m.Metric.Min != nil && m.Value < *m.Metric.Min {
		return "<", *m.Metric.Min
	}
	return ">", *m.Metric.Max
}

// shown rounds the value to two decimals, unless that would move it to the other side of a bound.
func (m Measurement) shown() string {
	rounded := math.Round(m.Value*100) / 100
	if measured(m.Metric, &rounded).State != m.State || math.IsInf(rounded, 0) {
		return number(m.Value)
	}
	return number(rounded)
}

func number(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }
