package explain

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/serin-cd/serin/pkg/judge/sequential"
	"github.com/serin-cd/serin/pkg/judge/verdict"
)

// Compared is what both arms have counted since the rollout began.
type Compared struct {
	Seconds   float64   `json:"seconds,omitempty"`
	Intervals int       `json:"intervals,omitempty"`
	Reporter  string    `json:"reporter,omitempty"` // whose proxies counted
	Canary    float64   `json:"canary"`             // requests
	Primary   float64   `json:"primary"`
	Share     *float64  `json:"share,omitempty"` // of the requests that reached the canary, in percent
	Shares    []Compare `json:"shares"`
}

// Compare is one share of bad requests, of both arms.
type Compare struct {
	What    string      `json:"what"`
	Canary  verdict.Arm `json:"canary"`
	Primary verdict.Arm `json:"primary"`
}

// Evidence is what is in the pots.
type Evidence struct {
	What      string  `json:"what"`
	Blame     float64 `json:"blame"`
	BlameMost float64 `json:"blameMost,omitempty"`
	Convicts  float64 `json:"convicts,omitempty"` // at which blame
	Tolerance float64 `json:"tolerance,omitempty"`
	Acquit    float64 `json:"acquit"`
	Proves    float64 `json:"proves,omitempty"` // at which acquit
	Margin    float64 `json:"margin,omitempty"`
}

// Limit is one that the canary had to keep.
type Limit struct {
	What    string        `json:"what"`
	Most    float64       `json:"most"`
	Canary  verdict.Ratio `json:"canary"`
	Primary verdict.Ratio `json:"primary"`
	State   string        `json:"state"` // held, beyond, beyond-by-both or not-counted
	Sure    bool          `json:"sure"`  // beyond doubt
}

// Check is one of the classic judge, or of a metric that is only a number.
type Check struct {
	Time   string        `json:"time"`
	State  verdict.State `json:"outcome"`
	Text   string        `json:"text"`
	Failed int           `json:"failed"` // so far
}

// The states of a limit.
const (
	Held         = "held"
	Beyond       = "beyond"
	BeyondByBoth = "beyond-by-both"
	NotCounted   = "not-counted"
)

func armOf(r [2]float64) verdict.Arm {
	c := sequential.Counts{Requests: r[1], Bad: r[0]}
	low, high := sequential.Interval(c)
	return verdict.Arm{Requests: c.Requests, Bad: c.Bad, Rate: c.Rate(), Low: low, High: high}
}

// compare takes over the numbers of a verdict of the sequential judge.
func (s *Stage) compare(v verdict.Verdict) {
	errors := v.Metrics[0]
	s.Compared = &Compared{Seconds: v.At.Sub(v.Stages[0].At).Seconds(), Intervals: len(v.Cells),
		Reporter: v.Target.Reporter, Canary: errors.Canary.Requests, Primary: errors.Primary.Requests,
		Share: v.Share.Seen}
	for _, m := range v.Metrics {
		s.Compared.Shares = append(s.Compared.Shares, Compare{what(m.LeMs), m.Canary, m.Primary})
		s.Evidence = append(s.Evidence, Evidence{what(m.LeMs), m.Blame, m.BlameMax, m.BlameLimit, m.Tolerance,
			m.AcquitMax, m.AcquitLimit, m.Margin})
	}
	for _, l := range v.Limits {
		s.Limits = append(s.Limits, limitOf(l))
	}
	s.checks(v)
}

func limitOf(l verdict.Limit) Limit {
	told := Limit{What: what(l.LeMs), Most: l.Most, Canary: l.Canary, Primary: l.Primary, State: Held}
	canary, primary := counts(l.Canary).Rate() > l.Most, counts(l.Primary).Rate() > l.Most
	switch {
	case l.Canary[1] == 0:
		told.State = NotCounted
	case canary && primary:
		told.State = BeyondByBoth
	case canary:
		told.State, told.Sure = Beyond, l.CanaryLow > l.Most && l.PrimaryHigh < l.Most
	}
	return told
}

func what(le *float64) string {
	if le == nil {
		return "failed"
	}
	return fmt.Sprintf("over %s ms", short(*le))
}

// checks takes over the checks of the stage.
func (s *Stage) checks(v verdict.Verdict) {
	for _, c := range v.Checks {
		if c.Stage == s.Number {
			s.Checks = append(s.Checks, Check{c.At.Format("15:04:05Z"), c.State, measured(c), c.Failed})
		}
	}
}

// measured are the measurements that found what the check did, in their own words.
func measured(c verdict.Check) string {
	var all []string
	for _, m := range c.Measurements {
		if m.State == c.State {
			all = append(all, m.Text)
		}
	}
	return strings.Join(all, "; ")
}

// checked explains a stage of the classic judge.
func (t *told) checked(s *Stage, v verdict.Verdict) {
	s.checks(v)
	if !t.last() && s.Decision == verdict.Wait {
		s.Decision = verdict.Pass // the run went on
	}
	if len(s.Checks) == 0 {
		t.note("the report has no checks of this stage: what would have changed the verdict cannot be computed")
		return
	}
	for _, c := range slices.Backward(v.Checks) {
		if c.Stage != s.Number || c.State != verdict.Failed || s.Code != verdict.Threshold {
			continue
		}
		for _, m := range c.Measurements {
			s.Otherwise = append(s.Otherwise, within(m)...)
		}
		if v.Threshold > 0 {
			s.Otherwise = append(s.Otherwise, Otherwise{failedChecks, -float64(v.Failed - v.Threshold + 1),
				fmt.Sprintf("with a threshold of %d instead of %d, the stage would have gone on", v.Failed+1,
					v.Threshold)})
		}
		return
	}
}

// within tells how far a measurement was outside its bounds; of a rate, how many requests that are.
func within(m verdict.Measurement) []Otherwise {
	if m.State != verdict.Failed || m.Value == nil {
		return nil
	}
	value, bound, side := float64(*m.Value), 0.0, "more"
	switch {
	case m.Min != nil && value < *m.Min:
		bound = *m.Min
	case m.Max != nil && value > *m.Max:
		bound, side = *m.Max, "less"
	default:
		return nil
	}
	by := bound - value
	text := fmt.Sprintf("with %s of %s or %s, the last check would have passed", m.Name, short(bound), side)
	if m.Name == verdict.SuccessRate && m.Requests != nil {
		text = fmt.Sprintf("with about %s of %s that failed fewer in the last check, it would have passed",
			strconv.FormatFloat(by/100*m.Requests.Whole(), 'f', 0, 64), requests(int(m.Requests.Whole())))
	}
	return []Otherwise{{m.Name, by, text}}
}

// short is a number of at most four digits that count.
func short(v float64) string {
	if v >= 1000 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'g', 4, 64)
}
