package classic

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"testing"

	"github.com/serin-cd/serin/pkg/judge/verdict"
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
		Outcome  verdict.State
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

// play counts checks until the end, or a decision of the last stage.
func play(stages []string, r Rules) (t Tally, found verdict.Decision, stage int) {
	t.Rules = r
	states := map[rune]verdict.State{'p': verdict.Passed, 'f': verdict.Failed, 'n': verdict.NoValues}
	for i, checks := range stages {
		t.NewStage()
		for _, c := range checks {
			if found = t.Add(states[c]); found == verdict.Fail {
				return t, found, i + 1
			}
		}
	}
	return t, found, len(stages)
}

// word is a decision as the vectors write it.
func word(d verdict.Decision) string { return cmp.Or(string(d), "wait") }

func TestTallyVectors(t *testing.T) {
	for i, c := range readVectors(t).Classic {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			counted, found, stage := play(c.Phases, Rules{Threshold: c.Threshold, Checks: c.Checks, NoValuesFail: true})
			if word(found) != c.Verdict || counted.Failed != c.FailedChecks || stage != c.Phase ||
				counted.done != c.Check {
				t.Errorf("%s with %d failed at stage %d check %d, want %s with %d at %d, %d", word(found),
					counted.Failed,
					stage, counted.done, c.Verdict, c.FailedChecks, c.Phase, c.Check)
			}
		})
	}
}

func TestTallyWithoutValues(t *testing.T) {
	cases := map[string]struct {
		stages []string
		fails  bool
		want   verdict.Decision
		failed int
	}{
		"as failed":            {[]string{"nnn"}, true, verdict.Fail, 3},
		"as neither":           {[]string{"nnn"}, false, verdict.Inconclusive, 0},
		"not yet":              {[]string{"nn"}, false, verdict.Wait, 0},
		"in a row":             {[]string{"nnfnn"}, false, verdict.Wait, 1},
		"in a row again":       {[]string{"nnfnnn"}, false, verdict.Inconclusive, 1},
		"in a row of a stage":  {[]string{"nnp", "nn"}, false, verdict.Wait, 0},
		"failures are counted": {[]string{"fnp", "nfnf"}, false, verdict.Fail, 3},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			counted, found, _ := play(c.stages, Rules{Threshold: 3, Checks: 1, NoValuesFail: c.fails})
			if found != c.want || counted.Failed != c.failed {
				t.Errorf("%s with %d failed, want %s with %d", word(found), counted.Failed, word(c.want), c.failed)
			}
		})
	}
}

func TestMeasuredVectors(t *testing.T) {
	for i, c := range readVectors(t).Values {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			m := verdict.Measurement{Name: c.Metric, Min: c.Min, Max: c.Max}
			if c.Metric != "queue-depth" {
				m.Requests = new(verdict.Count)
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
			if got := m.Found(value).State; got != c.Outcome {
				t.Errorf("%s %v is %s, want %s", c.Metric, c.Value, got, c.Outcome)
			}
		})
	}
}
