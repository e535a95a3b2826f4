package classic

import (
	"time"

	"github.com/serin-cd/serin/pkg/judge/prometheus"
)

// Istio's standard metrics.
const (
	requests  = "istio_requests_total"
	durations = "istio_request_duration_milliseconds"
)

// view is how requests are looked at: as one reporter counts them, and by what tells the arms apart.
type view struct{ reporter, split string }

// series selects a subject's series of a metric. A proxy that calls knows the Service it meant, even where no
// pod answered; a proxy that is called knows its own workload.
func (s Subject) series(v view, metric string, more ...string) string {
	kind, name := "service", prometheus.OneOf("destination_service_name", s.Service)
	if v.reporter == "destination" && v.split != "service" || v.split == "workload" {
		kind, name = "workload", prometheus.OneOf("destination_workload", s.Name)
	}
	matchers := []string{prometheus.Equal("reporter", v.reporter),
		prometheus.Equal("destination_"+kind+"_namespace", s.Namespace), name}
	return prometheus.Select(metric, append(matchers, more...)...)
}

func totalQuery(s Subject, v view, window time.Duration) string {
	return "sum(rate(" + s.series(v, requests) + prometheus.Window(window) + "))"
}

func goodQuery(s Subject, v view, window time.Duration) string {
	failed := prometheus.Unlike("response_code", "5.*")
	return "sum(rate(" + s.series(v, requests, failed) + prometheus.Window(window) + "))"
}

func durationQuery(s Subject, v view, window time.Duration) string {
	buckets := s.series(v, durations+"_bucket") + prometheus.Window(window)
	return "histogram_quantile(0.99, sum(rate(" + buckets + ")) by (le))"
}
