package verdict

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/serin-cd/serin/pkg/judge/sequential"
	"github.com/serin-cd/serin/pkg/task/parameter"
	"github.com/serin-cd/serin/pkg/task/run"
)

// Decision is what a judging ends with.
type Decision = sequential.Decision

// The decisions. Wait is that there is none yet.
const (
	Wait         = sequential.Wait
	Pass         = sequential.Pass
	Fail         = sequential.Fail
	Inconclusive = sequential.Inconclusive
)

// The judges.
const (
	Sequential = "sequential"
	Classic    = "classic"
)

// Verdict is the end of a judging, in version 1 of its JSON form: fields may be added there, and these keep name
// and type.
type Verdict struct {
	Version  int       `json:"version"`
	Judge    string    `json:"judge"`
	Decision Decision  `json:"verdict"`
	Code     string    `json:"reason"`
	Text     string    `json:"text"` // a sentence with the numbers
	At       time.Time `json:"at"`
	Target   Target    `json:"target"`
	Stage    struct {  // that was judged; its times in seconds
		Number   int              `json:"phase"` // from 1
		Weight   parameter.Weight `json:"weight"`
		Gate     string           `json:"gate,omitempty"`
		Since    float64          `json:"since"`
		Deadline float64          `json:"deadline"`
	} `json:"stage"`
	Stages    []run.Stage `json:"phases"` // the last one was judged
	Failed    int         `json:"failed"` // checks, over all stages
	Threshold int         `json:"threshold"`
	Warnings  []string    `json:"warnings"` // a code, a colon, and a sentence
	Queries   []string    `json:"queries"`
	Checks    []Check     `json:"checks"`
	*Weighed              // absent with the classic judge

	Passed         int    `json:"-"` // checks of the last stage
	Wanted         int    `json:"-"` // passed checks that the last stage needs
	OnInconclusive string `json:"-"` // what inconclusive does: stop, fail or pass
	Shadow         bool   `json:"-"` // the verdict is only reported
}

// Target is what was judged, and by whose counting.
type Target struct {
	Namespace string `json:"namespace"`
	Canary    string `json:"canary"`
	Primary   string `json:"primary"`
	Reporter  string `json:"reporter"` // of the last check that had data, empty where none had
	Split     string `json:"split,omitempty"`
}

// New is a verdict without a decision on the last of some stages, as of a time.
func New(target Target, stages []run.Stage, at time.Time) Verdict {
	v := Verdict{Version: 1, Judge: Classic, At: at.UTC(), Target: target,
		Stages: []run.Stage{}, Warnings: []string{}, Queries: []string{}, Checks: []Check{}}
	for _, s := range stages {
		v.Stages = append(v.Stages, run.Stage{Weight: s.Weight, At: s.At.UTC()})
	}
	v.Stage.Number, v.Stage.Weight, v.Stage.Since = len(stages), v.Weight(), v.Since().Round(time.Millisecond).Seconds()
	return v
}

// last is the stage that was judged.
func (v Verdict) last() run.Stage {
	if len(v.Stages) == 0 {
		return run.Stage{At: v.At}
	}
	return v.Stages[len(v.Stages)-1]
}

// Since is how long the last stage had been in force.
func (v Verdict) Since() time.Duration { return v.At.Sub(v.last().At) }

// Weight is the canary's share in the last stage, in percent.
func (v Verdict) Weight() parameter.Weight { return v.last().Weight }

// AddChecks adds the checks that were done.
func (v *Verdict) AddChecks(checks []Check) {
	for _, c := range checks {
		v.Checks = append(v.Checks, c)
		if c.Reporter != "" {
			v.Target.Reporter = c.Reporter
		}
		for _, m := range c.Measurements {
			for _, q := range m.Queries {
				if !slices.Contains(v.Queries, q) {
					v.Queries = append(v.Queries, q)
				}
			}
		}
	}
}

// ConcludeChecks ends with what the checks of the classic judge amount to, and says so in words. Of those in the last
// stage some were empty: they had no values. A proxy that calls has counted requests to the canary's Service.
func (v *Verdict) ConcludeChecks(d Decision, empty int, service string) {
	v.countedBy(service)
	switch d {
	case Pass:
		v.Decision, v.Code = Pass, sequential.Healthy
		v.Text = fmt.Sprintf("%d of %d checks passed, last: %s", v.Passed, v.Wanted, v.lastCheck(Passed))
	case Fail:
		v.Decision, v.Code = Fail, Threshold
		v.Text = fmt.Sprintf("%d of %d checks failed, last: %s", v.Failed, v.Threshold,
			v.Checks[len(v.Checks)-1].Text())
	case Inconclusive:
		v.Decision, v.Code = Inconclusive, WithoutValues
		v.Text = fmt.Sprintf("%s, %s", v.lastCheck(NoValues), plural(empty, "check"))
	default:
		v.Decision, v.Code = Inconclusive, sequential.Undecided
		v.Text = fmt.Sprintf("%d of %d checks failed and %d of %d passed as of %s, want a later time",
			v.Failed, v.Threshold, v.Passed, v.Wanted, v.At.Format(time.RFC3339))
	}
}

// countedBy says so where requests were counted by those who call.
func (v *Verdict) countedBy(service string) {
	switch v.Target.Reporter {
	case "":
	case "destination":
		v.Target.Split = "workload"
	default:
		v.Target.Split = "service"
		v.Warnings = append(v.Warnings,
			fmt.Sprintf("reporter %s: requests are counted where they were sent, to Service %s",
				v.Target.Reporter, service))
	}
}

// Codes of a verdict, beside the reasons of package sequential.
const (
	Threshold     = "threshold"
	WithoutValues = "no-values"
)

// lastCheck is the text of the last check in a state.
func (v Verdict) lastCheck(state State) string {
	for _, c := range slices.Backward(v.Checks) {
		if c.State == state {
			return c.Text()
		}
	}
	return ""
}

// Line is the verdict as one line of JSON, without the cells: the log has a line for each of them.
func (v Verdict) Line() (string, error) {
	if v.Weighed != nil {
		short := *v.Weighed
		short.Cells = []Cell{}
		v.Weighed = &short
	}
	text, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("writing the report: %w", err)
	}
	return string(text), nil
}

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}
