package judge_test

import (
	"fmt"
	"slices"
	"time"

	"github.com/serin-cd/serin/internal/prometheustest"
)

// counted is ten minutes of requests from noon on, so many a second and code, scraped every 5 s.
func counted(labels string, rates map[string]float64) (series []prometheustest.Series) {
	for code, rate := range rates {
		counter := fmt.Sprintf(`istio_requests_total{%s,response_code="%s"}`, labels, code)
		series = append(series, prometheustest.Steady(counter,
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
		bucket := fmt.Sprintf(`istio_request_duration_milliseconds_bucket{%s,le="%s"}`, labels, le)
		series = append(series, prometheustest.Steady(bucket,
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
			prometheustest.Steady(`queue_depth{workload="healthy",queue="a"}`, noon, noon.Add(10*time.Minute),
				5*time.Second, 12, 0),
			prometheustest.Steady(`queue_depth{workload="healthy",queue="b"}`, noon, noon.Add(10*time.Minute),
				5*time.Second, 3, 0),
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
