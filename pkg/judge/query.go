package judge

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/common/model"

	"github.com/serin-cd/serin/pkg/judge/prometheus"
	"github.com/serin-cd/serin/pkg/task/failure"
)

// Istio's standard metrics.
const (
	requests  = "istio_requests_total"
	durations = "istio_request_duration_milliseconds"
)

// querier is all that judging asks of Prometheus.
type querier interface {
	Now(context.Context) (time.Time, error)
	Query(context.Context, string, time.Time) (model.Value, error)
}

// view is how requests are looked at: as one reporter counts them, and by what tells the arms apart.
type view struct{ reporter, split string }

// of selects the canary's series of a metric. A proxy that calls knows the Service it meant, even where no
// pod answered; a proxy that is called knows its own workload.
func (t Target) of(v view, metric string, more ...string) string {
	matchers := []string{prometheus.Equal("reporter", v.reporter),
		prometheus.Equal("destination_service_namespace", t.Namespace), prometheus.OneOf("destination_service_name", t.CanaryService)}
	if v.reporter == "destination" && v.split != "service" || v.split == "workload" {
		matchers = []string{prometheus.Equal("reporter", v.reporter),
			prometheus.Equal("destination_workload_namespace", t.Namespace), prometheus.OneOf("destination_workload", t.Canary)}
	}
	return prometheus.Select(metric, append(matchers, more...)...)
}

func totalQuery(t Target, v view, window time.Duration) string {
	return "sum(rate(" + t.of(v, requests) + prometheus.Window(window) + "))"
}

func goodQuery(t Target, v view, window time.Duration) string {
	return "sum(rate(" + t.of(v, requests, prometheus.Unlike("response_code", "5.*")) + prometheus.Window(window) + "))"
}

func durationQuery(t Target, v view, window time.Duration) string {
	return "histogram_quantile(0.99, sum(rate(" + t.of(v, durations+"_bucket") + prometheus.Window(window) + ")) by (le))"
}

// instant measures metrics at one instant, and asks nothing twice.
type instant struct {
	*Judge
	q      querier
	at     time.Time
	totals map[time.Duration]traffic
	asked  []string // since the metric began
}

// traffic is what one reporter counted in a window.
type traffic struct {
	reporter string
	rate     float64 // requests in a second, 0 where there are none
}

// measureAll measures every metric.
func (i *instant) measureAll(ctx context.Context) ([]Measurement, error) {
	list := make([]Measurement, 0, len(i.metrics))
	for _, m := range i.metrics {
		i.asked = nil
		measurement, err := i.measure(ctx, m)
		if err != nil {
			return nil, err
		}
		measurement.Queries = i.asked
		list = append(list, measurement)
	}
	return list, nil
}

func (i *instant) measure(ctx context.Context, m Metric) (Measurement, error) {
	if !m.builtIn() {
		value, err := i.one(ctx, m, m.Query)
		return measured(m, value), err
	}
	t, err := i.traffic(ctx, m)
	if err != nil {
		return Measurement{}, err
	}
	var value *float64
	switch {
	case t.rate == 0:
	case m.Name == successRate:
		value, err = i.one(ctx, m, goodQuery(i.target, i.view(t.reporter), m.window))
		value = percent(value, t.rate)
	default:
		value, err = i.one(ctx, m, durationQuery(i.target, i.view(t.reporter), m.window))
	}
	result := measured(m, value)
	result.of, result.Reporter, result.Requests = i.target.Canary, t.reporter, t.rate*m.window.Seconds()
	return result, err
}

func (i *instant) view(reporter string) view { return view{reporter, i.config.Sequential.Split} }

// percent is 0 where nothing was good: then there is no such series.
func percent(good *float64, total float64) *float64 {
	share := 0.0
	if good != nil {
		share = min(100*(*good)/total, 100)
	}
	return &share
}

// traffic takes the reporter that has data: each counts every request, so they are never added up.
func (i *instant) traffic(ctx context.Context, m Metric) (traffic, error) {
	if t, known := i.totals[m.window]; known {
		return t, nil
	}
	reporters := []string{i.config.Reporter}
	if i.config.Reporter == "auto" {
		reporters = []string{"destination", "source"}
	}
	var found traffic
	for _, reporter := range reporters {
		total, err := i.one(ctx, m, totalQuery(i.target, i.view(reporter), m.window))
		if err != nil {
			return traffic{}, err
		}
		if total != nil && *total > 0 {
			found = traffic{reporter, *total}
			break
		}
	}
	i.totals[m.window] = found
	return found, nil
}

// one evaluates an expression that has one value, or none.
func (i *instant) one(ctx context.Context, m Metric, promql string) (*float64, error) {
	i.asked = append(i.asked, promql)
	value, err := i.q.Query(ctx, promql, i.at)
	if err != nil {
		return nil, fmt.Errorf("measuring %s: %w", m.Name, err)
	}
	switch v := value.(type) {
	case *model.Scalar:
		number := float64(v.Value)
		return &number, nil
	case model.Vector:
		if len(v) == 0 {
			return nil, nil
		}
		if len(v) == 1 && v[0].Histogram == nil {
			number := float64(v[0].Value)
			return &number, nil
		}
		if len(v) > 1 {
			return nil, failure.Configf("querying %s: %d series, want 1: aggregate with sum or max", m.Name, len(v))
		}
		return nil, failure.Configf("querying %s: a native histogram, want a number: use histogram_quantile", m.Name)
	}
	return nil, failure.Configf("querying %s: a %s, want a number for each instant", m.Name, value.Type())
}
