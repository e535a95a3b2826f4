package verdict

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/serin-cd/serin/pkg/task/failure"
	"github.com/serin-cd/serin/pkg/task/run"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func value(n Number) *Number { return &n }

func sample(decision Decision) Verdict {
	requests := Count(300.0001)
	return Verdict{
		Decision: decision, Code: Threshold, Text: "5 of 5 checks failed", At: noon.Add(65 * time.Second),
		Target: Target{Canary: "podinfo"},
		Stages: []run.Stage{{Weight: 20, At: noon}}, Failed: 5, Threshold: 5, Wanted: 1,
		Checks: []Check{{Measurements: []Measurement{
			{Name: SuccessRate, Value: value(66.70831), State: Failed, Requests: &requests},
			{Name: RequestDuration, Value: value(Number(math.Inf(1))), State: Failed, Requests: &requests},
			{Name: "queue-depth", State: NoValues},
		}}},
	}
}

func TestVerdictEndsTheStep(t *testing.T) {
	cases := map[string]struct {
		decision       Decision
		onInconclusive string
		code           int
	}{
		"pass":               {Pass, "stop", failure.ExitOK},
		"fail":               {Fail, "stop", failure.ExitRejected},
		"fail stays":         {Fail, "pass", failure.ExitRejected},
		"inconclusive":       {Inconclusive, "stop", failure.ExitInconclusive},
		"inconclusive fails": {Inconclusive, "fail", failure.ExitRejected},
		"inconclusive goes":  {Inconclusive, "pass", failure.ExitOK},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			v := sample(c.decision)
			v.OnInconclusive = c.onInconclusive
			if got := failure.Code(v.Err()); got != c.code {
				t.Errorf("exit %d, want %d", got, c.code)
			}
		})
	}
	want := "judging podinfo at weight 20: threshold: 5 of 5 checks failed"
	if err := sample(Fail).Err(); err.Error() != want {
		t.Errorf("error %q, want %q", err, want)
	}
}

// written keeps results in order.
type written struct{ results []string }

func (w *written) Set(name, value string) error {
	if name == "evidence" && strings.Contains(value, `"weight":13`) {
		return errors.New("no room")
	}
	w.results = append(w.results, name+"="+value)
	return nil
}

func TestVerdictWritesItsResults(t *testing.T) {
	var out written
	if err := sample(Fail).Write(&out); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"verdict=fail", "reason=threshold: 5 of 5 checks failed",
		`evidence={"judge":"classic","weight":20,"since":65,"failed":5,"threshold":5,"passed":0,"checks":1,"requests":300,"values":{"request-success-rate":66.71}}`,
	}
	if diff := cmp.Diff(want, out.results); diff != "" {
		t.Error("results (-want +got)\n", diff)
	}
	full := sample(Fail)
	full.Stages = []run.Stage{{Weight: 13, At: noon}}
	if err := full.Write(&out); err == nil {
		t.Error("a result that cannot be written is no error, want one")
	}
}

func TestVerdictFitsIntoResults(t *testing.T) {
	v := sample(Fail)
	v.Text = strings.Repeat("ä", 600)
	for i := range 100 {
		v.Checks[0].Measurements = append(v.Checks[0].Measurements,
			Measurement{Name: fmt.Sprint("metric-", i), State: Passed, Value: value(1)})
	}
	if reason := v.Reason(); len(reason) > longestReason || !utf8.ValidString(reason) {
		t.Errorf("reason of %d bytes, want at most %d cut at a rune", len(reason), longestReason)
	}
	var e evidence
	if text := v.Evidence(); len(text) > longestEvidence || json.Unmarshal([]byte(text), &e) != nil || e.Failed != 5 {
		t.Errorf("evidence %q, want at most %d bytes of JSON", text, longestEvidence)
	}
}

func TestRounded(t *testing.T) {
	for value, want := range map[float64]float64{66.70831: 66.71, 123456: 123500, 0.000123456: 0.0001235, 0: 0,
		5e-324: 5e-324, math.MaxFloat64: 0, -1.23456: -1.235} {
		if got := Rounded(value); got != want {
			t.Errorf("%v is rounded to %v, want %v", value, got, want)
		}
	}
}
