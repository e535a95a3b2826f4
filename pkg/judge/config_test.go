package judge

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/sethvargo/go-envconfig"

	"github.com/serin-cd/serin/pkg/judge/classic"
	"github.com/serin-cd/serin/pkg/judge/verdict"
	"github.com/serin-cd/serin/pkg/task/failure"
	"github.com/serin-cd/serin/pkg/task/run"
)

func bound(v float64) *float64 { return &v }

var podinfo = Target{Namespace: "prod", Canary: "podinfo", Primary: "podinfo-primary"}

// defaults is what a step with the classic judge reads from an environment, here one without any but these
// parameters.
func defaults(t testing.TB, parameters map[string]string) Config {
	t.Helper()
	classic := envconfig.MapLookuper(map[string]string{"JUDGE": verdict.Classic})
	var config Config
	err := envconfig.ProcessWith(t.Context(), &envconfig.Config{Target: &config,
		Lookuper: envconfig.MultiLookuper(envconfig.MapLookuper(parameters), classic)})
	if err != nil {
		t.Fatal(err)
	}
	return config
}

func TestMetricsByDefault(t *testing.T) {
	judge, err := New(defaults(t, map[string]string{"INTERVAL": "15s", "SUCCESS_RATE": "99.5"}), podinfo)
	if err != nil {
		t.Fatal(err)
	}
	want := []classic.Metric{
		{Name: verdict.SuccessRate, Interval: "15s", Min: bound(99.5)},
		{Name: verdict.RequestDuration, Interval: "15s", Max: bound(1000)},
	}
	if diff := cmp.Diff(want, judge.canary.Metrics, cmpopts.IgnoreUnexported(classic.Metric{})); diff != "" {
		t.Error("metrics (-want +got)\n", diff)
	}
	if got := judge.Target().CanaryService; got != "podinfo-canary" {
		t.Errorf("canary's Service %q, want podinfo-canary", got)
	}
}

func TestMetricsAreGiven(t *testing.T) {
	config := defaults(t, map[string]string{
		"VARIABLES": `{"queue": "orders"}`,
		"METRICS": `[{"name": "request-success-rate", "interval": "1m", "min": 99},
			{"name": "queue-depth", "max": 10, "query": "max(depth{ns=\"{{ namespace }}\",w=\"{{ target }}\",s=\"{{ service }}\",n=\"{{ name }}\",q=\"{{ variables.queue }}\"}[{{ interval }}])"}]`,
	})
	judge, err := New(config, podinfo)
	if err != nil {
		t.Fatal(err)
	}
	want := []classic.Metric{
		{Name: verdict.SuccessRate, Interval: "1m", Min: bound(99)},
		{Name: "queue-depth", Interval: "1m", Max: bound(10),
			Query: `max(depth{ns="prod",w="podinfo",s="podinfo",n="podinfo",q="orders"}[1m])`},
	}
	if diff := cmp.Diff(want, judge.canary.Metrics, cmpopts.IgnoreUnexported(classic.Metric{})); diff != "" {
		t.Error("metrics (-want +got)\n", diff)
	}
}

func TestNewRefusesBadInput(t *testing.T) {
	cases := map[string]struct {
		parameters map[string]string
		target     Target
		text       string
	}{
		"same names": {nil, Target{Namespace: "shop", Canary: "reviews", Primary: "reviews"},
			`judging reviews: canary and primary are both "reviews", want two names`},
		"no DNS name": {nil, Target{Namespace: "shop", Canary: "Reviews", Primary: "reviews-primary"},
			`judging Reviews: canary "Reviews", want a DNS name`},
		"bad namespace": {nil, Target{Namespace: "my.shop", Canary: "reviews", Primary: "reviews-primary"},
			`namespace "my.shop", want a DNS name`},
		"judge": {map[string]string{"JUDGE": "kind"}, podinfo, `reading judge: "kind", want sequential or classic`},
		"reporter": {map[string]string{"REPORTER": "both"}, podinfo,
			`reading reporter: "both", want auto, source, destination or waypoint`},
		"no-values": {map[string]string{"NO_VALUES": "pass"}, podinfo,
			`reading no-values: "pass", want fail or inconclusive`},
		"on-inconclusive": {map[string]string{"ON_INCONCLUSIVE": "go"}, podinfo,
			`reading on-inconclusive: "go", want stop, fail or pass`},
		"as-of":      {map[string]string{"AS_OF": "noon"}, podinfo, `reading as-of: "noon", want a time`},
		"variables":  {map[string]string{"VARIABLES": "[]"}, podinfo, "reading variables: "},
		"no list":    {map[string]string{"METRICS": "{}"}, podinfo, "reading metrics: "},
		"empty list": {map[string]string{"METRICS": "[]"}, podinfo, "reading metrics: 0 metrics, want at least 1"},
		"two lists": {map[string]string{"METRICS": `[{"name": "request-duration", "max": 1}] []`}, podinfo,
			"more text after the list"},
		"unknown field": {map[string]string{"METRICS": `[{"name": "request-duration", "maximum": 1}]`}, podinfo,
			`unknown field "maximum"`},
		"no bounds": {map[string]string{"METRICS": `[{"name": "queue-depth", "query": "x"}]`}, podinfo,
			"reading metrics: queue-depth has neither min nor max, want one"},
		"crossed bounds": {map[string]string{"METRICS": `[{"name": "queue-depth", "query": "x", "min": 2, "max": 1}]`},
			podinfo, "queue-depth has min 2 above max 1"},
		"no query": {map[string]string{"METRICS": `[{"name": "queue-depth", "max": 1}]`}, podinfo,
			"queue-depth has no query, want one, or the name"},
		"no name": {map[string]string{"METRICS": `[{"max": 1}]`}, podinfo, "metric 1 has no name"},
		"no interval": {map[string]string{"METRICS": `[{"name": "request-duration", "max": 1, "interval": "0s"}]`},
			podinfo, `interval "0s", want a duration above zero`},
		"bad template": {map[string]string{"METRICS": `[{"name": "q", "max": 1, "query": "{{ nobody }}"}]`}, podinfo,
			`query of q: template: q:1: function "nobody" not defined`},
		"no variable": {map[string]string{"METRICS": `[{"name": "q", "max": 1, "query": "{{ variables.queue }}"}]`},
			podinfo, `map has no entry for key "queue"`},
		"empty query": {map[string]string{"METRICS": `[{"name": "q", "max": 1, "query": "{{ if false }}x{{ end }}"}]`},
			podinfo, "query of q is empty"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := New(defaults(t, c.parameters), c.target)
			if !errors.Is(err, failure.ErrConfig) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("error %v, want %q as wrong configuration", err, c.text)
			}
		})
	}
}

func TestParametersAreNumbers(t *testing.T) {
	cases := map[string]struct{ key, value, text string }{
		"percent sign": {"SUCCESS_RATE", "99%", `"99%", want a number from 0 to 100`},
		"above 100":    {"SUCCESS_RATE", "101", `"101", want a number from 0 to 100`},
		"negative":     {"SUCCESS_RATE", "-1", `"-1", want`},
		"no number":    {"SUCCESS_RATE", "NaN", `"NaN", want`},
		"unit":         {"REQUEST_DURATION", "1s", `"1s", want milliseconds above zero such as 1000`},
		"zero":         {"REQUEST_DURATION", "0", `"0", want milliseconds above zero`},
		"endless":      {"REQUEST_DURATION", "Inf", `"Inf", want`},
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

func TestParseRollout(t *testing.T) {
	stages, err := ParseRollout(`{"id": "prod/run/1", "phases": [{"weight": 20, "at": "2026-11-23T10:00:00Z"}, {"weight": 40, "at": "2026-11-23T10:02:06Z"}]}`)
	if err != nil {
		t.Fatal(err)
	}
	ten := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	if diff := cmp.Diff([]run.Stage{{Weight: 20, At: ten}, {Weight: 40, At: ten.Add(126 * time.Second)}},
		stages); diff != "" {
		t.Error("stages (-want +got)\n", diff)
	}
	cases := map[string]struct{ rollout, text string }{
		"no JSON":   {`phases`, "reading rollout: invalid character"},
		"no phases": {`{}`, "reading rollout: 0 phases, want at least 1"},
		"heavy":     {`{"phases": [{"weight": 20, "at": "2026-11-23T10:00:00Z"}, {"weight": 120, "at": "2026-11-23T10:00:00Z"}]}`, "reading rollout: phase 2 weight 120, want 0 to 100"},
		"backwards": {`{"phases": [{"weight": 20, "at": "2026-11-23T10:02:06Z"}, {"weight": 40, "at": "2026-11-23T11:00:00+01:00"}]}`, "reading rollout: phase 2 at 10:00:00Z is before phase 1 at 10:02:06Z, want times in order"},
		"no time":   {`{"phases": [{"weight": 20}]}`, "reading rollout: phase 1 has no at, want a time"},
		"bad time":  {`{"phases": [{"weight": 20, "at": "noon"}]}`, "reading rollout: "},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := ParseRollout(c.rollout)
			if !errors.Is(err, failure.ErrConfig) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("error %v, want %q as wrong configuration", err, c.text)
			}
		})
	}
}

func FuzzParseRollout(f *testing.F) {
	f.Add(`{"phases": [{"weight": 20, "at": "2026-11-23T10:00:00Z"}]}`)
	f.Add(`{"phases": [{"weight": 1e9}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		stages, err := ParseRollout(text)
		if err == nil && CheckStages(stages) != nil {
			t.Errorf("%q was read as %v, which cannot be", text, stages)
		}
		if err != nil && !errors.Is(err, failure.ErrConfig) {
			t.Errorf("%q: %v, want a wrong configuration", text, err)
		}
	})
}
