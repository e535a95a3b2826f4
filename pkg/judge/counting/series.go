package counting

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"sort"
	"strings"

	"github.com/prometheus/common/model"
)

// never is later than any sample.
const never = model.Time(math.MaxInt64)

// replicaLabels may differ between two series that count the same requests: those of a pair of
// Prometheus, or of one proxy that two jobs scrape.
var replicaLabels = []string{"job", "instance", "endpoint", "container", "prometheus", "prometheus_replica", "replica"}

// series is one counter of one proxy inside a window.
type series struct {
	metric  model.Metric
	arm     arm
	le      float64 // of a bucket
	labels  string  // all of them, in order
	same    string  // those that a duplicate shares
	family  string  // those that the buckets of one histogram share
	proxy   string
	replica string             // those in which the replicas differ
	samples []model.SamplePair // in order of time, all of them numbers
	blank   []model.Time       // of scrapes that brought no number
	void    model.Time         // from which it is known to count what another series counts
}

func (s *series) first() model.Time { return s.samples[0].Timestamp }

// seriesOf reads an answer: the samples after one time and up to another.
func (r Reader) seriesOf(m model.Matrix, from, to model.Time) ([]*series, error) {
	labels := labeller{ignored: map[model.LabelName]bool{}}
	for _, label := range append(slices.Clone(replicaLabels), r.ReplicaLabels...) {
		labels.ignored[model.LabelName(label)] = true
	}
	var list []*series
	for _, stream := range m {
		s := &series{metric: stream.Metric, arm: r.Selection.arm(stream.Metric), void: never}
		if s.arm == neither {
			continue
		}
		if err := s.read(stream.Values, from, to); err != nil {
			return nil, fmt.Errorf("reading %s of %s: %w", s.metric[model.MetricNameLabel], r.Selection.nameOf(s.arm),
				err)
		}
		if len(s.samples) == 0 {
			continue
		}
		if err := labels.label(s); err != nil {
			return nil, fmt.Errorf("reading %s of %s: %w", s.metric[model.MetricNameLabel], r.Selection.nameOf(s.arm),
				err)
		}
		list = append(list, s)
	}
	return merged(list), nil
}

// read keeps the samples inside a window. It copies them only where some have to be left out.
func (s *series) read(samples []model.SamplePair, from, to model.Time) error {
	clean := true
	for i, sample := range samples {
		v := float64(sample.Value)
		switch {
		case math.IsNaN(v) || i > 0 && sample.Timestamp <= samples[i-1].Timestamp:
			clean = false
		case v < 0 || math.IsInf(v, 0):
			return fmt.Errorf("sample %v, want a counter", v)
		}
	}
	if !clean {
		for _, sample := range samples {
			if math.IsNaN(float64(sample.Value)) && sample.Timestamp > from && sample.Timestamp <= to {
				s.blank = append(s.blank, sample.Timestamp)
			}
		}
		samples = cleaned(samples)
	}
	begin := sort.Search(len(samples), func(i int) bool { return samples[i].Timestamp > from })
	end := sort.Search(len(samples), func(i int) bool { return samples[i].Timestamp > to })
	s.samples = samples[begin:max(begin, end)]
	s.blank = slices.DeleteFunc(s.blank, func(at model.Time) bool {
		return len(s.samples) == 0 || at < s.first() // it was not met yet
	})
	return nil
}

// cleaned is samples in order, without those that are no numbers, each time once.
func cleaned(samples []model.SamplePair) []model.SamplePair {
	samples = slices.DeleteFunc(slices.Clone(samples), func(p model.SamplePair) bool {
		return math.IsNaN(float64(p.Value))
	})
	slices.SortFunc(samples, func(a, b model.SamplePair) int {
		return cmp.Or(cmp.Compare(a.Timestamp, b.Timestamp), cmp.Compare(a.Value, b.Value))
	})
	return slices.CompactFunc(samples, func(a, b model.SamplePair) bool { return a.Timestamp == b.Timestamp })
}

// labeller writes down what series are compared by.
type labeller struct {
	ignored map[model.LabelName]bool
	names   []model.LabelName // of the last series, in order: the next one mostly has the same
	counts  []bool            // whether each tells requests apart
	values  []model.LabelValue
	buffer  []byte
}

func (l *labeller) label(s *series) error {
	if le, ok := s.metric[model.BucketLabel]; ok {
		if s.le, ok = bound(string(le)); !ok {
			return fmt.Errorf("le %q, want a number", le)
		}
	}
	l.order(s.metric)
	s.proxy = proxyOf(s.metric)
	s.labels = l.written(s, nil, func(int) bool { return true })
	s.same = l.written(s, []byte(s.proxy), func(i int) bool { return l.counts[i] })
	s.replica = l.written(s, nil, func(i int) bool { return !l.counts[i] })
	if s.metric[model.BucketLabel] != "" {
		s.family = l.written(s, nil, func(i int) bool { return l.names[i] != model.BucketLabel })
	}
	return nil
}

// order sorts labels by their names.
func (l *labeller) order(m model.Metric) {
	l.values = l.values[:0]
	for _, name := range l.names {
		value, ok := m[name]
		if !ok {
			break
		}
		l.values = append(l.values, value)
	}
	if len(l.values) == len(m) && len(l.names) == len(m) {
		return
	}
	l.names, l.values = l.names[:0], l.values[:0]
	for name := range m {
		l.names = append(l.names, name)
	}
	slices.Sort(l.names)
	l.counts = l.counts[:0]
	for _, name := range l.names {
		l.values = append(l.values, m[name])
		l.counts = append(l.counts, !l.ignored[name])
	}
}

func (l *labeller) written(s *series, head []byte, wanted func(int) bool) string {
	text := append(l.buffer[:0], head...)
	for i, name := range l.names {
		if !wanted(i) {
			continue
		}
		text = append(append(append(text, 0), name...), 1)
		if name == model.BucketLabel {
			text = append(text, spelled(s.le)...)
		} else {
			text = append(text, l.values[i]...)
		}
	}
	l.buffer = text
	return string(text)
}

// proxyOf names the proxy that counted.
func proxyOf(m model.Metric) string {
	for _, name := range []model.LabelName{"pod", "kubernetes_pod_name", "pod_name"} {
		if m[name] != "" {
			return string(m[name])
		}
	}
	instance := string(m[model.InstanceLabel])
	if colon := strings.LastIndexByte(instance, ':'); colon >= 0 {
		return instance[:colon]
	}
	return instance
}

// merged makes one series of those that differ only in how le is written, in the order of their labels.
func merged(list []*series) []*series {
	slices.SortStableFunc(list, func(a, b *series) int { return strings.Compare(a.labels, b.labels) })
	kept := list[:0]
	for _, s := range list {
		if n := len(kept); n > 0 && kept[n-1].labels == s.labels {
			kept[n-1].samples = cleaned(append(slices.Clone(kept[n-1].samples), s.samples...))
			kept[n-1].blank = append(kept[n-1].blank, s.blank...)
			continue
		}
		kept = append(kept, s)
	}
	return kept
}

// voided finds the series that count what another one counts: same proxy, same labels but those of
// replicas, overlapping in time. The one that began earlier counts, on a tie the first by its labels: later
// samples cannot turn that. It says whether there were any.
func voided(list []*series) bool {
	groups := map[string][]*series{}
	for _, s := range list {
		groups[s.same] = append(groups[s.same], s)
	}
	found := false
	for _, group := range groups {
		if len(group) < 2 {
			continue
		}
		slices.SortStableFunc(group, func(a, b *series) int { return cmp.Compare(a.first(), b.first()) })
		for i, s := range group {
			for _, earlier := range group[:i] {
				if at := earlier.seenFrom(s.first()); at < earlier.void {
					s.void = min(s.void, at)
				}
			}
			found = found || s.void != never
		}
	}
	return found
}

// seenFrom is the time of the first sample at or after a time.
func (s *series) seenFrom(at model.Time) model.Time {
	i := sort.Search(len(s.samples), func(i int) bool { return s.samples[i].Timestamp >= at })
	if i == len(s.samples) {
		return never
	}
	return s.samples[i].Timestamp
}
