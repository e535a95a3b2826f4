package judge_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/serin-cd/serin/internal/prometheustest"
	"github.com/serin-cd/serin/pkg/judge"
	"github.com/serin-cd/serin/pkg/judge/prometheus"
	"github.com/serin-cd/serin/pkg/task/failure"
	"github.com/serin-cd/serin/pkg/task/run"
)

// flow is what one arm of an application counts from a quarter of an hour before noon to as much after it,
// by requests a second.
type flow struct {
	workload, service string
	proxy             string
	reporters         []string
	from              time.Duration // after noon
	good, bad         float64
	badFrom, badTo    time.Duration // 0: always
	le                string        // the bucket that all requests fall into, empty for none
	slow              float64       // share that falls into the last one from noon on
	more              string        // labels
}

const quarter = 15 * time.Minute

func (f flow) labels(reporter, code string) string {
	reached, namespace := f.workload, "prod"
	if f.workload == "unknown" {
		namespace = "unknown"
	}
	proxy := "gateway-1"
	if reporter == "destination" {
		proxy = f.proxy
	}
	return fmt.Sprintf(`reporter="%s",destination_workload="%s",destination_workload_namespace="%s",destination_service_name="%s",destination_service_namespace="prod",pod="%s",response_code="%s"%s`,
		reporter, reached, namespace, f.service, proxy, code, f.more)
}

// series scrapes each proxy every 5 s, the called ones 2 s after the calling ones.
func (f flow) series() (all []prometheustest.Series) {
	for _, reporter := range f.reporters {
		offset := time.Second
		if reporter == "destination" {
			offset = 3 * time.Second
		}
		all = append(all, f.counter("istio_requests_total{"+f.labels(reporter, "200")+"}", offset, func(time.Duration) float64 { return f.good }))
		if f.bad > 0 {
			all = append(all, f.counter("istio_requests_total{"+f.labels(reporter, "503")+"}", offset, f.badAt))
		}
		if f.le == "" {
			continue
		}
		held := false
		for _, le := range []string{"25.0", "100.0", "500.0", "2500.0", "+Inf"} {
			held = held || le == f.le
			rate := func(at time.Duration) float64 {
				switch {
				case le == "+Inf" || held && (at < 0 || f.slow == 0):
					return f.good
				case held && le != "+Inf":
					return f.good * (1 - f.slow)
				}
				return 0
			}
			all = append(all, f.counter(fmt.Sprintf(`istio_request_duration_milliseconds_bucket{%s,le="%s"}`, f.labels(reporter, "200"), le), offset, rate))
		}
	}
	return all
}

func (f flow) badAt(at time.Duration) float64 {
	if at < f.badFrom || f.badTo > 0 && at > f.badTo {
		return 0
	}
	return f.bad
}

func (f flow) counter(labels string, offset time.Duration, rate func(time.Duration) float64) prometheustest.Series {
	s := prometheustest.Series{Labels: labels}
	value := 0.0
	from := max(f.from, -quarter)
	for at := -quarter - time.Minute + offset; at <= quarter; at += 5 * time.Second {
		if at < from {
			continue
		}
		value += 5 * rate(at)
		if value > 0 {
			s.Samples = append(s.Samples, prometheustest.Sample{At: noon.Add(at), Value: value})
		}
	}
	return s
}

var both = []string{"source", "destination"}

// arms are an application's canary, from noon on, and its primary.
func arms(app string, canary, primary flow) []prometheustest.Series {
	canary.workload, canary.service, canary.proxy = orElse(canary.workload, app), app+"-canary", app+"-6f5c-1"
	primary.workload, primary.service, primary.proxy = app+"-primary", app+"-primary", app+"-primary-1"
	primary.from = -quarter
	if canary.reporters == nil {
		canary.reporters = both
	}
	if primary.reporters == nil {
		primary.reporters = both
	}
	return slices.Concat(canary.series(), primary.series())
}

func orElse(text, other string) string {
	if text == "" {
		return other
	}
	return text
}

// mesh is a cluster of applications whose canaries get a fifth of the traffic at noon.
func mesh() []prometheustest.Series {
	steady, kept := flow{good: 10, le: "100.0"}, flow{good: 40, le: "100.0"}
	replica := func(f flow, name string) flow {
		f.more = `,prometheus_replica="` + name + `"`
		return f
	}
	return slices.Concat(
		arms("steady", steady, kept),
		arms("paired", replica(steady, "a"), replica(kept, "a")), arms("paired", replica(steady, "b"), replica(kept, "b")),
		arms("worse", flow{good: 9.5, bad: 0.5}, flow{good: 40}),
		arms("broken", flow{bad: 10}, flow{good: 40}),
		arms("late", flow{good: 10, bad: 2, badFrom: 40 * time.Second}, flow{good: 40}),
		arms("idle", flow{from: quarter, good: 1}, flow{good: 40}),
		arms("outage", flow{good: 8, bad: 2}, flow{good: 32, bad: 8, badFrom: time.Second}),
		arms("slow", flow{good: 10, le: "100.0", slow: 0.2}, kept),
		arms("unshifted", flow{good: 0.5}, flow{good: 50}),
		arms("crashed", flow{bad: 10, workload: "unknown", reporters: []string{"source"}}, flow{good: 40}),
		arms("meshless", flow{good: 10, reporters: []string{"source"}}, flow{good: 40, reporters: []string{"source"}}),
		arms("blind", flow{good: 10, reporters: []string{"destination"}}, flow{good: 40, reporters: []string{"destination"}}),
		arms("noisy", flow{good: 9.8, bad: 0.2}, flow{good: 39.2, bad: 0.8}),
		arms("thin", flow{good: 0.4}, flow{good: 1.6}),
		[]prometheustest.Series{
			prometheustest.Steady(`queue_depth{workload="steady"}`, noon, noon.Add(quarter), 5*time.Second, 12, 0),
			prometheustest.Steady(`queue_depth{workload="steady-primary"}`, noon, noon.Add(quarter), 5*time.Second, 11, 0),
			prometheustest.Steady(`queue_depth{workload="worse"}`, noon, noon.Add(quarter), 5*time.Second, 3, 0),
		})
}

func TestSequentialWithRealPrometheus(t *testing.T) {
	client, err := prometheus.New(prometheus.Config{URL: prometheustest.Start(t, mesh()...)})
	if err != nil {
		t.Fatal(err)
	}
	boxed := map[string]string{"GATE": "time-box"}
	depth := func(query string) map[string]string {
		return map[string]string{"METRICS": fmt.Sprintf(`[{"name": "queue-depth", "max": 10, "query": %q}]`, query), "INTERVAL": "15s", "THRESHOLD": "2", "MIN_DWELL": "60s"}
	}
	cases := map[string]struct {
		app        string
		parameters map[string]string
		phases     []run.Stage
		outcome    judge.Outcome
		after      time.Duration // from noon
		reason     string
		warning    string
	}{
		"healthy":        {app: "steady", outcome: judge.Pass, after: 85 * time.Second, reason: "healthy: canary 0/800 (0.00 %) against primary 0/3200 (0.00 %) in 85s, worse by 1 pp ruled out: acquit 2002, want 20"},
		"no latency":     {app: "steady", parameters: map[string]string{"LATENCY": "off"}, outcome: judge.Pass, after: 40 * time.Second, reason: "healthy: canary 0/350 (0.00 %) against primary 0/1400 (0.00 %) in 40s"},
		"pair":           {app: "paired", outcome: judge.Pass, after: 85 * time.Second, reason: "healthy: canary 0/800", warning: "duplicate-series: "},
		"time box":       {app: "thin", parameters: boxed, outcome: judge.Pass, after: 120 * time.Second, reason: "time-box: "},
		"worse":          {app: "worse", outcome: judge.Fail, after: 15 * time.Second, reason: "worse: canary 5/100 (5.00 %) against primary 0/400 (0.00 %) in 15s, blame 140, want below 100"},
		"hard failure":   {app: "broken", outcome: judge.Fail, after: 5 * time.Second, reason: "hard-failure: canary 50/50 (100.00 %) against primary 0/200 (0.00 %) in the 5s up to 12:00:01Z"},
		"destination":    {app: "broken", parameters: map[string]string{"REPORTER": "destination"}, outcome: judge.Fail, after: 10 * time.Second, reason: "hard-failure: canary 50/50 (100.00 %) against primary 0/200"},
		"late":           {app: "late", parameters: map[string]string{"MIN_DWELL": "90s"}, outcome: judge.Fail, after: 60 * time.Second, reason: "worse: canary 30/580 (5.17 %) against primary 0/2200"},
		"second phase":   {app: "late", phases: []run.Stage{{Weight: 20, At: noon}, {Weight: 21, At: noon.Add(31 * time.Second)}}, outcome: judge.Fail, after: 60 * time.Second, reason: "worse: canary 30/580 (5.17 %) against primary 0/2200"},
		"no traffic":     {app: "idle", outcome: judge.Inconclusive, after: 900 * time.Second, reason: "no-traffic: no request to the canary in 900s at weight 20 (istio_requests_total of idle-canary, reporter source)"},
		"outage":         {app: "outage", parameters: map[string]string{"DEADLINE": "150s"}, outcome: judge.Inconclusive, after: 150 * time.Second, reason: "primary-unhealthy: primary 480/2400 (20.00 %) in the last minute, want at most 5.00 %"},
		"slower":         {app: "slow", outcome: judge.Fail, after: 75 * time.Second, reason: "slower: canary over 100 ms 20/100 (20.00 %) against primary 0/400 (0.00 %) in 75s, blame "},
		"not shifted":    {app: "unshifted", parameters: map[string]string{"DEADLINE": "300s"}, outcome: judge.Inconclusive, after: 300 * time.Second, reason: "traffic-not-shifted: canary got 0.99 % of 13383 requests, want 20 %"},
		"not checked":    {app: "unshifted", parameters: map[string]string{"WEIGHT_CHECK": "off"}, outcome: judge.Pass, after: 0, reason: "healthy: "},
		"reached no pod": {app: "crashed", outcome: judge.Fail, after: 5 * time.Second, reason: "hard-failure: canary 50/50"},
		"not seen":       {app: "crashed", parameters: map[string]string{"REPORTER": "destination", "DEADLINE": "120s"}, outcome: judge.Inconclusive, after: 120 * time.Second, reason: "no-traffic: no request to the canary in 120s at weight 20 (istio_requests_total of crashed, reporter destination): this reporter does not see requests that reach no pod"},
		"blind":          {app: "crashed", parameters: map[string]string{"REPORTER": "source", "SPLIT": "workload", "DEADLINE": "120s"}, outcome: judge.Inconclusive, after: 120 * time.Second, reason: "no-traffic: ", warning: "split-blind: "},
		"callers only":   {app: "meshless", outcome: judge.Pass, after: 40 * time.Second, reason: "healthy: ", warning: "latency-not-judged: 0 requests of the primary"},
		"called only":    {app: "blind", outcome: judge.Pass, after: 40 * time.Second, reason: "healthy: "},
		"noisy":          {app: "noisy", parameters: map[string]string{"SUCCESS_RATE": "99", "INTERVAL": "15s"}, outcome: judge.Pass, after: 0, reason: "healthy: "},
		"limit":          {app: "worse", parameters: map[string]string{"SUCCESS_RATE": "99", "INTERVAL": "15s", "SETTLE": "1s", "SCRAPE_INTERVAL": "60s"}, outcome: judge.Fail, after: 16 * time.Second, reason: "threshold: 1 of 1 checks failed, last: request-success-rate "},
		"both break it":  {app: "steady", parameters: depth(`max(queue_depth{workload="{{ target }}"})`), outcome: judge.Pass, after: 85 * time.Second, reason: "healthy: "},
		"alone":          {app: "steady", parameters: depth(`max(queue_depth{workload="steady"})`), outcome: judge.Fail, after: 35 * time.Second, reason: "threshold: 2 of 2 checks failed, last: queue-depth 12, want at most 10"},
		"no values":      {app: "steady", parameters: depth(`max(nothing{workload="{{ target }}"})`), outcome: judge.Pass, after: 85 * time.Second, reason: "healthy: "},
		"shadow":         {app: "broken", parameters: map[string]string{"MODE": "shadow"}, outcome: judge.Fail, after: 5 * time.Second, reason: "hard-failure: "},
		"as of":          {app: "steady", parameters: map[string]string{"AS_OF": "2026-11-23T12:00:20Z"}, outcome: judge.Inconclusive, after: 20 * time.Second, reason: "undecided: canary 0/150 (0.00 %) against primary 0/600 (0.00 %) in 20s, acquit "},
		"after the end":  {app: "late", parameters: map[string]string{"AS_OF": "2026-11-23T12:14:00Z"}, outcome: judge.Fail, after: 840 * time.Second, reason: "worse: "},
		"low traffic":    {app: "thin", parameters: map[string]string{"DEADLINE": "200s"}, outcome: judge.Inconclusive, after: 200 * time.Second, reason: "low-traffic: "},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if c.phases == nil {
				c.phases = []run.Stage{{Weight: 20, At: noon}}
			}
			start := c.phases[len(c.phases)-1].At
			if c.parameters["AS_OF"] != "" {
				start = noon.Add(time.Hour)
			}
			verdict := judgedFrom(t, client, c.app, c.parameters, c.phases, start)
			if after := verdict.At.Sub(noon); verdict.Outcome != c.outcome || c.after > 0 && after != c.after || !strings.HasPrefix(verdict.Reason(), c.reason) {
				t.Errorf("%s after %s because of %q, want %s after %s because of %q", verdict.Outcome, after, verdict.Reason(), c.outcome, c.after, c.reason)
			}
			if warnings := strings.Join(verdict.Warnings, "\n"); !strings.Contains(warnings, c.warning) || c.warning == "" && strings.Contains(warnings, "duplicate") {
				t.Errorf("warnings %q, want %q", warnings, c.warning)
			}
			again := judgedFrom(t, client, c.app, with(c.parameters, "AS_OF", verdict.At.Format(time.RFC3339)), c.phases, noon.Add(time.Hour))
			if diff := cmp.Diff(verdict.Evidence(), again.Evidence()); again.Reason() != verdict.Reason() || diff != "" {
				t.Errorf("judged again: %q, want %q; evidence (-first +again)\n%s", again.Reason(), verdict.Reason(), diff)
			}
			if c.parameters["MODE"] == "shadow" && verdict.Err() != nil {
				t.Errorf("error %v of a shadow, want none", verdict.Err())
			}
		})
	}
	t.Run("no limit is looked at once the canary is worse", func(t *testing.T) {
		q := &past{client, noon}
		j := newJudge(t, "worse", map[string]string{"JUDGE": "sequential", "SUCCESS_RATE": "99", "INTERVAL": "10s", "SETTLE": "5s", "THRESHOLD": "2"})
		verdict, err := j.Judge(t.Context(), q, clock{q}, []run.Stage{{Weight: 20, At: noon}}, func(c judge.Check) {
			t.Errorf("told of the check at %s: %s", c.At.Sub(noon), c.Halt())
		})
		if err != nil || verdict.Code != "worse" || verdict.At.Sub(noon) != 15*time.Second {
			t.Errorf("%s after %s (%v), want worse after 15s, when a check is due too", verdict.Code, verdict.At.Sub(noon), err)
		}
	})
}

func judgedFrom(t *testing.T, client *prometheus.Client, app string, parameters map[string]string, phases []run.Stage, start time.Time) judge.Verdict {
	t.Helper()
	q := &past{client, start}
	verdict, err := newJudge(t, app, with(parameters, "JUDGE", "sequential")).Judge(t.Context(), q, clock{q}, phases, nil)
	if err != nil {
		t.Fatal(err)
	}
	return verdict
}

func TestSequentialRefuses(t *testing.T) {
	cases := map[string]struct {
		phases []run.Stage
		text   string
	}{
		"nobody to compare with": {[]run.Stage{{Weight: 100, At: noon}}, "judging podinfo: weight 100 leaves no primary to compare with, want 1 to 99: use judge classic"},
		"no traffic":             {[]run.Stage{{Weight: 0, At: noon}}, "judging podinfo: weight 0 leaves no primary"},
		"future":                 {[]run.Stage{{Weight: 20, At: noon.Add(42 * time.Second)}}, "judging podinfo: phase 1 starts in 42s, want a start in the past"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			q := silent{noon, nil}
			_, err := newJudge(t, "podinfo", map[string]string{"JUDGE": "sequential"}).Judge(t.Context(), q, stopping{q}, c.phases, nil)
			if !errors.Is(err, failure.ErrConfig) || !strings.HasPrefix(err.Error(), c.text) {
				t.Errorf("error %v, want %q", err, c.text)
			}
		})
	}
}

func TestSequentialEndsWithItsContext(t *testing.T) {
	client, err := prometheus.New(prometheus.Config{URL: prometheustest.Start(t)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancelCause(t.Context())
	q := &past{client, noon}
	clk := ending{clock{q}, stop}
	verdict, err := newJudge(t, "podinfo", map[string]string{"JUDGE": "sequential"}).Judge(ctx, q, clk, []run.Stage{{Weight: 20, At: noon}}, nil)
	if !errors.Is(err, errStopped) || verdict.Outcome != "" {
		t.Errorf("%s, error %v, want the reason why the context ended", verdict.Outcome, err)
	}
}

// ending is a clock that stops the judging the first time that it waits.
type ending struct {
	clock
	stop context.CancelCauseFunc
}

func (e ending) After(time.Duration) <-chan time.Time {
	e.stop(errStopped)
	return nil
}
