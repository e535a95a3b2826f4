package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/serin-cd/serin/pkg/judge"
	"github.com/serin-cd/serin/pkg/task/parameter"
)

// Report is one judging, in version 1 of its form: fields may be added, and these keep name and type.
type Report struct {
	Version  int       `json:"version"`
	Judge    string    `json:"judge"`
	Verdict  string    `json:"verdict"`
	Reason   string    `json:"reason"` // a code
	Text     string    `json:"text"`
	At       time.Time `json:"at"`
	Target   Target    `json:"target"`
	Stage    Stage     `json:"stage"`
	Phases   []Phase   `json:"phases"`
	Failed   int       `json:"failed"` // checks, over all phases
	Allowed  int       `json:"threshold"`
	Warnings []string  `json:"warnings"`
	Queries  []string  `json:"queries"`
	Checks   []Check   `json:"checks"`
	*Weighed           // absent with the classic judge
}

// Target is what was judged, and by whose counting.
type Target struct {
	Namespace string `json:"namespace"`
	Canary    string `json:"canary"`
	Primary   string `json:"primary"`
	Reporter  string `json:"reporter"` // of the last check that had data, empty where none had
	Split     string `json:"split,omitempty"`
}

// Stage is the phase under judgement, its times in seconds.
type Stage struct {
	Phase    int              `json:"phase"`
	Weight   parameter.Weight `json:"weight"`
	Gate     string           `json:"gate,omitempty"`
	Since    float64          `json:"since"`
	Deadline float64          `json:"deadline"`
}

// Phase is one weight of the rollout.
type Phase struct {
	Weight parameter.Weight `json:"weight"`
	At     time.Time        `json:"at"`
}

// Check is all metrics at one instant.
type Check struct {
	Phase    int       `json:"phase"`
	At       time.Time `json:"at"`
	Outcome  string    `json:"outcome"`
	Failed   int       `json:"failed"` // checks so far, over all phases
	Reporter string    `json:"reporter,omitempty"`
	Metrics  []Metric  `json:"metrics"`
}

// Metric is one measurement.
type Metric struct {
	Name     string   `json:"name"`
	Value    *float64 `json:"value,omitempty"` // left out where it is no finite number
	Min      *float64 `json:"min,omitempty"`
	Max      *float64 `json:"max,omitempty"`
	Requests *float64 `json:"requests,omitempty"`
	Outcome  string   `json:"outcome"`
	Text     string   `json:"text"`
}

// New is the report of a verdict.
func New(v judge.Verdict) Report {
	r := Report{
		Version: 1, Judge: judgeOf(v), Verdict: string(v.Outcome), Reason: v.Code, Text: v.Text, At: v.At.UTC(),
		Target: Target{Namespace: v.Target.Namespace, Canary: v.Target.Canary, Primary: v.Target.Primary},
		Stage: Stage{Phase: len(v.Phases), Weight: v.Weight(), Since: v.Since().Round(time.Millisecond).Seconds(),
			Deadline: v.Deadline.Seconds()},
		Failed: v.Failed, Allowed: v.Threshold, Phases: []Phase{}, Warnings: []string{}, Queries: []string{}, Checks: []Check{},
	}
	for _, p := range v.Phases {
		r.Phases = append(r.Phases, Phase{p.Weight, p.At.UTC()})
	}
	for _, c := range v.Checks {
		r.add(c)
	}
	r.Warnings = append(r.Warnings, v.Warnings...)
	if v.Weighed != nil {
		r.weighed(v)
		return r
	}
	r.Target.Split = split(r.Target.Reporter)
	if r.Target.Split == "service" {
		r.Warnings = append(r.Warnings, fmt.Sprintf("reporter %s: requests are counted where they were sent, to Service %s",
			r.Target.Reporter, v.Target.CanaryService))
	}
	return r
}

// judgeOf is the judge of a verdict; what ends a stage beside the judge has none.
func judgeOf(v judge.Verdict) string {
	if v.Judge == "" {
		return "classic"
	}
	return v.Judge
}

// split is how a reporter tells the canary's requests from the primary's.
func split(reporter string) string {
	switch reporter {
	case "":
		return ""
	case "destination":
		return "workload"
	}
	return "service"
}

func (r *Report) add(c judge.Check) {
	check := Check{Phase: c.Phase, At: c.At.UTC(), Outcome: string(c.State), Failed: c.Failures, Reporter: c.Reporter()}
	for _, m := range c.Measurements {
		metric := Metric{Name: m.Metric.Name, Min: m.Metric.Min, Max: m.Metric.Max, Outcome: string(m.State), Text: m.Text()}
		if m.State != judge.NoValues && !math.IsInf(m.Value, 0) {
			metric.Value = &m.Value
		}
		if m.Metric.Query == "" {
			requests := math.Round(m.Requests)
			metric.Requests = &requests
		}
		check.Metrics = append(check.Metrics, metric)
		for _, q := range m.Queries {
			if !slices.Contains(r.Queries, q) {
				r.Queries = append(r.Queries, q)
			}
		}
	}
	if check.Reporter != "" {
		r.Target.Reporter = check.Reporter
	}
	r.Checks = append(r.Checks, check)
}

// Line is the report as one line of JSON, without the cells: the log has a line for each of them.
func (r Report) Line() (string, error) {
	if r.Weighed != nil {
		short := *r.Weighed
		short.Cells = []Cell{}
		r.Weighed = &short
	}
	text, err := json.Marshal(r)
	if err != nil {
		return "", fmt.Errorf("writing the report: %w", err)
	}
	return string(text), nil
}

// WriteFile writes the report to a file: as a page where that is named .html, as Markdown where it is named
// .md, else as indented JSON. An empty path writes none.
func (r Report) WriteFile(path string) error {
	if path == "" {
		return nil
	}
	var text bytes.Buffer
	var err error
	switch filepath.Ext(path) {
	case ".html":
		err = r.Page(&text)
	case ".md":
		err = r.Markdown(&text)
	default:
		encoder := json.NewEncoder(&text)
		encoder.SetIndent("", "  ")
		err = encoder.Encode(r)
	}
	if err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	if err := os.WriteFile(path, text.Bytes(), 0o644); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}
