package judge_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/serin-cd/serin/internal/prometheustest"
	"github.com/serin-cd/serin/pkg/judge/prometheus"
	"github.com/serin-cd/serin/pkg/judge/verdict"
	"github.com/serin-cd/serin/pkg/task/failure"
	"github.com/serin-cd/serin/pkg/task/run"
)

func TestSequentialWithRealPrometheus(t *testing.T) {
	client, err := prometheus.New(prometheus.Config{URL: prometheustest.Start(t, mesh()...)})
	if err != nil {
		t.Fatal(err)
	}
	boxed := map[string]string{"GATE": "time-box"}
	depth := func(query string) map[string]string {
		return map[string]string{"METRICS": fmt.Sprintf(`[{"name": "queue-depth", "max": 10, "query": %q}]`, query),
			"INTERVAL": "15s", "THRESHOLD": "2", "MIN_DWELL": "60s"}
	}
	cases := map[string]struct {
		app        string
		parameters map[string]string
		stages     []run.Stage
		decision   verdict.Decision
		after      time.Duration // from noon
		reason     string
		warning    string
	}{
		"healthy": {app: "steady", decision: verdict.Pass, after: 81200 * time.Millisecond,
			reason: "healthy: canary 0/800 (0.00 %) against primary 0/3200 (0.00 %) in 81s, worse by 1 pp ruled " +
				"out: acquit " +
				"2002, want 20"},
		"no latency": {app: "steady", parameters: map[string]string{"LATENCY": "off"}, decision: verdict.Pass,
			after:  36200 * time.Millisecond,
			reason: "healthy: canary 0/350 (0.00 %) against primary 0/1400 (0.00 %) in 36s"},
		"pair": {app: "paired", decision: verdict.Pass, after: 81200 * time.Millisecond,
			reason:  "healthy: canary 0/800",
			warning: "duplicate-series: "},
		"time box": {app: "thin", parameters: boxed, decision: verdict.Pass, after: 120 * time.Second,
			reason: "time-box: "},
		"worse": {app: "worse", decision: verdict.Fail, after: 6200 * time.Millisecond,
			reason: "worse: canary 5/100 (5.00 %) against primary 0/400 (0.00 %) in 6s, blame 140, want below 100"},
		"hard failure": {app: "broken", decision: verdict.Fail, after: 1200 * time.Millisecond,
			reason: "hard-failure: canary 50/50 (100.00 %) against primary 0/200 (0.00 %) in the 5s up to 12:00:01Z"},
		"destination": {app: "broken", parameters: map[string]string{"REPORTER": "destination"}, decision: verdict.Fail,
			after: 8200 * time.Millisecond, reason: "hard-failure: canary 50/50 (100.00 %) against primary 0/120"},
		"late": {app: "late", parameters: map[string]string{"MIN_DWELL": "90s"}, decision: verdict.Fail,
			after: 51200 * time.Millisecond, reason: "worse: canary 30/580 (5.17 %) against primary 0/2200"},
		"second stage": {app: "late", stages: []run.Stage{{Weight: 20, At: noon},
			{Weight: 21, At: noon.Add(31 * time.Second)}}, decision: verdict.Fail, after: 51000 * time.Millisecond,
			reason: "worse: canary 30/580 (5.17 %) against primary 0/2200"},
		"no traffic": {app: "idle", decision: verdict.Inconclusive, after: 900 * time.Second,
			reason: "no-traffic: no request to the canary in 900s at weight 20 (istio_requests_total of idle-canary, " +
				"reporter source)"},
		"outage": {app: "outage", parameters: map[string]string{"DEADLINE": "150s"}, decision: verdict.Inconclusive,
			after: 150 * time.Second,
			reason: "primary-unhealthy: primary 480/2400 (20.00 %) in the last minute, want at " +
				"most 5.00 %"},
		"slower": {app: "slow", decision: verdict.Fail, after: 66200 * time.Millisecond,
			reason: "slower: canary over 100 ms 20/100 (20.00 %) against primary 0/400 (0.00 %) in 66s, blame "},
		"not shifted": {app: "unshifted", parameters: map[string]string{"DEADLINE": "300s"},
			decision: verdict.Inconclusive, after: 300 * time.Second,
			reason: "traffic-not-shifted: canary got 0.99 % of 13383 requests, want 20 %"},
		"not checked": {app: "unshifted", parameters: map[string]string{"WEIGHT_CHECK": "off"}, decision: verdict.Pass,
			after: 0, reason: "healthy: "},
		"reached no pod": {app: "crashed", decision: verdict.Fail, after: 1200 * time.Millisecond,
			reason: "hard-failure: canary 50/50"},
		"not seen": {app: "crashed", parameters: map[string]string{"REPORTER": "destination", "DEADLINE": "120s"},
			decision: verdict.Inconclusive, after: 63200 * time.Millisecond,
			reason: "canary-silent: no request to the canary for a while at weight 20, 2600 requests to the primary " +
				"in 63s (istio_requests_total of crashed, reporter destination): does it run?"},
		"blind": {app: "crashed", parameters: map[string]string{"REPORTER": "source", "SPLIT": "workload",
			"DEADLINE": "120s"}, decision: verdict.Inconclusive, after: 120 * time.Second, reason: "no-traffic: ",
			warning: "split-blind: "},
		"callers only": {app: "meshless", decision: verdict.Pass, after: 36200 * time.Millisecond, reason: "healthy: ",
			warning: "latency-not-judged: 0 requests of the primary"},
		"called only": {app: "blind", decision: verdict.Pass, after: 38200 * time.Millisecond, reason: "healthy: "},
		"noisy": {app: "noisy", parameters: map[string]string{"SUCCESS_RATE": "99", "INTERVAL": "15s"},
			decision: verdict.Pass, after: 0, reason: "healthy: "},
		"limit": {app: "worse", parameters: map[string]string{"SUCCESS_RATE": "99", "TOLERANCE": "0.2", "MARGIN": "0.5",
			"MIN_DWELL": "90s"}, decision: verdict.Fail, after: 31200 * time.Millisecond,
			reason: "limit: 18/350 (5.00 %) of the canary failed, of the primary 0/1400 (0.00 %), want at most " +
				"1.00 %, beyond doubt: canary at least "},
		"both break it": {app: "steady", parameters: depth(`max(queue_depth{workload="{{ target }}"})`),
			decision: verdict.Pass, after: 60 * time.Second, reason: "healthy: "},
		"alone": {app: "steady", parameters: depth(`max(queue_depth{workload="steady"})`), decision: verdict.Fail,
			after: 35 * time.Second, reason: "threshold: 2 of 2 checks failed, last: queue-depth 12, want at most 10"},
		"no values": {app: "steady", parameters: depth(`max(nothing{workload="{{ target }}"})`), decision: verdict.Pass,
			after: 60 * time.Second, reason: "healthy: "},
		"shadow": {app: "broken", parameters: map[string]string{"MODE": "shadow"}, decision: verdict.Fail,
			after: 1200 * time.Millisecond, reason: "hard-failure: "},
		"as of": {app: "steady", parameters: map[string]string{"AS_OF": "2026-11-23T12:00:20Z"},
			decision: verdict.Inconclusive, after: 20 * time.Second,
			reason: "undecided: canary 0/150 (0.00 %) against primary 0/600 (0.00 %) in 20s, acquit "},
		"after the end": {app: "late", parameters: map[string]string{"AS_OF": "2026-11-23T12:14:00Z"},
			decision: verdict.Fail, after: 840 * time.Second, reason: "worse: "},
		"low traffic": {app: "thin", parameters: map[string]string{"DEADLINE": "200s"}, decision: verdict.Inconclusive,
			after: 200 * time.Second, reason: "low-traffic: "},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if c.stages == nil {
				c.stages = []run.Stage{{Weight: 20, At: noon}}
			}
			start := c.stages[len(c.stages)-1].At
			if c.parameters["AS_OF"] != "" {
				start = noon.Add(time.Hour)
			}
			got := judgedFrom(t, client, c.app, c.parameters, c.stages, start)
			if after := got.At.Sub(noon); got.Decision != c.decision || c.after > 0 && after != c.after ||
				!strings.HasPrefix(got.Reason(), c.reason) {
				t.Errorf("%s after %s because of %q, want %s after %s because of %q", got.Decision, after, got.Reason(),
					c.decision, c.after, c.reason)
			}
			if warnings := strings.Join(got.Warnings, "\n"); !strings.Contains(warnings, c.warning) ||
				c.warning == "" &&
					strings.Contains(warnings, "duplicate") {
				t.Errorf("warnings %q, want %q", warnings, c.warning)
			}
			again := judgedFrom(t, client, c.app, with(c.parameters, "AS_OF", got.At.Format(time.RFC3339Nano)),
				c.stages, noon.Add(time.Hour))
			if diff := cmp.Diff(got.Evidence(), again.Evidence()); again.Reason() != got.Reason() || diff != "" {
				t.Errorf("judged again: %q, want %q; evidence (-first +again)\n%s", again.Reason(), got.Reason(), diff)
			}
			if c.parameters["MODE"] == "shadow" && got.Err() != nil {
				t.Errorf("error %v of a shadow, want none", got.Err())
			}
		})
	}
	t.Run("no limit is looked at once the canary is worse", func(t *testing.T) {
		q := &past{client, noon}
		j := newJudge(t, "worse", map[string]string{"JUDGE": "sequential", "INTERVAL": "4200ms", "SETTLE": "2s",
			"METRICS":   `[{"name": "queue-depth", "max": 10, "query": "max(queue_depth{workload=\"steady\"})"}]`,
			"THRESHOLD": "2", "TIME_BOX": "60s"})
		got, err := j.Judge(t.Context(), q, clock{q}, []run.Stage{{Weight: 20, At: noon}}, func(c verdict.Check) {
			t.Errorf("told of the check at %s: %s", c.At.Sub(noon), c.Halt())
		})
		if err != nil || got.Code != "worse" || got.At.Sub(noon) != 6200*time.Millisecond {
			t.Errorf("%s after %s (%v), want worse after 6.2s, when a check is due too", got.Code,
				got.At.Sub(noon), err)
		}
	})
}

// TestForecast has an application of 60 requests a minute, and one of 50 a second.
func TestForecast(t *testing.T) {
	client, err := prometheus.New(prometheus.Config{URL: prometheustest.Start(t, mesh()...)})
	if err != nil {
		t.Fatal(err)
	}
	for app, want := range map[string]string{"steady": "", "thin": "Proof at weight 20 takes about "} {
		q, told := &past{client, noon}, []string{}
		j := newJudge(t, app, map[string]string{"JUDGE": "sequential", "DEADLINE": "200s"})
		j.Forecast = func(_ context.Context, text string) { told = append(told, text) }
		if _, err := j.Judge(t.Context(), q, clock{q}, []run.Stage{{Weight: 20, At: noon}}, nil); err != nil {
			t.Fatal(err)
		}
		t.Log(told)
		if len(told) > 1 || (want != "") != (len(told) == 1) || want != "" && (!strings.HasPrefix(told[0], want) ||
			!strings.HasSuffix(told[0], " or gate time-box would do")) {
			t.Errorf("%s: told %q, want %q once", app, told, want)
		}
	}
}

func judgedFrom(t *testing.T, client *prometheus.Client, app string, parameters map[string]string, stages []run.Stage,
	start time.Time) verdict.Verdict {
	t.Helper()
	q := &past{client, start}
	got, err := newJudge(t, app, with(parameters, "JUDGE", "sequential")).Judge(t.Context(), q, clock{q}, stages, nil)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestSequentialRefuses(t *testing.T) {
	cases := map[string]struct {
		stages []run.Stage
		text   string
	}{
		"nobody to compare with": {[]run.Stage{{Weight: 100, At: noon}},
			"judging podinfo: weight 100 leaves no primary to compare with, want 1 to 99: use judge classic"},
		"no traffic": {[]run.Stage{{Weight: 0, At: noon}}, "judging podinfo: weight 0 leaves no primary"},
		"future": {[]run.Stage{{Weight: 20, At: noon.Add(42 * time.Second)}},
			"judging podinfo: phase 1 starts in 42s, want a start in the past"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			q := silent{noon, nil}
			_, err := newJudge(t, "podinfo", map[string]string{"JUDGE": "sequential"}).Judge(t.Context(), q,
				stopping{q}, c.stages, nil)
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
	got, err := newJudge(t, "podinfo", map[string]string{"JUDGE": "sequential"}).Judge(ctx, q, clk,
		[]run.Stage{{Weight: 20, At: noon}}, nil)
	if !errors.Is(err, errStopped) || got.Decision != "" {
		t.Errorf("%s, error %v, want the reason why the context ended", got.Decision, err)
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
