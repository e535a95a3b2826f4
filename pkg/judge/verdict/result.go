package verdict

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"

	"github.com/serin-cd/serin/pkg/task/failure"
	"github.com/serin-cd/serin/pkg/task/parameter"
	"github.com/serin-cd/serin/pkg/task/step"
)

const (
	longestReason   = 512
	longestEvidence = 1024
)

// Reason is the result of that name: the code, and the text as far as it fits.
func (v Verdict) Reason() string { return step.Cut(v.Code+": "+v.Text, longestReason) }

// evidence is the result of that name.
type evidence struct {
	Judge     string             `json:"judge"`
	Weight    parameter.Weight   `json:"weight"`
	Since     float64            `json:"since"`
	Failed    int                `json:"failed"`
	Threshold int                `json:"threshold"`
	Passed    int                `json:"passed"`
	Checks    int                `json:"checks"`
	Requests  *float64           `json:"requests,omitempty"`
	Values    map[string]float64 `json:"values,omitempty"`
}

// Evidence is the result of that name: the numbers as compact JSON. Values of the last check are left
// out where they are not numbers, or where they would not fit.
func (v Verdict) Evidence() string {
	if v.Weighed != nil {
		return v.weighedEvidence()
	}
	e := evidence{
		Judge: Classic, Weight: v.Weight(), Since: Rounded(v.Since().Seconds()),
		Failed: v.Failed, Threshold: v.Threshold, Passed: v.Passed, Checks: v.Wanted, Values: map[string]float64{},
	}
	if n := len(v.Checks); n > 0 {
		for _, m := range v.Checks[n-1].Measurements {
			if m.builtIn() {
				count := Rounded(float64(*m.Requests))
				e.Requests = &count
			}
			if m.Value != nil && !m.Value.IsZero() {
				e.Values[m.Name] = Rounded(float64(*m.Value))
			}
		}
	}
	text, err := json.Marshal(e)
	if err == nil && len(text) > longestEvidence {
		e.Values = nil
		text, err = json.Marshal(e)
	}
	if err != nil {
		return "{}" // only a value that is no number could cause it
	}
	return string(text)
}

// weighedEvidence is that of the sequential judge: the numbers of the errors, and of latency the mean blame.
func (v Verdict) weighedEvidence() string {
	type pots struct {
		Blame  float64 `json:"blame"`
		Acquit float64 `json:"acquit"`
	}
	errors, bounds := v.Metrics[0], v.Metrics[1:]
	e := struct {
		Judge   string           `json:"judge"`
		Weight  parameter.Weight `json:"weight"`
		Since   float64          `json:"since"`
		Canary  Ratio            `json:"canary"`
		Primary Ratio            `json:"primary"`
		Blame   float64          `json:"blame"`
		Acquit  float64          `json:"acquit"`
		Latency *pots            `json:"latency,omitempty"`
		Missing *float64         `json:"missing,omitempty"`
	}{
		Judge: v.Judge, Weight: v.Weight(), Since: Rounded(v.Since().Seconds()),
		Canary: errors.Canary.rounded(), Primary: errors.Primary.rounded(),
		Blame: Rounded(errors.Blame), Acquit: Rounded(errors.Acquit),
	}
	if len(bounds) > 0 {
		least := math.Inf(1)
		for _, b := range bounds {
			least = min(least, b.Acquit)
		}
		e.Latency = &pots{Rounded(v.LatencyBlame), Rounded(least)}
	}
	if v.Missing != nil {
		missing := Rounded(*v.Missing)
		e.Missing = &missing
	}
	text, err := json.Marshal(e)
	if err != nil {
		return "{}" // all are finite numbers
	}
	return string(text)
}

// Rounded keeps four significant digits.
func Rounded(v float64) float64 {
	short, err := strconv.ParseFloat(strconv.FormatFloat(v, 'g', 4, 64), 64)
	if err != nil || math.IsInf(short, 0) || math.IsNaN(short) {
		return 0
	}
	return short
}

// results is where a step's results go.
type results interface {
	Set(name, value string) error
}

// Write sets the results verdict, reason and evidence.
func (v Verdict) Write(out results) error {
	if err := out.Set("verdict", string(v.Decision)); err != nil {
		return err
	}
	if err := out.Set("reason", v.Reason()); err != nil {
		return err
	}
	return out.Set("evidence", v.Evidence())
}

// Err is how a step ends with this verdict: nil, or an error of kind failure.ErrRejected or
// failure.ErrInconclusive.
func (v Verdict) Err() error {
	err := fmt.Errorf("judging %s at weight %d: %s: %s", v.Target.Canary, v.Weight(), v.Code, v.Text)
	switch {
	case v.Shadow, v.Decision == Pass, v.Decision == Inconclusive && v.OnInconclusive == "pass":
		return nil
	case v.Decision == Fail, v.OnInconclusive == "fail":
		return failure.As(failure.ErrRejected, err)
	}
	return failure.As(failure.ErrInconclusive, err)
}
