package judge_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/model"
	"github.com/sethvargo/go-envconfig"

	"github.com/serin-cd/serin/internal/prometheustest"
	"github.com/serin-cd/serin/pkg/judge"
	"github.com/serin-cd/serin/pkg/judge/prometheus"
	"github.com/serin-cd/serin/pkg/judge/verdict"
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
		stages     []run.Stage
		decision   verdict.Decision
		after      time.Duration // from noon
		reason     string
	}{
		"healthy": {"healthy", five, nil, verdict.Pass, 65 * time.Second,
			"healthy: 1 of 1 checks passed, last: request-success-rate 100 %, want at least 99 (360 requests in 1m); " +
				"request-duration 9"},
		"two checks": {"healthy", with(five, "CHECKS", "2"), nil, verdict.Pass, 125 * time.Second,
			"healthy: 2 of 2 checks passed"},
		"bad": {"bad", five, nil, verdict.Fail, 305 * time.Second,
			"threshold: 5 of 5 checks failed, last: request-success-rate 66.67 %, want at least 99 (180 requests in " +
				"1m)"},
		"short": {"bad", with(with(five, "INTERVAL", "15s"), "SETTLE", "1s"), nil, verdict.Fail, 76 * time.Second,
			"threshold: 5 of 5 checks failed, last: request-success-rate 66.67 %, want at least 99 (45 requests in " +
				"15s)"},
		"at once": {"bad", nil, nil, verdict.Fail, 65 * time.Second, "threshold: 1 of 1 checks failed"},
		"all fail": {"dead", five, nil, verdict.Fail, 305 * time.Second,
			"threshold: 5 of 5 checks failed, last: request-success-rate 0 %, want at least 99 (240 requests in 1m)"},
		"slow": {"slow", five, nil, verdict.Fail, 305 * time.Second,
			"threshold: 5 of 5 checks failed, last: request-duration 2485 ms, want at most 1000 (240 requests in 1m)"},
		"never called": {"nobody", five, nil, verdict.Inconclusive, 305 * time.Second,
			"no-values: request-success-rate had no values in 1m (istio_requests_total of nobody, 0 requests), 5 " +
				"checks"},
		"idle": {"idle", five, nil, verdict.Inconclusive, 305 * time.Second,
			"no-values: request-success-rate had no values in 1m (istio_requests_total of idle, 0 requests), 5 checks"},
		"deadline": {"idle", with(five, "DEADLINE", "150s"), nil, verdict.Inconclusive, 125 * time.Second,
			"no-values: request-success-rate had no values in 1m (istio_requests_total of idle, 0 requests), 2 checks"},
		"as Flagger": {"idle", with(five, "NO_VALUES", "fail"), nil, verdict.Fail, 305 * time.Second,
			"threshold: 5 of 5 checks failed, last: request-success-rate had no values in 1m (istio_requests_total " +
				"of idle, " +
				"0 requests)"},
		"gateway only": {"gateway", five, nil, verdict.Pass, 65 * time.Second,
			"healthy: 1 of 1 checks passed, last: request-success-rate 100 %, want at least 99 (300 requests in 1m); " +
				"request-duration 49"},
		"no source": {"healthy", with(five, "REPORTER", "source"), nil, verdict.Inconclusive,
			305 * time.Second, "no-values: "},
		"crashed": {"crashed", five, nil, verdict.Fail, 305 * time.Second,
			"threshold: 5 of 5 checks failed, last: request-success-rate 0 %"},
		"dot": {"my.app", five, nil, verdict.Pass, 65 * time.Second,
			"healthy: 1 of 1 checks passed, last: request-success-rate 100 %"},
		"mended": {"mended", five, nil, verdict.Pass, 185 * time.Second, "healthy: 1 of 1 checks passed"},
		"second stage": {"bad", five, []run.Stage{{Weight: 20, At: noon},
			{Weight: 40, At: noon.Add(186 * time.Second)}},
			verdict.Fail, 311 * time.Second, "threshold: 5 of 5 checks failed"},
		"after a pass": {"mended", with(five, "THRESHOLD", "3"), []run.Stage{{Weight: 20, At: noon},
			{Weight: 40, At: noon.Add(186 * time.Second)}}, verdict.Pass, 251 * time.Second, "healthy: "},
		"too early": {"bad", with(five, "AS_OF", "2026-11-23T12:02:30Z"), nil, verdict.Inconclusive, 150 * time.Second,
			"undecided: 2 of 5 checks failed and 0 of 1 passed as of 2026-11-23T12:02:30Z"},
		"replayed": {"bad", with(five, "AS_OF", "2026-11-23T12:09:00Z"), nil, verdict.Fail, 540 * time.Second,
			"threshold: 5 of 5 checks failed"},
		"own metric": {"healthy", custom(`max(queue_depth{workload="{{ target }}"})`), nil, verdict.Fail,
			65 * time.Second,
			"threshold: 1 of 1 checks failed, last: queue-depth 12, want at most 10"},
		"own scalar": {"healthy", custom(`scalar(queue_depth{queue="b"})`), nil, verdict.Pass, 65 * time.Second,
			"healthy: 1 of 1 checks passed, last: queue-depth 3, want at most 10"},
		"own nothing": {"healthy", with(custom(`vector(1) > 2`), "NO_VALUES", "inconclusive"), nil,
			verdict.Inconclusive,
			65 * time.Second, "no-values: queue-depth had no values in 1m, 1 check"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			j := newJudge(t, c.app, c.parameters)
			if c.stages == nil {
				c.stages = []run.Stage{{Weight: 20, At: noon}}
			}
			q := &past{client, noon}
			if c.parameters["AS_OF"] != "" {
				q.now = noon.Add(time.Hour)
			}
			if len(c.stages) > 1 {
				q.now = c.stages[1].At.Add(time.Second)
			}
			got, err := j.Judge(t.Context(), q, clock{q}, c.stages, nil)
			if err != nil {
				t.Fatal(err)
			}
			if got.Decision != c.decision || got.At.Sub(noon) != c.after || !strings.HasPrefix(got.Reason(), c.reason) {
				t.Errorf("%s after %s because of %q, want %s after %s because of %q",
					got.Decision, got.At.Sub(noon), got.Reason(), c.decision, c.after, c.reason)
			}
			q.now = got.At.Add(time.Hour)
			again, err := j.Judge(t.Context(), q, clock{q}, c.stages, nil)
			if err != nil || again.Decision != got.Decision || again.Failed != got.Failed ||
				again.Reason() != got.Reason() {
				t.Errorf("judged again: %s because of %q, %v, want the same", again.Decision, again.Reason(), err)
			}
		})
	}

	t.Run("checks are told", func(t *testing.T) {
		q := &past{client, noon.Add(130 * time.Second)} // the second check's instant has just been asked about
		var told []string
		_, err := newJudge(t, "mended", five).Judge(t.Context(), q, clock{q}, []run.Stage{{Weight: 20, At: noon}},
			func(c verdict.Check) {
				told = append(told, fmt.Sprintf("%d %d %s %s %d %v %s %s", c.Stage, c.Number, c.At.Sub(noon), c.State,
					c.Failed,
					c.Repeated, c.Reporter, c.Halt()))
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
			"several series": {`queue_depth{workload="healthy"}`,
				"querying queue-depth: 2 series, want 1: aggregate with sum or max"},
			"no PromQL": {`max(queue_depth`, "parse error"},
			"a window": {`queue_depth{queue="a"}[1m]`,
				"querying queue-depth: a matrix, want a number for each instant"},
			"a text": {`"ten"`, `unexpected value type "string"`},
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
		_, err := newJudge(t, "bad", five).Judge(t.Context(), q, clock{q},
			[]run.Stage{{Weight: 20, At: noon.Add(42 * time.Second)}}, nil)
		want := "judging bad: phase 1 starts in 42s, want a start in the past: compare the clocks of the step and " +
			"Prometheus"
		if !errors.Is(err, failure.ErrConfig) || err.Error() != want {
			t.Errorf("error %v, want %q", err, want)
		}
	})
}

func TestJudgeRefusesAReplayOfTheFuture(t *testing.T) {
	q := silent{noon, nil}
	_, err := newJudge(t, "podinfo", map[string]string{"AS_OF": "2026-11-23T12:01:00Z"}).Judge(t.Context(), q,
		stopping{q}, []run.Stage{{Weight: 20, At: noon}}, nil)
	if want := "judging podinfo: as-of 2026-11-23T12:01:00Z is 1m0s in the future, want a time in the " +
		"past"; !errors.Is(err, failure.ErrConfig) || err.Error() != want {
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
	if failure.Code(err) != failure.ExitError || !strings.Contains(err.Error(),
		"connection refused, want an answer: is Prometheus up?") {
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
	err := envconfig.ProcessWith(t.Context(), &envconfig.Config{Target: &config,
		Lookuper: envconfig.MultiLookuper(envconfig.MapLookuper(parameters), classic)})
	if err != nil {
		t.Fatal(err)
	}
	j, err := judge.New(config, judge.Target{Namespace: append(namespace, "prod")[0], Canary: app,
		Primary: app + "-primary"})
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
