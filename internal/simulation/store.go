package simulation

import (
	"context"
	"math"
	"sort"
	"strconv"
	"time"

	"github.com/prometheus/common/model"

	"github.com/serin-cd/serin/pkg/judge/counting"
)

// noon is when every rollout starts.
var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// store is what a Prometheus holds. Its series are those of one world; each run fills them anew.
type store struct {
	durations *durations
	reporter  counting.Reporter
	replicas  int
	epoch     model.Time // of the start
	series    []series
	first     map[seriesKey]int
	asked     map[string]*question
	selectors map[string]*selector
}

// series is one of a proxy, with the samples of a run.
type series struct {
	metric model.Metric
	le     float64
	values []model.SamplePair
}

type seriesKey struct{ proxy, arm, replica int }

func newStore(w World) *store {
	s := &store{durations: w.durations, reporter: counting.Source, replicas: w.scrapes.replicas,
		epoch: model.TimeFromUnixNano(noon.UnixNano()), first: map[seriesKey]int{}, asked: map[string]*question{},
		selectors: map[string]*selector{}}
	if w.scrapes.called {
		s.reporter = counting.Destination
	}
	return s
}

// clear forgets the samples.
func (s *store) clear() {
	for i := range s.series {
		s.series[i].values = s.series[i].values[:0]
	}
}

// append adds a sample to a series, the newest.
func (s *store) append(series int, at model.Time, value float64) {
	to := &s.series[series].values
	*to = append(*to, model.SamplePair{Timestamp: at, Value: model.SampleValue(value)})
}

// buckets is how many an arm's histograms have.
func (s *store) buckets(arm int) int {
	if s.durations == nil {
		return 0
	}
	return len(s.durations.told[arm]) + 1
}

// seriesOf is the index of the first series of a proxy's arm: for each code its requests, then its buckets in order.
func (s *store) seriesOf(proxy, arm, replica int) int {
	key := seriesKey{proxy, arm, replica}
	if first, known := s.first[key]; known {
		return first
	}
	first := len(s.series)
	for _, code := range []model.LabelValue{"200", "503"} {
		s.add(key, counting.Requests, code, math.NaN())
		if s.durations == nil {
			continue
		}
		for _, i := range s.durations.told[arm] {
			s.add(key, counting.Durations, code, s.durations.bounds[i])
		}
		s.add(key, counting.Durations, code, math.Inf(1))
	}
	s.first[key] = first
	return first
}

func (s *store) add(key seriesKey, name, code model.LabelValue, le float64) {
	workload := [arms]model.LabelValue{application, application + "-primary"}[key.arm]
	service := [arms]model.LabelValue{application + "-canary", application + "-primary"}[key.arm]
	pod := "gateway-"
	if s.reporter == counting.Destination {
		pod = string(workload) + "-"
	}
	m := model.Metric{model.MetricNameLabel: name, "reporter": model.LabelValue(s.reporter), "response_code": code,
		"destination_service_name": service, "destination_service_namespace": namespace,
		"destination_workload": workload, "destination_workload_namespace": namespace,
		"pod": model.LabelValue(pod + strconv.Itoa(key.proxy))}
	if s.replicas > 1 {
		m["prometheus_replica"] = model.LabelValue(strconv.Itoa(key.replica))
	}
	if !math.IsNaN(le) {
		m[model.BucketLabel] = model.LabelValue(strconv.FormatFloat(le, 'f', -1, 64))
	}
	s.series = append(s.series, series{metric: m, le: le})
}

// within are the samples after one time and up to another, which nobody may append to.
func (s *series) within(after, upTo model.Time) []model.SamplePair {
	begin := sort.Search(len(s.values), func(i int) bool { return s.values[i].Timestamp > after })
	end := sort.Search(len(s.values), func(i int) bool { return s.values[i].Timestamp > upTo })
	return s.values[begin:end:end]
}

// prometheus answers the judge about a run.
type prometheus struct{ *life }

// Now is the time that its clock shows.
func (p prometheus) Now(context.Context) (time.Time, error) { return p.time(), nil }

// Query evaluates what the judge asks.
func (p prometheus) Query(_ context.Context, text string, at time.Time) (model.Value, error) {
	q, err := p.store.question(text)
	if err != nil {
		return nil, err
	}
	return q.answer(p.store, model.TimeFromUnixNano(at.UnixNano())), nil
}

// clock is the judge's own, which passes as soon as somebody waits.
type clock struct {
	*life
	passed chan time.Time
}

// Now is the time that it shows.
func (c clock) Now() time.Time { return c.time() }

// After lets time pass.
func (c clock) After(d time.Duration) <-chan time.Time {
	c.passes(int((d + time.Second - 1) / time.Second))
	c.passed <- c.time()
	return c.passed
}

func (l *life) time() time.Time { return noon.Add(time.Duration(l.now) * time.Second) }
