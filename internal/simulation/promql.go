package simulation

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/common/model"
)

// question is a query of one of the three shapes that judges ask: raw samples, a rate summed up, and a quantile.
type question struct {
	shape    string
	selector *selector
	window   time.Duration
}

var shapes = regexp.MustCompile(`^(sum\(rate\(|histogram_quantile\(0\.99, sum\(rate\(|)(\w+)\{(.*)\}\[(\w+)\]` +
	`(?:\)\)|\)\) by \(le\)\)|)$`)

var matcher = regexp.MustCompile(`(\w+)(=~|!~|=)("(?:[^"\\]|\\.)*")`)

// question reads a query; it reads each once.
func (s *store) question(text string) (*question, error) {
	if q, known := s.asked[text]; known {
		return q, nil
	}
	parts := shapes.FindStringSubmatch(text)
	if parts == nil {
		return nil, fmt.Errorf("reading %s: want raw samples, a sum of rates or a quantile", text)
	}
	window, err := model.ParseDuration(parts[4])
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", text, err)
	}
	of, err := s.selectorOf(parts[2], parts[3])
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", text, err)
	}
	q := &question{shape: parts[1], selector: of, window: time.Duration(window)}
	s.asked[text] = q
	return q, nil
}

// selector is some of the series.
type selector struct {
	matches []func(model.Metric) bool
	known   int // series that were looked at
	found   []int
}

func (s *store) selectorOf(name, matchers string) (*selector, error) {
	if of, known := s.selectors[name+matchers]; known {
		return of, nil
	}
	of := &selector{}
	of.matches = append(of.matches, func(m model.Metric) bool { return string(m[model.MetricNameLabel]) == name })
	for _, parts := range matcher.FindAllStringSubmatch(matchers, -1) {
		value, err := strconv.Unquote(parts[3])
		if err != nil {
			return nil, err
		}
		if parts[2] == "=" {
			value = regexp.QuoteMeta(value)
		}
		regex, err := regexp.Compile("^(?:" + value + ")$")
		if err != nil {
			return nil, err
		}
		label, wanted := model.LabelName(parts[1]), parts[2] != "!~"
		of.matches = append(of.matches, func(m model.Metric) bool {
			return regex.MatchString(string(m[label])) == wanted
		})
	}
	s.selectors[name+matchers] = of
	return of, nil
}

// of are the indices of the series that a selector matches.
func (of *selector) of(s *store) []int {
	for ; of.known < len(s.series); of.known++ {
		m := s.series[of.known].metric
		if !slices.ContainsFunc(of.matches, func(matches func(model.Metric) bool) bool { return !matches(m) }) {
			of.found = append(of.found, of.known)
		}
	}
	return of.found
}

func (q *question) answer(s *store, at model.Time) model.Value {
	switch q.shape {
	case "":
		return q.raw(s, at)
	case "sum(rate(":
		return value(q.rates(s, at, func(series) float64 { return 0 })[0], at)
	}
	sums := q.rates(s, at, func(of series) float64 { return of.le })
	bounds := slices.SortedFunc(maps.Keys(sums), cmp.Compare)
	var buckets []float64
	for _, le := range bounds {
		buckets = append(buckets, *sums[le])
	}
	if len(bounds) == 0 {
		return value(nil, at)
	}
	p99 := quantile(0.99, bounds, buckets)
	return value(&p99, at)
}

func value(v *float64, at model.Time) model.Vector {
	if v == nil {
		return model.Vector{}
	}
	return model.Vector{{Value: model.SampleValue(*v), Timestamp: at}}
}

// raw hands out samples as they are stored.
func (q *question) raw(s *store, at model.Time) model.Matrix {
	indices := q.selector.of(s)
	streams := make([]model.SampleStream, 0, len(indices))
	answer := make(model.Matrix, 0, len(indices))
	for _, i := range indices {
		of := &s.series[i]
		if len(of.values) == 0 {
			continue
		}
		if values := of.within(at.Add(-q.window), at); len(values) > 0 {
			streams = append(streams, model.SampleStream{Metric: of.metric, Values: values})
			answer = append(answer, &streams[len(streams)-1])
		}
	}
	return answer
}

// rates sums the rates of series by a key.
func (q *question) rates(s *store, at model.Time, by func(series) float64) map[float64]*float64 {
	sums := map[float64]*float64{}
	for _, i := range q.selector.of(s) {
		r, ok := increase(s.series[i].within(at.Add(-q.window), at), at.Add(-q.window), at)
		if !ok {
			continue
		}
		key := by(s.series[i])
		if sums[key] == nil {
			sums[key] = new(float64)
		}
		*sums[key] += r / q.window.Seconds()
	}
	return sums
}

// increase extrapolates to the ends of a window as Prometheus 3 does (extrapolatedRate in promql/functions.go).
func increase(values []model.SamplePair, from, to model.Time) (float64, bool) {
	if len(values) < 2 {
		return 0, false
	}
	first, last := values[0], values[len(values)-1]
	result := float64(last.Value - first.Value)
	for i := 1; i < len(values); i++ {
		if values[i].Value < values[i-1].Value {
			result += float64(values[i-1].Value)
		}
	}
	sampled := last.Timestamp.Sub(first.Timestamp).Seconds()
	gap := sampled / float64(len(values)-1)
	begin, end := first.Timestamp.Sub(from).Seconds(), to.Sub(last.Timestamp).Seconds()
	if begin >= 1.1*gap {
		begin = gap / 2
	}
	if result > 0 && first.Value >= 0 {
		begin = min(begin, sampled*float64(first.Value)/result)
	}
	if end >= 1.1*gap {
		end = gap / 2
	}
	return result * (sampled + begin + end) / sampled, true
}
