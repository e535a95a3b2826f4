package prometheus_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/model"

	"github.com/serin-cd/serin/internal/prometheustest"
	"github.com/serin-cd/serin/pkg/judge/prometheus"
	"github.com/serin-cd/serin/pkg/task/failure"
)

func TestSamplesWithRealPrometheus(t *testing.T) {
	from := noon.Add(-3 * time.Hour)
	client := newClient(t, prometheus.Config{URL: prometheustest.Start(t,
		prometheustest.Steady(`counted{pod="old"}`, from, noon, 15*time.Second, 0, 1),
		prometheustest.Steady(`counted{pod="gone"}`, from, from.Add(40*time.Minute), 15*time.Second, 7, 1),
		prometheustest.Steady(`counted{pod="born"}`, noon.Add(-10*time.Minute), noon, 15*time.Second, 0, 1),
		prometheustest.Steady(`counted{pod="other",job="x"}`, from, noon, 15*time.Second, 0, 1))})
	cases := map[string]struct {
		span    time.Duration
		queries []string
		samples map[string]int // by pod
	}{
		"minutes":   {5 * time.Minute, []string{"[300s]"}, map[string]int{"old": 20, "born": 20}},
		"not whole": {time.Minute + time.Millisecond, []string{"[61s]"}, map[string]int{"old": 5, "born": 5}},
		"an hour":   {time.Hour, []string{"[3600s]"}, map[string]int{"old": 240, "born": 41}},
		"several pieces": {2*time.Hour + 50*time.Minute, []string{"[3600s]", "[3600s]", "[3000s]"},
			map[string]int{"old": 680, "born": 41, "gone": 120}},
		"nothing": {0, nil, map[string]int{}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			selector := prometheus.Select("counted", prometheus.Equal("job", ""))
			m, queries, err := prometheus.Samples(t.Context(), client, selector, noon.Add(-c.span), noon)
			if err != nil {
				t.Fatal(err)
			}
			var want []string
			for _, window := range c.queries {
				want = append(want, selector+window)
			}
			if diff := cmp.Diff(want, queries); diff != "" {
				t.Error("queries (-want +got)\n", diff)
			}
			got := map[string]int{}
			for _, s := range m {
				for i, sample := range s.Values {
					if i > 0 && sample.Timestamp <= s.Values[i-1].Timestamp {
						t.Errorf("%s: sample at %s after one at %s", s.Metric, sample.Timestamp,
							s.Values[i-1].Timestamp)
					}
					if sample.Timestamp.Time().After(noon.Add(-c.span)) {
						got[string(s.Metric["pod"])]++
					}
				}
			}
			if diff := cmp.Diff(c.samples, got); diff != "" {
				t.Error("samples (-want +got)\n", diff)
			}
		})
	}
}

// scalar is a Prometheus that answers everything with a number.
type scalar struct{}

func (scalar) Query(context.Context, string, time.Time) (model.Value, error) {
	return &model.Scalar{Value: 1}, nil
}

func TestSamplesWantsAMatrix(t *testing.T) {
	_, _, err := prometheus.Samples(t.Context(), scalar{}, "counted", noon.Add(-time.Minute), noon)
	if want := "querying counted[60s]: a scalar, want raw samples: is this Prometheus?"; !errors.Is(err,
		failure.ErrConfig) || err.Error() != want {
		t.Errorf("error %v, want %q as wrong configuration", err, want)
	}
}
