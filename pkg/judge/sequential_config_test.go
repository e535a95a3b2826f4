package judge

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/sethvargo/go-envconfig"

	"github.com/serin-cd/serin/pkg/judge/sequential"
	"github.com/serin-cd/serin/pkg/judge/verdict"
	"github.com/serin-cd/serin/pkg/task/failure"
)

func TestSequentialByDefault(t *testing.T) {
	judge, err := New(defaults(t, map[string]string{"JUDGE": "sequential"}), podinfo)
	if err != nil {
		t.Fatal(err)
	}
	if len(judge.canary.Metrics) != 0 {
		t.Errorf("limits %v, want none that nobody named", judge.canary.Metrics)
	}
	want := sequential.Rules{Gate: "prove", MinDwell: 30 * time.Second, TimeBox: 2 * time.Minute,
		Deadline: 15 * time.Minute, Alpha: 0.01, Beta: 0.05}
	if got := judge.config.rules(false); got != want {
		t.Errorf("rules %+v, want %+v", got, want)
	}
	if got := judge.Target().PrimaryService; got != "podinfo-primary" {
		t.Errorf("primary's Service %q, want podinfo-primary", got)
	}
	boxed := defaults(t, map[string]string{"JUDGE": "sequential", "GATE": "time-box"})
	if got := boxed.deadline(); got != 10*time.Minute {
		t.Errorf("deadline %s of a time box, want 10m", got)
	}
}

func TestSequentialLimits(t *testing.T) {
	judge, err := New(defaults(t, map[string]string{"JUDGE": "sequential", "SUCCESS_RATE": "99",
		"REQUEST_DURATION": "500"}), podinfo)
	if err != nil {
		t.Fatal(err)
	}
	if len(judge.canary.Metrics) != 0 || math.Abs(judge.most-0.01) > 1e-12 || judge.longest != 500 {
		t.Errorf("metrics %+v, limits %v and %v ms, want no metrics, and limits 0.01 and 500 ms", judge.canary.Metrics,
			judge.most, judge.longest)
	}
}

// TestLimitOfErrors has rates that a canary may just have, and one with which none may fail.
func TestLimitOfErrors(t *testing.T) {
	for rate, limit := range map[string]float64{"0.1": 0.999, "95": 0.05, "99": 0.01, "99.5": 0.005, "99.9": 0.001,
		"99.99": 0.0001} {
		judge, err := New(defaults(t, map[string]string{"JUDGE": "sequential", "SUCCESS_RATE": rate}), podinfo)
		if err != nil || judge.most != limit {
			t.Errorf("success-rate %s: at most %v (%v), want %v", rate, judge.most, err, limit)
		}
	}
	for name, parameters := range map[string]map[string]string{
		"parameter": {"SUCCESS_RATE": "100"},
		"metrics": {"METRICS": `[{"name": "request-success-rate", "min": 100},
			{"name": "request-success-rate", "min": 99}]`},
	} {
		judge, err := New(defaults(t, with(parameters, "JUDGE", "sequential")), podinfo)
		if err != nil {
			t.Fatal(err)
		}
		l := sequential.Limited{Most: judge.most, Alpha: 0.0025, Seen: sequential.Pair{
			Canary: sequential.Counts{Requests: 1e6, Bad: 1}, Primary: sequential.Counts{Requests: 4e6}}}
		if !(judge.most > 0) || !l.Suspect() {
			t.Errorf("%s: at most %v, suspect %v, want a limit that one error is beyond", name, judge.most, l.Suspect())
		}
	}
}

func TestSequentialRefusesBadInput(t *testing.T) {
	cases := map[string]struct {
		parameters map[string]string
		text       string
	}{
		"alpha": {map[string]string{"ALPHA": "0.2"},
			"reading alpha: 0.2, want above 0 and at most 0.05: one interval must not convict"},
		"no alpha":  {map[string]string{"ALPHA": "0"}, "reading alpha: 0, want above 0"},
		"beta":      {map[string]string{"BETA": "0.09"}, "reading beta: 0.09, want above 0 and at most 0.08"},
		"tolerance": {map[string]string{"TOLERANCE": "1"}, "reading tolerance: 1, want at least 0 and below 1"},
		"design effect": {map[string]string{"DESIGN_EFFECT": "0.5"},
			`reading design-effect: "0.5", want auto or a number of at least 1`},
		"margin":   {map[string]string{"MARGIN": "0"}, "reading margin: 0, want above 0 and below 1"},
		"deadline": {map[string]string{"DEADLINE": "60s"}, "reading deadline: 1m0s, want at least time-box 2m0s"},
		"gate":     {map[string]string{"GATE": "proof"}, `reading gate: "proof", want prove or time-box`},
		"split": {map[string]string{"SPLIT": "subset"},
			`reading split: "subset", want auto, service or workload`},
		"mode":         {map[string]string{"MODE": "dark"}, `reading mode: "dark", want enforce or shadow`},
		"latency":      {map[string]string{"LATENCY": "on"}, `reading latency: "on", want auto, off or required`},
		"weight-check": {map[string]string{"WEIGHT_CHECK": "no"}, `reading weight-check: "no", want on or off`},
		"error-codes": {map[string]string{"ERROR_CODES": "5(("},
			`reading error-codes: "5((", want a regular expression such as 5..`},
		"scrape-interval": {map[string]string{"SCRAPE_INTERVAL": "15"},
			`reading scrape-interval: "15", want auto or a duration of at least 1s such as 15s`},
		"one Service": {map[string]string{"SPLIT": "service"},
			`judging podinfo: canary-service and primary-service are both "podinfo", want two: use split workload`},
		"Service by itself": {nil, `canary-service and primary-service are both "podinfo"`},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			target := podinfo
			if strings.Contains(c.text, "canary-service") {
				target.CanaryService, target.PrimaryService = "podinfo", "podinfo"
			}
			_, err := New(defaults(t, with(c.parameters, "JUDGE", verdict.Sequential)), target)
			if !errors.Is(err, failure.ErrConfig) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("error %v, want %q as wrong configuration", err, c.text)
			}
		})
	}
}

func with(parameters map[string]string, name, value string) map[string]string {
	more := map[string]string{name: value}
	for k, v := range parameters {
		more[k] = v
	}
	return more
}

func TestSequentialParametersAreNumbers(t *testing.T) {
	cases := map[string]struct{ key, value, text string }{
		"percent sign": {"TOLERANCE", "0.1%", `"0.1%", want a fraction such as 0.001`},
		"no number":    {"MARGIN", "NaN", `"NaN", want a fraction`},
		"endless":      {"ALPHA", "+Inf", `"+Inf", want a fraction`},
		"no unit":      {"TIME_BOX", "120", `"120", want a duration such as 120s`},
		"negative":     {"MIN_DWELL", "-1s", `"-1s", want a duration`},
		"objective":    {"LATENCY_OBJECTIVE", "1s", `"1s", want milliseconds`},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var config Config
			err := envconfig.ProcessWith(t.Context(), &envconfig.Config{Target: &config,
				Lookuper: envconfig.MapLookuper(map[string]string{c.key: c.value})})
			if err == nil || !strings.Contains(err.Error(), c.text) {
				t.Errorf("error %v, want %q in it", err, c.text)
			}
		})
	}
}
