package replay_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/serin-cd/serin/internal/prometheustest"
	"github.com/serin-cd/serin/pkg/judge"
	"github.com/serin-cd/serin/pkg/judge/prometheus"
	"github.com/serin-cd/serin/pkg/report/replay"
)

// flow is what an arm answers in a second, from a time after noon on.
type flow struct {
	good, bad float64
	from      time.Duration
	slow      float64 // share of the requests that take over 100 ms
}

const past = -16 * time.Minute

// arm is a flow as callers count it, scraped every 5 s until a quarter past twelve.
func arm(workload, service string, f flow) (all []prometheustest.Series) {
	counter := func(name, more string, rate float64) {
		if rate > 0 {
			labels := fmt.Sprintf(`%s{reporter="source",destination_workload="%s",destination_workload_namespace="shop",destination_service_name="%s",destination_service_namespace="shop",pod="gateway-1",%s}`,
				name, workload, service, more)
			all = append(all, prometheustest.Steady(labels, noon.Add(f.from+time.Second), noon.Add(15*time.Minute),
				5*time.Second, 5*rate, 5*rate))
		}
	}
	counter("istio_requests_total", `response_code="200"`, f.good)
	counter("istio_requests_total", `response_code="503"`, f.bad)
	n := f.good + f.bad
	for le, rate := range map[string]float64{"25": 0, "100": n * (1 - f.slow), "500": n, "+Inf": n} {
		counter("istio_request_duration_milliseconds_bucket", fmt.Sprintf(`response_code="200",le="%s"`, le), rate)
	}
	return all
}

func deployed(name string, canary, primary flow) []prometheustest.Series {
	primary.from = past
	return append(arm(name, name+"-canary", canary), arm(name+"-primary", name+"-primary", primary)...)
}

// shop has an application of each kind, whose canaries get a fifth of the traffic from noon on.
func shop(t *testing.T) *prometheus.Client {
	t.Helper()
	kept := flow{good: 40}
	var all []prometheustest.Series
	for name, canary := range map[string]flow{
		"healthy": {good: 10}, "bad": {good: 9.5, bad: 0.5}, "broken": {bad: 10}, "slow": {good: 10, slow: 0.2},
		"thin": {good: 0.4},
		"idle": {good: 1, from: 14 * time.Minute},
	} {
		all = append(all, deployed(name, canary, kept)...)
	}
	return clientOf(t, prometheustest.Start(t, all...))
}

func clientOf(t *testing.T, url string) *prometheus.Client {
	t.Helper()
	client, err := prometheus.New(prometheus.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func rolloutOf(t *testing.T, app, rollout string) replay.Rollout {
	t.Helper()
	r, err := replay.ParseRollout(rollout, judge.Target{Namespace: "shop", Canary: app, Primary: app + "-primary"})
	if err != nil {
		t.Fatal(err)
	}
	return r
}
