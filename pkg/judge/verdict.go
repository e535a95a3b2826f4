package judge

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/serin-cd/serin/pkg/task/failure"
	"github.com/serin-cd/serin/pkg/task/parameter"
	"github.com/serin-cd/serin/pkg/task/run"
	"github.com/serin-cd/serin/pkg/task/step"
)

// Outcome is what a judging ends with.
type Outcome string

// The outcomes.
const (
	Pass         Outcome = "pass"
	Fail         Outcome = "fail"
	Inconclusive Outcome = "inconclusive"
)

const (
	longestReason   = 512
	longestEvidence = 1024
)

// Verdict is the end of a judging.
type Verdict struct {
	Outcome   Outcome
	Code      string // healthy, threshold, no-values or undecided; more of the sequential judge
	Text      string // a sentence with the numbers
	At        time.Time
	Target    Target
	Phases    []run.Stage // the last one was judged
	Failed    int         // checks, over all phases
	Threshold int
	Passed    int // checks of the last phase
	Wanted    int // passed checks that the last phase needs
	Deadline  time.Duration
	Checks    []Check
	Judge     string   // classic or sequential
	Warnings  []string // a code, a colon, and a sentence
	Weighed   *Weighed // what the sequential judge found; nil with the classic one

	onInconclusive string
	shadow         bool
}

// verdict words a decision.
func (r *judging) verdict(found decision) Verdict {
	v := Verdict{
		At: r.now, Target: r.target, Phases: r.phases, Checks: r.done,
		Failed: r.tally.failed, Threshold: r.tally.threshold, Passed: r.tally.passed, Wanted: r.tally.checks,
		Deadline: r.config.deadline(), Judge: judgeClassic, Warnings: r.warnings, onInconclusive: r.config.OnInconclusive, shadow: r.config.Mode == modeShadow,
	}
	switch found {
	case pass:
		v.Outcome, v.Code = Pass, "healthy"
		v.Text = fmt.Sprintf("%d of %d checks passed, last: %s", v.Passed, v.Wanted, v.last(Passed))
	case fail:
		v.Outcome, v.Code = Fail, "threshold"
		v.Text = fmt.Sprintf("%d of %d checks failed, last: %s", v.Failed, v.Threshold, v.Checks[len(v.Checks)-1].Text())
	case inconclusive:
		v.Outcome, v.Code = Inconclusive, "no-values"
		v.Text = fmt.Sprintf("%s, %s", v.last(NoValues), plural(r.tally.empty, "check"))
	default:
		v.Outcome, v.Code = Inconclusive, "undecided"
		v.Text = fmt.Sprintf("%d of %d checks failed and %d of %d passed as of %s, want a later time",
			v.Failed, v.Threshold, v.Passed, v.Wanted, r.now.UTC().Format(time.RFC3339))
	}
	return v
}

// last is the text of the last check in a state.
func (v Verdict) last(state State) string {
	for i := len(v.Checks) - 1; i >= 0; i-- {
		if v.Checks[i].State == state {
			return v.Checks[i].Text()
		}
	}
	return ""
}

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}

// stage is the phase that was judged.
func (v Verdict) stage() run.Stage {
	if len(v.Phases) == 0 {
		return run.Stage{At: v.At}
	}
	return v.Phases[len(v.Phases)-1]
}

// Since is how long the last phase had been in force.
func (v Verdict) Since() time.Duration { return v.At.Sub(v.stage().At) }

// Weight is the canary's share in the last phase, in percent.
func (v Verdict) Weight() parameter.Weight { return v.stage().Weight }

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
		Judge: "classic", Weight: v.Weight(), Since: rounded(v.Since().Seconds()),
		Failed: v.Failed, Threshold: v.Threshold, Passed: v.Passed, Checks: v.Wanted, Values: map[string]float64{},
	}
	if n := len(v.Checks); n > 0 {
		for _, m := range v.Checks[n-1].Measurements {
			if m.Metric.builtIn() {
				count := rounded(m.Requests)
				e.Requests = &count
			}
			if m.State != NoValues && !math.IsInf(m.Value, 0) {
				e.Values[m.Metric.Name] = rounded(m.Value)
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

// rounded keeps four significant digits.
func rounded(v float64) float64 {
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
	if err := out.Set("verdict", string(v.Outcome)); err != nil {
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
	case v.shadow, v.Outcome == Pass, v.Outcome == Inconclusive && v.onInconclusive == "pass":
		return nil
	case v.Outcome == Fail, v.onInconclusive == "fail":
		return failure.As(failure.ErrRejected, err)
	}
	return failure.As(failure.ErrInconclusive, err)
}
