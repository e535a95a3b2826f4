package drain_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/serin-cd/serin/internal/prometheustest"
	"github.com/serin-cd/serin/pkg/judge/prometheus"
	"github.com/serin-cd/serin/pkg/release/drain"
	"github.com/serin-cd/serin/pkg/task/failure"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// past is a Prometheus whose clock stands where the test's does, so that no test waits.
type past struct {
	*prometheus.Client
	now time.Time
}

func (p *past) Now(ctx context.Context) (time.Time, error) { return p.now, ctx.Err() }

// clock is the step's, which may be ahead of Prometheus's.
type clock struct {
	*past
	ahead time.Duration
}

func (c clock) Now() time.Time { return c.now.Add(c.ahead) }

func (c clock) After(d time.Duration) <-chan time.Time {
	c.now = c.now.Add(max(d, 0))
	ready := make(chan time.Time, 1)
	ready <- c.now
	return ready
}

func sent(app, service string) string {
	return fmt.Sprintf(`istio_requests_total{reporter="source",source_workload="gateway",destination_service_name="%s",destination_service_namespace="prod",`+
		`destination_workload="%s",destination_workload_namespace="prod",response_code="200"}`, service, app)
}

func lost(service string) string {
	return fmt.Sprintf(`istio_requests_total{reporter="source",source_workload="gateway",destination_service_name="%s",destination_service_namespace="prod",`+
		`destination_workload="unknown",destination_workload_namespace="unknown",response_code="503"}`, service)
}

func received(app string) string {
	return fmt.Sprintf(`istio_requests_total{reporter="destination",source_workload="gateway",destination_service_name="%s-canary",destination_service_namespace="prod",`+
		`destination_workload="%[1]s",destination_workload_namespace="prod",response_code="200"}`, app)
}

// counter is scraped every gap from two minutes before noon, grows by 10 a scrape until it stops growing,
// and is not scraped any more after it ends.
func counter(labels string, gap, stops, ends time.Duration) prometheustest.Series {
	s := prometheustest.Series{Labels: labels}
	value := 0.0
	for at := -2*time.Minute + time.Second/2; at <= ends; at += gap {
		if at <= stops {
			value += 10
		}
		s.Samples = append(s.Samples, prometheustest.Sample{At: noon.Add(at), Value: value})
	}
	return s
}

const (
	five = 5 * time.Second
	ever = 5 * time.Minute
)

// samples is a cluster of applications whose canary lost its weight at noon.
func samples() []prometheustest.Series {
	both := func(app string, canary ...prometheustest.Series) []prometheustest.Series {
		return append(canary, counter(sent(app+"-primary", app+"-primary"), five, ever, ever))
	}
	restarted := counter(sent("restarted", "restarted-canary"), five, 0, ever)
	for i := range restarted.Samples {
		if restarted.Samples[i].At.After(noon.Add(12 * time.Second)) {
			restarted.Samples[i].Value = 0
		}
	}
	return slices.Concat(
		both("quiet", counter(sent("quiet", "quiet-canary"), five, 0, ever)),
		both("late", counter(sent("late", "late-canary"), five, 20*time.Second, ever)),
		both("sending", counter(sent("sending", "sending-canary"), five, ever, ever)),
		both("apex", counter(sent("apex", "apex"), five, ever, ever)),
		both("refused", counter(lost("refused-canary"), five, ever, ever)),
		both("restarted", restarted),
		both("vanished", counter(sent("vanished", "vanished-canary"), five, 0, -time.Second)),
		both("gone", counter(sent("gone", "gone-canary"), five, -time.Minute, -time.Minute)),
		both("uncalled"),
		both("direct", counter(sent("direct", "direct-canary"), five, 0, ever),
			counter(received("direct"), five, ever, ever)),
		[]prometheustest.Series{
			counter(received("blind"), five, 0, ever),
			counter(received("blind-sending"), five, ever, ever),
			counter(sent("slow", "slow-canary"), 30*time.Second, 0, ever),
			counter(sent("stopped-primary", "stopped-primary"), five, 0, 0),
			counter(strings.ReplaceAll(sent("away", "away-canary"), `"prod"`, `"other"`), five, ever, ever),
		})
}

// TestDrainOfAPrimary has applications that are served by their targets, or by their primaries still.
func TestDrainOfAPrimary(t *testing.T) {
	client, err := prometheus.New(prometheus.Config{URL: prometheustest.Start(t,
		counter(sent("ejected", "ejected"), five, ever, ever),
		counter(sent("ejected-primary", "ejected-primary"), five, 0, ever),
		counter(sent("served", "served"), five, ever, ever),
		counter(sent("served-primary", "served-primary"), five, ever, ever),
		counter(sent("apex-primary", "apex"), five, ever, ever))})
	if err != nil {
		t.Fatal(err)
	}
	states := map[string]drain.State{"ejected": drain.Quiet, "served": drain.Sending, "apex": drain.Sending}
	for app, want := range states {
		w := drain.Workload{Namespace: "prod", App: app, Primary: true}
		got, err := drain.Observe(t.Context(), client, w, noon, noon.Add(12*time.Second))
		if err != nil || got != want {
			t.Errorf("%s-primary is %s (%v), want %s", app, got, err, want)
		}
	}
	q := &past{client, noon}
	err = drain.Wait(t.Context(), q, drain.Workload{Namespace: "prod", App: "served", Primary: true}, 0, 10*time.Second,
		time.Minute, clock{q, 0})
	if err == nil || !strings.HasPrefix(err.Error(), "draining served-primary: still sending: gateway") {
		t.Errorf("error %v, want the primary named", err)
	}
}

func TestDrainWithRealPrometheus(t *testing.T) {
	client, err := prometheus.New(prometheus.Config{URL: prometheustest.Start(t, samples()...)})
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		at12, at60 drain.State
		waited     time.Duration
		text       string
	}{
		"quiet": {drain.Quiet, drain.Quiet, 12 * time.Second, ""},
		"late":  {drain.Sending, drain.Quiet, 22 * time.Second, ""},
		"sending": {drain.Sending, drain.Sending, 60 * time.Second,
			"draining sending-canary: still sending: gateway (source, code 200, 10 requests in 5s) after 1m0s: its " +
				"pods stay up"},
		"apex": {drain.Sending, drain.Sending, 60 * time.Second, "still sending: gateway"},
		"refused": {drain.Sending, drain.Sending, 60 * time.Second,
			"still sending: gateway (source, code 503, 10 requests in 5s)"},
		"restarted": {drain.Quiet, drain.Quiet, 12 * time.Second, ""},
		"vanished": {drain.Unknown, drain.Unknown, 60 * time.Second,
			"fewer than 2 scrapes since the change: gateway (source, code 200, 0 since the change) after 1m0s"},
		"gone":     {drain.Quiet, drain.Quiet, 12 * time.Second, ""},
		"uncalled": {drain.Quiet, drain.Quiet, 12 * time.Second, ""},
		"direct":   {drain.Quiet, drain.Quiet, 12 * time.Second, ""},
		"blind":    {drain.Unknown, drain.Unknown, 60 * time.Second, ""},
		"blind-sending": {drain.Sending, drain.Sending, 60 * time.Second,
			"still sending: gateway (destination, code 200"},
		"slow": {drain.Unknown, drain.Unknown, 62 * time.Second, ""},
		"stopped": {drain.Unknown, drain.Unknown, 60 * time.Second,
			"0 scrapes of the application since the change, want 2 after 1m0s"},
		"away":   {drain.Unknown, drain.Unknown, 60 * time.Second, ""},
		"nobody": {drain.Unknown, drain.Unknown, 60 * time.Second, ""},
	}
	for app, c := range cases {
		t.Run(app, func(t *testing.T) {
			w := drain.Workload{Namespace: "prod", App: app}
			for after, want := range map[time.Duration]drain.State{12 * time.Second: c.at12, time.Minute: c.at60,
				2 * time.Second: drain.Unknown} {
				got, err := drain.Observe(t.Context(), client, w, noon, noon.Add(after))
				if err != nil || got != want {
					t.Errorf("%s after the change it is %s, %v, want %s", after, got, err, want)
				}
			}
			for _, ahead := range []time.Duration{0, 5 * time.Minute, -5 * time.Minute} {
				q := &past{client, noon}
				err := drain.Wait(t.Context(), q, w, 0, 10*time.Second, time.Minute, clock{q, ahead})
				if waited := q.now.Sub(noon); waited != c.waited {
					t.Errorf("with a clock %s ahead waited %s, want %s", ahead, waited, c.waited)
				}
				if (err == nil) != (c.text == "") || err != nil && !strings.Contains(err.Error(), c.text) {
					t.Errorf("with a clock %s ahead error %v, want %q in it", ahead, err, c.text)
				}
				if err != nil && failure.Code(err) != failure.ExitError {
					t.Errorf("exit %d, want 1", failure.Code(err))
				}
			}
		})
	}

	t.Run("long after the change", func(t *testing.T) {
		for app, want := range map[string]time.Duration{"quiet": 0, "nobody": 0} {
			q := &past{client, noon.Add(3 * time.Minute)}
			err := drain.Wait(t.Context(), q, drain.Workload{Namespace: "prod", App: app}, 3*time.Minute,
				10*time.Second, time.Minute, clock{q, time.Hour})
			if waited := q.now.Sub(noon.Add(3 * time.Minute)); err != nil || waited != want {
				t.Errorf("%s waited %s, %v, want %s", app, waited, err, want)
			}
		}
	})
}

func TestWaitWithoutPrometheus(t *testing.T) {
	w := drain.Workload{Namespace: "prod", App: "podinfo"}
	q := &past{nil, noon.Add(5 * time.Second)}
	if err := drain.Wait(t.Context(), nil, w, 5*time.Second, 10*time.Second, time.Minute, clock{q, 0}); err != nil ||
		q.now != noon.Add(time.Minute) {
		t.Errorf("without an address it waits until %s, %v, want a minute from the change", q.now, err)
	}

	server := httptest.NewServer(nil)
	server.Close()
	client, err := prometheus.New(prometheus.Config{URL: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	q = &past{client, noon}
	if err := drain.Wait(t.Context(), client, w, 0, 10*time.Second, time.Minute, clock{q, 0}); err != nil ||
		q.now != noon.Add(time.Minute) {
		t.Errorf("without an answer it waits until %s, %v, want a minute from the change", q.now, err)
	}

	ctx, stop := context.WithCancelCause(t.Context())
	why := errors.New("SIGTERM")
	stop(why)
	if err := drain.Wait(ctx, client, w, 0, 10*time.Second, time.Minute, clock{&past{nil, noon}, 0}); !errors.Is(err,
		why) {
		t.Errorf("ended context: %v, want its cause", err)
	}
}
