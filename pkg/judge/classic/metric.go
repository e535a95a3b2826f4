package classic

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"text/template"
	"time"

	"github.com/prometheus/common/model"

	"github.com/serin-cd/serin/pkg/judge/verdict"
	"github.com/serin-cd/serin/pkg/task/failure"
)

// Metric is a number that a canary must keep inside its bounds, which belong to the inside.
type Metric struct {
	Name     string   `json:"name"`
	Interval string   `json:"interval,omitempty"` // the window, as PromQL writes it
	Min      *float64 `json:"min,omitempty"`
	Max      *float64 `json:"max,omitempty"`
	Query    string   `json:"query,omitempty"` // a template of PromQL; empty for the built-in metrics

	window time.Duration
}

// builtIn says whether the metric is read from Istio's standard metrics.
func (m Metric) builtIn() bool { return m.Query == "" }

// Parse reads a JSON list of metrics.
func Parse(text string) ([]Metric, error) {
	var list []Metric
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&list); err != nil {
		return nil, failure.Configf("reading metrics: %w, want a JSON list of metrics", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, failure.Configf("reading metrics: more text after the list, want one JSON list")
	}
	if len(list) == 0 {
		return nil, failure.Configf("reading metrics: 0 metrics, want at least 1")
	}
	for i, m := range list {
		if err := m.validate(i + 1); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func (m Metric) validate(position int) error {
	switch {
	case m.Name == "":
		return failure.Configf("reading metrics: metric %d has no name, want one", position)
	case m.Min == nil && m.Max == nil:
		return failure.Configf("reading metrics: %s has neither min nor max, want one", m.Name)
	case m.Min != nil && m.Max != nil && *m.Min > *m.Max:
		return failure.Configf("reading metrics: %s has min %v above max %v, want them in order", m.Name, *m.Min,
			*m.Max)
	case m.builtIn() && m.Name != verdict.SuccessRate && m.Name != verdict.RequestDuration:
		return failure.Configf("reading metrics: %s has no query, want one, or the name %s or %s",
			m.Name, verdict.SuccessRate, verdict.RequestDuration)
	}
	return nil
}

// Subject is the workload that is measured.
type Subject struct {
	Namespace string
	Name      string
	Service   string // in front of it alone
}

// Fill fills in what metrics leave open: the templates in their queries, and the interval of those that have none of
// their own. Variables are a JSON object.
func Fill(list []Metric, of Subject, interval time.Duration, variables string) ([]Metric, error) {
	var values map[string]string
	if err := json.Unmarshal([]byte(variables), &values); err != nil && variables != "" {
		return nil, failure.Configf(`reading variables: %w, want a JSON object of strings such as {"team": "shop"}`,
			err)
	}
	filled := make([]Metric, 0, len(list))
	for _, m := range list {
		if m.Interval == "" {
			m.Interval = model.Duration(interval).String()
		}
		window, err := model.ParseDuration(m.Interval)
		if err != nil || window <= 0 {
			return nil, failure.Configf("reading metrics: %s has interval %q, want a duration above zero such as 1m",
				m.Name, m.Interval)
		}
		m.window = time.Duration(window)
		if m.Query, err = m.rendered(of, values); err != nil {
			return nil, err
		}
		filled = append(filled, m)
	}
	return filled, nil
}

// rendered is the query without its template, whose functions are those of Flagger's MetricTemplates.
func (m Metric) rendered(of Subject, variables map[string]string) (string, error) {
	if m.builtIn() {
		return "", nil
	}
	is := func(text string) func() string { return func() string { return text } }
	t, err := template.New(m.Name).Option("missingkey=error").Funcs(template.FuncMap{
		"name": is(of.Name), "target": is(of.Name), "service": is(of.Name),
		"namespace": is(of.Namespace), "interval": is(m.Interval),
		"variables": func() map[string]string { return variables },
	}).Parse(m.Query)
	if err != nil {
		return "", failure.Configf("reading metrics: query of %s: %w", m.Name, err)
	}
	var query bytes.Buffer
	if err := t.Execute(&query, nil); err != nil {
		return "", failure.Configf("reading metrics: query of %s: %w", m.Name, err)
	}
	if strings.TrimSpace(query.String()) == "" {
		return "", failure.Configf("reading metrics: query of %s is empty once filled in, want PromQL", m.Name)
	}
	return query.String(), nil
}
