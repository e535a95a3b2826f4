package judge_test

import (
	"fmt"
	"slices"
	"time"

	"github.com/serin-cd/serin/internal/prometheustest"
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
		all = append(all, f.counter("istio_requests_total{"+f.labels(reporter, "200")+"}", offset,
			func(time.Duration) float64 { return f.good }))
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
			all = append(all, f.counter(fmt.Sprintf(`istio_request_duration_milliseconds_bucket{%s,le="%s"}`,
				f.labels(reporter, "200"), le), offset, rate))
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
		arms("paired", replica(steady, "a"), replica(kept, "a")),
		arms("paired", replica(steady, "b"), replica(kept, "b")),
		arms("worse", flow{good: 9.5, bad: 0.5}, flow{good: 40}),
		arms("broken", flow{bad: 10}, flow{good: 40}),
		arms("late", flow{good: 10, bad: 2, badFrom: 40 * time.Second}, flow{good: 40}),
		arms("idle", flow{from: quarter, good: 1}, flow{good: 40}),
		arms("outage", flow{good: 8, bad: 2}, flow{good: 32, bad: 8, badFrom: time.Second}),
		arms("slow", flow{good: 10, le: "100.0", slow: 0.2}, kept),
		arms("unshifted", flow{good: 0.5}, flow{good: 50}),
		arms("crashed", flow{bad: 10, workload: "unknown", reporters: []string{"source"}}, flow{good: 40}),
		arms("meshless", flow{good: 10, reporters: []string{"source"}}, flow{good: 40, reporters: []string{"source"}}),
		arms("blind", flow{good: 10, reporters: []string{"destination"}},
			flow{good: 40, reporters: []string{"destination"}}),
		arms("noisy", flow{good: 9.8, bad: 0.2}, flow{good: 39.2, bad: 0.8}),
		arms("thin", flow{good: 0.4}, flow{good: 1.6}),
		[]prometheustest.Series{
			prometheustest.Steady(`queue_depth{workload="steady"}`, noon, noon.Add(quarter), 5*time.Second, 12, 0),
			prometheustest.Steady(`queue_depth{workload="steady-primary"}`, noon, noon.Add(quarter), 5*time.Second, 11,
				0),
			prometheustest.Steady(`queue_depth{workload="worse"}`, noon, noon.Add(quarter), 5*time.Second, 3, 0),
		})
}
