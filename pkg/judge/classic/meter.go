package classic

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/common/model"

	"github.com/serin-cd/serin/pkg/judge/verdict"
	"github.com/serin-cd/serin/pkg/task/failure"
)

// Meter measures the metrics of a subject.
type Meter struct {
	Subject  Subject
	Metrics  []Metric // filled in
	Reporter string   // which proxy counts, auto for one that has data
	Split    string   // what tells the arms apart: service, workload, or auto
}

// querier is all that measuring asks of Prometheus.
type querier interface {
	Query(context.Context, string, time.Time) (model.Value, error)
}

// Instant measures at one instant, and asks nothing twice.
type Instant struct {
	Meter
	q      querier
	at     time.Time
	totals map[time.Duration]traffic
	asked  []string // since the metric began
}

// At measures at an instant.
func (m Meter) At(q querier, at time.Time) *Instant {
	return &Instant{Meter: m, q: q, at: at, totals: map[time.Duration]traffic{}}
}

// traffic is what one reporter counted in a window.
type traffic struct {
	reporter string
	rate     float64 // requests in a second, 0 where there are none
}

// MeasureAll measures every metric.
func (i *Instant) MeasureAll(ctx context.Context) ([]verdict.Measurement, error) {
	list := make([]verdict.Measurement, 0, len(i.Metrics))
	for _, m := range i.Metrics {
		measurement, err := i.Measure(ctx, m)
		if err != nil {
			return nil, err
		}
		list = append(list, measurement)
	}
	return list, nil
}

// Measure measures one metric.
func (i *Instant) Measure(ctx context.Context, m Metric) (verdict.Measurement, error) {
	i.asked = nil
	measurement := verdict.Measurement{Name: m.Name, Min: m.Min, Max: m.Max, Window: m.Interval}
	var value *float64
	var err error
	if m.builtIn() {
		value, err = i.builtIn(ctx, m, &measurement)
	} else {
		value, err = i.one(ctx, m, m.Query)
	}
	measurement.Queries = i.asked
	return measurement.Found(value), err
}

// builtIn measures one of Istio's standard metrics, and says who counted it.
func (i *Instant) builtIn(ctx context.Context, m Metric, into *verdict.Measurement) (*float64, error) {
	t, err := i.traffic(ctx, m)
	if err != nil {
		return nil, err
	}
	count := verdict.Count(t.rate * m.window.Seconds())
	into.Reporter, into.Requests, into.Source = t.reporter, &count, requests+" of "+i.Subject.Name
	if m.Name == verdict.RequestDuration {
		into.Source = durations + " of " + i.Subject.Name
	}
	switch {
	case t.rate == 0:
		return nil, nil
	case m.Name == verdict.SuccessRate:
		good, err := i.one(ctx, m, goodQuery(i.Subject, i.view(t.reporter), m.window))
		return percent(good, t.rate), err
	}
	return i.one(ctx, m, durationQuery(i.Subject, i.view(t.reporter), m.window))
}

func (i *Instant) view(reporter string) view { return view{reporter, i.Split} }

// percent is 0 where nothing was good: then there is no such series.
func percent(good *float64, total float64) *float64 {
	share := 0.0
	if good != nil {
		share = min(100*(*good)/total, 100)
	}
	return &share
}

// traffic takes the reporter that has data: each counts every request, so they are never added up.
func (i *Instant) traffic(ctx context.Context, m Metric) (traffic, error) {
	if t, known := i.totals[m.window]; known {
		return t, nil
	}
	reporters := []string{i.Reporter}
	if i.Reporter == "auto" {
		reporters = []string{"destination", "source"}
	}
	var found traffic
	for _, reporter := range reporters {
		total, err := i.one(ctx, m, totalQuery(i.Subject, i.view(reporter), m.window))
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
func (i *Instant) one(ctx context.Context, m Metric, promql string) (*float64, error) {
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
