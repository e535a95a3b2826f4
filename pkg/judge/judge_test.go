package judge_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/model"
	"github.com/sethvargo/go-envconfig"

	"github.com/serin-cd/serin/internal/prometheustest"
	"github.com/serin-cd/serin/pkg/judge"
	"github.com/serin-cd/serin/pkg/judge/prometheus"
	"github.com/serin-cd/serin/pkg/task/failure"
	"github.com/serin-cd/serin/pkg/task/run"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// past is a Prometheus whose clock stands where the test's does, so that no test waits.
type past struct {
	*prometheus.Client
	now time.Time
}

func (p *past) Now(ctx context.Context) (time.Time, error) { return p.now, ctx.Err() }

func (p *past) After(d time.Duration) <-chan time.Time {
	p.now = p.now.Add(d)
	c := make(chan time.Time, 1)
	c <- p.now
	return c
}

// clock is the step's, which shows the same time.
type clock struct{ *past }

func (c clock) Now() time.Time { return c.now }

// counted is ten minutes of requests from noon on, so many a second and code, scraped every 5 s.
func counted(labels string, rates map[string]float64) (series []prometheustest.Series) {
	for code, rate := range rates {
		series = append(series, prometheustest.Steady(fmt.Sprintf(`istio_requests_total{%s,response_code="%s"}`, labels, code),
			noon, noon.Add(10*time.Minute), 5*time.Second, 0, 5*rate))
	}
	return series
}

// timed is as many minutes of requests that all fall into one bucket.
func timed(labels, bucket string, rate float64) (series []prometheustest.Series) {
	held := false
	for _, le := range []string{"100.0", "500.0", "1000.0", "2500.0", "+Inf"} {
		held = held || le == bucket
		growth := 0.0
		if held {
			growth = 5 * rate
		}
		series = append(series, prometheustest.Steady(fmt.Sprintf(`istio_request_duration_milliseconds_bucket{%s,le="%s"}`, labels, le),
			noon, noon.Add(10*time.Minute), 5*time.Second, 0, growth))
	}
	return series
}

func called(app string) string {
	return fmt.Sprintf(`reporter="destination",destination_workload="%s",destination_workload_namespace="prod"`, app)
}

func calling(app string) string {
	return fmt.Sprintf(`reporter="source",destination_service_name="%s-canary",destination_service_namespace="prod",destination_workload="%[1]s",destination_workload_namespace="prod"`, app)
}

// samples is a cluster of applications that differ in what is wrong with them.
func samples() []prometheustest.Series {
	return slices.Concat(
		counted(called("healthy"), map[string]float64{"200": 5, "404": 1}), timed(called("healthy"), "100.0", 6),
		counted(called("bad"), map[string]float64{"200": 2, "500": 1}), timed(called("bad"), "100.0", 3),
		counted(called("dead"), map[string]float64{"503": 4}), timed(called("dead"), "100.0", 4),
		counted(called("slow"), map[string]float64{"200": 4}), timed(called("slow"), "2500.0", 4),
		counted(called("idle"), map[string]float64{"200": 0}), timed(called("idle"), "100.0", 0),
		counted(calling("gateway"), map[string]float64{"200": 5}), timed(calling("gateway"), "500.0", 5),
		counted(calling("crashed"), map[string]float64{"503": 5}), timed(calling("crashed"), "100.0", 5),
		counted(called("crashed"), map[string]float64{"200": 0}), timed(called("crashed"), "100.0", 0),
		counted(called("myxapp"), map[string]float64{"500": 5}), timed(called("myxapp"), "100.0", 5),
		counted(called("my.app"), map[string]float64{"200": 5}), timed(called("my.app"), "100.0", 5),
		mended(), []prometheustest.Series{
			prometheustest.Steady(`queue_depth{workload="healthy",queue="a"}`, noon, noon.Add(10*time.Minute), 5*time.Second, 12, 0),
			prometheustest.Steady(`queue_depth{workload="healthy",queue="b"}`, noon, noon.Add(10*time.Minute), 5*time.Second, 3, 0),
		})
}

// mended fails in the first 100 seconds and then works.
func mended() []prometheustest.Series {
	series := counted(called("mended"), map[string]float64{"200": 5})
	failing := prometheustest.Steady(fmt.Sprintf(`istio_requests_total{%s,response_code="500"}`, called("mended")),
		noon, noon.Add(100*time.Second), 5*time.Second, 0, 10)
	last := failing.Samples[len(failing.Samples)-1].Value
	rest := prometheustest.Steady("", noon.Add(105*time.Second), noon.Add(10*time.Minute), 5*time.Second, last, 0)
	failing.Samples = append(failing.Samples, rest.Samples...)
	return slices.Concat(series, []prometheustest.Series{failing}, timed(called("mended"), "100.0", 5))
}

func TestJudgeWithRealPrometheus(t *testing.T) {
	client, err := prometheus.New(prometheus.Config{URL: prometheustest.Start(t, samples()...)})
	if err != nil {
		t.Fatal(err)
	}
	five := map[string]string{"THRESHOLD": "5", "NO_VALUES": "inconclusive"}
	custom := func(query string) map[string]string {
		return map[string]string{"METRICS": fmt.Sprintf(`[{"name": "queue-depth", "max": 10, "query": %q}]`, query)}
	}
	cases := map[string]struct {
		app        string
		parameters map[string]string
		phases     []run.Stage
		outcome    judge.Outcome
		after      time.Duration // from noon
		reason     string
	}{
		"healthy":      {"healthy", five, nil, judge.Pass, 65 * time.Second, "healthy: 1 of 1 checks passed, last: request-success-rate 100 %, want at least 99 (360 requests in 1m); request-duration 9"},
		"two checks":   {"healthy", with(five, "CHECKS", "2"), nil, judge.Pass, 125 * time.Second, "healthy: 2 of 2 checks passed"},
		"bad":          {"bad", five, nil, judge.Fail, 305 * time.Second, "threshold: 5 of 5 checks failed, last: request-success-rate 66.67 %, want at least 99 (180 requests in 1m)"},
		"short":        {"bad", with(with(five, "INTERVAL", "15s"), "SETTLE", "1s"), nil, judge.Fail, 76 * time.Second, "threshold: 5 of 5 checks failed, last: request-success-rate 66.67 %, want at least 99 (45 requests in 15s)"},
		"at once":      {"bad", nil, nil, judge.Fail, 65 * time.Second, "threshold: 1 of 1 checks failed"},
		"all fail":     {"dead", five, nil, judge.Fail, 305 * time.Second, "threshold: 5 of 5 checks failed, last: request-success-rate 0 %, want at least 99 (240 requests in 1m)"},
		"slow":         {"slow", five, nil, judge.Fail, 305 * time.Second, "threshold: 5 of 5 checks failed, last: request-duration 2485 ms, want at most 1000 (240 requests in 1m)"},
		"never called": {"nobody", five, nil, judge.Inconclusive, 305 * time.Second, "no-values: request-success-rate had no values in 1m (istio_requests_total of nobody, 0 requests), 5 checks"},
		"idle":         {"idle", five, nil, judge.Inconclusive, 305 * time.Second, "no-values: request-success-rate had no values in 1m (istio_requests_total of idle, 0 requests), 5 checks"},
		"deadline":     {"idle", with(five, "DEADLINE", "150s"), nil, judge.Inconclusive, 125 * time.Second, "no-values: request-success-rate had no values in 1m (istio_requests_total of idle, 0 requests), 2 checks"},
		"as Flagger":   {"idle", with(five, "NO_VALUES", "fail"), nil, judge.Fail, 305 * time.Second, "threshold: 5 of 5 checks failed, last: request-success-rate had no values in 1m (istio_requests_total of idle, 0 requests)"},
		"gateway only": {"gateway", five, nil, judge.Pass, 65 * time.Second, "healthy: 1 of 1 checks passed, last: request-success-rate 100 %, want at least 99 (300 requests in 1m); request-duration 49"},
		"no source":    {"healthy", with(five, "REPORTER", "source"), nil, judge.Inconclusive, 305 * time.Second, "no-values: "},
		"crashed":      {"crashed", five, nil, judge.Fail, 305 * time.Second, "threshold: 5 of 5 checks failed, last: request-success-rate 0 %"},
		"dot":          {"my.app", five, nil, judge.Pass, 65 * time.Second, "healthy: 1 of 1 checks passed, last: request-success-rate 100 %"},
		"mended":       {"mended", five, nil, judge.Pass, 185 * time.Second, "healthy: 1 of 1 checks passed"},
		"second phase": {"bad", five, []run.Stage{{Weight: 20, At: noon}, {Weight: 40, At: noon.Add(186 * time.Second)}}, judge.Fail, 311 * time.Second, "threshold: 5 of 5 checks failed"},
		"after a pass": {"mended", with(five, "THRESHOLD", "3"), []run.Stage{{Weight: 20, At: noon}, {Weight: 40, At: noon.Add(186 * time.Second)}}, judge.Pass, 251 * time.Second, "healthy: "},
		"too early":    {"bad", with(five, "AS_OF", "2026-11-23T12:02:30Z"), nil, judge.Inconclusive, 150 * time.Second, "undecided: 2 of 5 checks failed and 0 of 1 passed as of 2026-11-23T12:02:30Z"},
		"replayed":     {"bad", with(five, "AS_OF", "2026-11-23T12:09:00Z"), nil, judge.Fail, 540 * time.Second, "threshold: 5 of 5 checks failed"},
		"own metric":   {"healthy", custom(`max(queue_depth{workload="{{ target }}"})`), nil, judge.Fail, 65 * time.Second, "threshold: 1 of 1 checks failed, last: queue-depth 12, want at most 10"},
		"own scalar":   {"healthy", custom(`scalar(queue_depth{queue="b"})`), nil, judge.Pass, 65 * time.Second, "healthy: 1 of 1 checks passed, last: queue-depth 3, want at most 10"},
		"own nothing":  {"healthy", with(custom(`vector(1) > 2`), "NO_VALUES", "inconclusive"), nil, judge.Inconclusive, 65 * time.Second, "no-values: queue-depth had no values in 1m, 1 check"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			j := newJudge(t, c.app, c.parameters)
			if c.phases == nil {
				c.phases = []run.Stage{{Weight: 20, At: noon}}
			}
			q := &past{client, noon}
			if c.parameters["AS_OF"] != "" {
				q.now = noon.Add(time.Hour)
			}
			if len(c.phases) > 1 {
				q.now = c.phases[1].At.Add(time.Second)
			}
			verdict, err := j.Judge(t.Context(), q, clock{q}, c.phases, nil)
			if err != nil {
				t.Fatal(err)
			}
			if verdict.Outcome != c.outcome || verdict.At.Sub(noon) != c.after || !strings.HasPrefix(verdict.Reason(), c.reason) {
				t.Errorf("%s after %s because of %q, want %s after %s because of %q",
					verdict.Outcome, verdict.At.Sub(noon), verdict.Reason(), c.outcome, c.after, c.reason)
			}
			q.now = verdict.At.Add(time.Hour)
			again, err := j.Judge(t.Context(), q, clock{q}, c.phases, nil)
			if err != nil || again.Outcome != verdict.Outcome || again.Failed != verdict.Failed || again.Reason() != verdict.Reason() {
				t.Errorf("judged again: %s because of %q, %v, want the same", again.Outcome, again.Reason(), err)
			}
		})
	}

	t.Run("checks are told", func(t *testing.T) {
		q := &past{client, noon.Add(130 * time.Second)} // the second check's instant has just been asked about
		var told []string
		_, err := newJudge(t, "mended", five).Judge(t.Context(), q, clock{q}, []run.Stage{{Weight: 20, At: noon}}, func(c judge.Check) {
			told = append(told, fmt.Sprintf("%d %d %s %s %d %v %s %s", c.Phase, c.Number, c.At.Sub(noon), c.State, c.Failures, c.Repeated, c.Reporter(), c.Halt()))
		})
		if err != nil {
			t.Fatal(err)
		}
		want := []string{
			"1 1 1m0s failed 1 true destination Halt mended.prod advancement success rate 71.43% < 99%",
			"1 2 2m0s failed 2 true destination Halt mended.prod advancement success rate 78.95% < 99%",
			"1 3 3m0s passed 2 false destination ",
		}
		if diff := cmp.Diff(want, told); diff != "" {
			t.Error("checks (-want +got)\n", diff)
		}
	})

	t.Run("bad queries", func(t *testing.T) {
		cases := map[string]struct{ query, text string }{
			"several series": {`queue_depth{workload="healthy"}`, "querying queue-depth: 2 series, want 1: aggregate with sum or max"},
			"no PromQL":      {`max(queue_depth`, "parse error"},
			"a window":       {`queue_depth{queue="a"}[1m]`, "querying queue-depth: a matrix, want a number for each instant"},
			"a text":         {`"ten"`, `unexpected value type "string"`},
		}
		for name, c := range cases {
			t.Run(name, func(t *testing.T) {
				err := newJudge(t, "healthy", custom(c.query)).Probe(t.Context(), &past{client, noon.Add(time.Minute)})
				if !errors.Is(err, failure.ErrConfig) || !strings.Contains(err.Error(), c.text) {
					t.Errorf("error %v, want %q as wrong configuration", err, c.text)
				}
			})
		}
	})

	t.Run("no traffic yet", func(t *testing.T) {
		if err := newJudge(t, "nobody", five).Probe(t.Context(), client); err != nil {
			t.Errorf("probing before there is a canary: %v, want none", err)
		}
	})

	t.Run("start in the future", func(t *testing.T) {
		q := &past{client, noon}
		_, err := newJudge(t, "bad", five).Judge(t.Context(), q, clock{q}, []run.Stage{{Weight: 20, At: noon.Add(42 * time.Second)}}, nil)
		want := "judging bad: phase 1 starts in 42s, want a start in the past: compare the clocks of the step and Prometheus"
		if !errors.Is(err, failure.ErrConfig) || err.Error() != want {
			t.Errorf("error %v, want %q", err, want)
		}
	})
}

func TestJudgeRefusesAReplayOfTheFuture(t *testing.T) {
	q := silent{noon, nil}
	_, err := newJudge(t, "podinfo", map[string]string{"AS_OF": "2026-11-23T12:01:00Z"}).Judge(t.Context(), q, stopping{q}, []run.Stage{{Weight: 20, At: noon}}, nil)
	if want := "judging podinfo: as-of 2026-11-23T12:01:00Z is 1m0s in the future, want a time in the past"; !errors.Is(err, failure.ErrConfig) || err.Error() != want {
		t.Errorf("error %v, want %q", err, want)
	}
}

func TestProbeWithoutPrometheus(t *testing.T) {
	server := httptest.NewServer(nil)
	server.Close()
	client, err := prometheus.New(prometheus.Config{URL: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	err = newJudge(t, "podinfo", nil).Probe(t.Context(), client)
	if failure.Code(err) != failure.ExitError || !strings.Contains(err.Error(), "connection refused, want an answer: is Prometheus up?") {
		t.Errorf("error %v, want one that another try may mend", err)
	}
}

// silent is a Prometheus that holds nothing, and stops the judging while it waits.
type silent struct {
	now  time.Time
	stop context.CancelCauseFunc
}

var errStopped = errors.New("SIGTERM")

func (s silent) Now(context.Context) (time.Time, error) { return s.now, nil }

func (s silent) Query(context.Context, string, time.Time) (model.Value, error) {
	return model.Vector{}, nil
}

type stopping struct{ silent }

func (s stopping) Now() time.Time { return s.now }

func (s stopping) After(time.Duration) <-chan time.Time {
	s.stop(errStopped)
	return nil
}

func TestJudgeEndsWithItsContext(t *testing.T) {
	ctx, stop := context.WithCancelCause(t.Context())
	q := silent{noon, stop}
	_, err := newJudge(t, "podinfo", nil).Judge(ctx, q, stopping{q}, []run.Stage{{Weight: 20, At: noon}}, nil)
	if !errors.Is(err, errStopped) || failure.Code(err) != failure.ExitError {
		t.Errorf("error %v, want the reason why the context ended", err)
	}
}

func newJudge(t *testing.T, app string, parameters map[string]string, namespace ...string) *judge.Judge {
	t.Helper()
	classic := envconfig.MapLookuper(map[string]string{"JUDGE": "classic"})
	var config judge.Config
	err := envconfig.ProcessWith(t.Context(), &envconfig.Config{Target: &config, Lookuper: envconfig.MultiLookuper(envconfig.MapLookuper(parameters), classic)})
	if err != nil {
		t.Fatal(err)
	}
	j, err := judge.New(config, judge.Target{Namespace: append(namespace, "prod")[0], Canary: app, Primary: app + "-primary"})
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func with(parameters map[string]string, name, value string) map[string]string {
	more := map[string]string{name: value}
	for k, v := range parameters {
		if k != name {
			more[k] = v
		}
	}
	return more
}
