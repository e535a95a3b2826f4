package simulation

import (
	"math"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
)

// pairs are samples each 15 s from a time in seconds on.
func pairs(from int64, values ...float64) (list []model.SamplePair) {
	for i, v := range values {
		list = append(list, model.SamplePair{Timestamp: model.Time(1000 * (from + 15*int64(i))),
			Value: model.SampleValue(v)})
	}
	return list
}

func TestIncrease(t *testing.T) {
	cases := map[string]struct {
		values []model.SamplePair
		want   float64
		none   bool
	}{
		"steady":             {pairs(5, 1000, 1015, 1030, 1045), 60, false},
		"a reset":            {pairs(5, 1000, 1015, 5, 20), 35 * 60.0 / 45, false},
		"not before it is 0": {pairs(5, 3, 48, 93, 138), 135 * (45 + 1 + 10.0) / 45, false},
		"born late":          {pairs(40, 1000, 1015), 15 * (15 + 7.5 + 5) / 15, false},
		"one":                {pairs(5, 7), 0, true},
	}
	for name, c := range cases {
		got, ok := increase(c.values, 0, 60000)
		if math.Abs(got-c.want) > 1e-9 || ok == c.none {
			t.Errorf("%s: %v, %v, want %v", name, got, ok, c.want)
		}
	}
}

func TestQuantile(t *testing.T) {
	bounds := []float64{100, 250, 500, math.Inf(1)}
	for _, c := range []struct {
		buckets []float64
		want    float64
	}{
		{[]float64{50, 90, 100, 100}, 475}, {[]float64{100, 100, 100, 100}, 99}, {[]float64{0, 0, 90, 100}, 500},
		{[]float64{0, 0, 0, 0}, math.NaN()},
	} {
		got := quantile(0.99, bounds, c.buckets)
		if got != c.want && !(math.IsNaN(got) && math.IsNaN(c.want)) {
			t.Errorf("99th percentile of %v is %v, want %v", c.buckets, got, c.want)
		}
	}
}

func TestStrangeQuestions(t *testing.T) {
	s := newStore(world(1, 0, 0))
	for _, text := range []string{"up", "rate(x{}[1m])", `x{a="b"}[1x]`, `x{a=~"("}[1m]`} {
		if _, err := s.question(text); err == nil || !strings.Contains(err.Error(), "reading "+text) {
			t.Errorf("%s: error %v, want one", text, err)
		}
	}
}
