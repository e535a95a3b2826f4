package judge

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"testing"
)

// vectors are inputs and expected outcomes, kept beside the tests.
type vectors struct {
	Classic []struct {
		Phases            []string // a letter a check: p passed, f failed
		Threshold, Checks int
		Phase, Check      int // of the last check
		Verdict           string
		FailedChecks      int `json:"failed_checks"`
	}
	Values []struct {
		Metric   string
		Value    any // a number, "empty" or "NaN"
		Min, Max *float64
		Outcome  State
	} `json:"classic_values"`
}

func readVectors(t *testing.T) vectors {
	t.Helper()
	text, err := os.ReadFile("testdata/classic.json")
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	if len(v.Classic) == 0 || len(v.Values) == 0 {
		t.Fatal("no vectors, want some")
	}
	return v
}

var words = map[decision]string{wait: "wait", pass: "pass", fail: "fail", inconclusive: "inconclusive"}

// play counts checks until the end, or a verdict of the last phase.
func play(phases []string, r rules) (t tally, found decision, phase int) {
	t.rules = r
	states := map[rune]State{'p': Passed, 'f': Failed, 'n': NoValues}
	for i, checks := range phases {
		t.phase()
		for _, c := range checks {
			if found = t.add(states[c]); found == fail {
				return t, found, i + 1
			}
		}
	}
	return t, found, len(phases)
}

func TestTallyVectors(t *testing.T) {
	for i, c := range readVectors(t).Classic {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			counted, found, phase := play(c.Phases, rules{threshold: c.Threshold, checks: c.Checks, noValuesFail: true})
			if words[found] != c.Verdict || counted.failed != c.FailedChecks || phase != c.Phase || counted.done != c.Check {
				t.Errorf("%s with %d failed at phase %d check %d, want %s with %d at %d, %d", words[found], counted.failed,
					phase, counted.done, c.Verdict, c.FailedChecks, c.Phase, c.Check)
			}
		})
	}
}

func TestTallyWithoutValues(t *testing.T) {
	cases := map[string]struct {
		phases []string
		fails  bool
		want   decision
		failed int
	}{
		"as failed":            {[]string{"nnn"}, true, fail, 3},
		"as neither":           {[]string{"nnn"}, false, inconclusive, 0},
		"not yet":              {[]string{"nn"}, false, wait, 0},
		"in a row":             {[]string{"nnfnn"}, false, wait, 1},
		"in a row again":       {[]string{"nnfnnn"}, false, inconclusive, 1},
		"in a row of a phase":  {[]string{"nnp", "nn"}, false, wait, 0},
		"failures are counted": {[]string{"fnp", "nfnf"}, false, fail, 3},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			counted, found, _ := play(c.phases, rules{threshold: 3, checks: 1, noValuesFail: c.fails})
			if found != c.want || counted.failed != c.failed {
				t.Errorf("%s with %d failed, want %s with %d", words[found], counted.failed, words[c.want], c.failed)
			}
		})
	}
}

func TestMeasuredVectors(t *testing.T) {
	for i, c := range readVectors(t).Values {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			m := Metric{Name: c.Metric, Min: c.Min, Max: c.Max}
			if c.Metric == "queue-depth" {
				m.Query = "queue_depth"
			}
			var value *float64
			switch v := c.Value.(type) {
			case float64:
				value = &v
			case string:
				if nan := math.NaN(); v == "NaN" {
					value = &nan
				}
			}
			if got := measured(m, value).State; got != c.Outcome {
				t.Errorf("%s %v is %s, want %s", c.Metric, c.Value, got, c.Outcome)
			}
		})
	}
}

func bound(v float64) *float64 { return &v }

func TestCheckTexts(t *testing.T) {
	rate := Metric{Name: successRate, Interval: "1m", Min: bound(99)}
	duration := Metric{Name: requestDuration, Interval: "1m", Max: bound(1000)}
	depth := Metric{Name: "queue-depth", Interval: "30s", Min: bound(1), Max: bound(10), Query: "queue_depth"}
	none := math.NaN()
	cases := map[string]struct {
		metric Metric
		value  float64
		halt   string
		text   string
	}{
		"rate":        {rate, 88.6599, "Halt podinfo.prod advancement success rate 88.66% < 99%", "request-success-rate 88.66 %, want at least 99 (300 requests in 1m)"},
		"narrowly":    {rate, 98.999, "Halt podinfo.prod advancement success rate 98.999% < 99%", "request-success-rate 98.999 %, want at least 99 (300 requests in 1m)"},
		"good":        {rate, 99.9, "", "request-success-rate 99.9 %, want at least 99 (300 requests in 1m)"},
		"duration":    {duration, 1200.7, "Halt podinfo.prod advancement request duration 1200ms > 1000ms", "request-duration 1200 ms, want at most 1000 (300 requests in 1m)"},
		"endless":     {duration, math.Inf(1), "Halt podinfo.prod advancement request duration +Infms > 1000ms", "request-duration +Inf ms, want at most 1000 (300 requests in 1m)"},
		"high":        {depth, 10.012, "Halt podinfo.prod advancement queue-depth 10.01 > 10", "queue-depth 10.01, want 1 to 10"},
		"low":         {depth, 0.5, "Halt podinfo.prod advancement queue-depth 0.5 < 1", "queue-depth 0.5, want 1 to 10"},
		"no rate":     {rate, none, "Halt advancement no values found for istio metric request-success-rate probably podinfo.prod is not receiving traffic", "request-success-rate had no values in 1m (istio_requests_total of podinfo, 0 requests)"},
		"no depth":    {depth, none, "Halt advancement no values found for custom metric queue-depth", "queue-depth had no values in 30s"},
		"no duration": {duration, none, "Halt advancement no values found for istio metric request-duration probably podinfo.prod is not receiving traffic", "request-duration had no values in 1m (istio_request_duration_milliseconds of podinfo, 0 requests)"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			m := measured(c.metric, &c.value)
			if m.of = "podinfo"; m.State != NoValues {
				m.Requests = 300
			}
			check := Check{State: m.State, Measurements: []Measurement{m}, target: Target{Namespace: "prod", Canary: "podinfo"}}
			if got := check.Halt(); got != c.halt {
				t.Errorf("event %q, want %q", got, c.halt)
			}
			if got := check.Text(); got != c.text {
				t.Errorf("text %q, want %q", got, c.text)
			}
		})
	}
}

func TestCheckIsAsBadAsItsWorst(t *testing.T) {
	of := func(states ...State) (list []Measurement) {
		for i, s := range states {
			list = append(list, Measurement{Metric: Metric{Name: fmt.Sprint("m", i)}, State: s})
		}
		return list
	}
	cases := map[string]struct {
		states   []State
		want     State
		decisive string
	}{
		"all inside":               {[]State{Passed, Passed}, Passed, "m0"},
		"one outside":              {[]State{Passed, Failed}, Failed, "m1"},
		"two outside":              {[]State{Failed, Failed}, Failed, "m0"},
		"one without":              {[]State{Passed, NoValues}, NoValues, "m1"},
		"outside after without":    {[]State{NoValues, Failed}, Failed, "m1"},
		"outside before a without": {[]State{Failed, NoValues}, Failed, "m0"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			check := Check{Measurements: of(c.states...)}
			check.State = worst(check.Measurements)
			if got := check.decisive().Metric.Name; check.State != c.want || got != c.decisive {
				t.Errorf("%s because of %s, want %s because of %s", check.State, got, c.want, c.decisive)
			}
		})
	}
}
