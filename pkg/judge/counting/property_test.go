package counting

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/common/model"

	"github.com/serin-cd/serin/pkg/judge/sequential"
)

// wild is an answer with everything that happens to counters: pods that come and go, restarts, gaps, new
// codes, two spellings of le, values that are no numbers.
func wild(r *rand.Rand, metric string) model.Matrix {
	var m model.Matrix
	for pod := range 2 + r.IntN(5) {
		workload := "app-primary"
		if pod%2 == 0 {
			workload = "app"
		}
		from := -700 + r.IntN(900)
		to := from + 100 + r.IntN(900)
		offset := r.IntN(15000)
		for _, code := range []string{"200", "404", "503"}[:1+r.IntN(3)] {
			for _, le := range []string{"100", "100.0", "250", "+Inf"} {
				labels := model.Metric{"__name__": model.LabelValue(metric),
					"destination_workload": model.LabelValue(workload),
					"response_code":        model.LabelValue(code)}
				name := []model.LabelName{"pod", "kubernetes_pod_name", "pod_name"}[pod%3]
				labels[name] = model.LabelValue(fmt.Sprint(workload, "-", pod))
				if metric == Durations {
					labels["le"] = model.LabelValue(le)
				}
				m = append(m, &model.SampleStream{Metric: labels, Values: counted(r, from, to, offset)})
				if metric == Requests {
					break
				}
			}
		}
	}
	return m
}

func counted(r *rand.Rand, from, to, offset int) []model.SamplePair {
	var samples []model.SamplePair
	value := float64(r.IntN(2000))
	if r.IntN(3) > 0 {
		value = 0
	}
	for s := from; s < to; s += 15 {
		switch r.IntN(25) {
		case 0:
			value = float64(r.IntN(5)) // a restart
		case 1:
			continue // a missed scrape
		case 2:
			samples = append(samples, model.SamplePair{Timestamp: at(s*1000 + offset),
				Value: model.SampleValue(math.NaN())})
			continue
		}
		value += float64(r.IntN(30))
		samples = append(samples, model.SamplePair{Timestamp: at(s*1000 + offset), Value: model.SampleValue(value)})
	}
	return samples
}

func at(milliseconds int) model.Time {
	return model.TimeFromUnixNano(noon.UnixNano()) + model.Time(milliseconds)
}

func wide(end time.Duration) Window {
	return Window{Start: noon, End: noon.Add(end), Grid: 15 * time.Second, Settle: 5 * time.Second, Busiest: 100}
}

func until(m model.Matrix, end time.Duration) model.Matrix {
	var cut model.Matrix
	for _, s := range m {
		values := slices.DeleteFunc(slices.Clone(s.Values),
			func(p model.SamplePair) bool { return p.Timestamp.Time().After(noon.Add(end)) })
		if len(values) > 0 {
			cut = append(cut, &model.SampleStream{Metric: s.Metric, Values: values})
		}
	}
	return cut
}

// doubled adds a replica of every series, which some scrapes later or earlier begins and ends.
func doubled(r *rand.Rand, m model.Matrix, exact bool) model.Matrix {
	double := slices.Clone(m)
	for _, s := range m {
		labels := s.Metric.Clone()
		labels["prometheus_replica"] = "b"
		values := s.Values
		if !exact && len(values) > 10 {
			values = values[r.IntN(5) : len(values)-r.IntN(5)]
		}
		double = append(double, &model.SampleStream{Metric: labels, Values: values})
	}
	return double
}

func requests(t *testing.T, m model.Matrix, w Window) Counted {
	t.Helper()
	c, err := reader().Requests(m, w)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestOrderAndReplicasDoNotMatter(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 1))
		m := wild(r, Requests)
		want := requests(t, m, wide(600*time.Second))
		shuffled := slices.Clone(m)
		r.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		got := requests(t, shuffled, wide(600*time.Second))
		if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Layout{})); diff != "" {
			t.Fatalf("seed %d in another order (-want +got)\n%s", seed, diff)
		}
		twice := requests(t, doubled(r, m, true), wide(600*time.Second))
		if !slices.Contains(twice.Warnings, DuplicateSeries) {
			t.Errorf("seed %d: warnings %v of doubled series", seed, twice.Warnings)
		}
		twice.Warnings = want.Warnings
		if diff := cmp.Diff(want, twice, cmpopts.IgnoreUnexported(Layout{})); diff != "" {
			t.Fatalf("seed %d doubled (-want +got)\n%s", seed, diff)
		}
	}
}

// TestLaterJudgingExtends counts at every time what a later one may not count otherwise.
func TestLaterJudgingExtends(t *testing.T) {
	for seed := range uint64(15) {
		r := rand.New(rand.NewPCG(seed, 2))
		m := doubled(r, wild(r, Requests), false)
		all := requests(t, m, wide(600*time.Second))
		d := doubled(r, wild(r, Durations), false)
		slow, err := reader().Durations(d, wide(600*time.Second), []float64{100, 250}, all.Layout)
		if err != nil {
			t.Fatal(err)
		}
		for end := 20 * time.Second; end <= 600*time.Second; end += time.Duration(1+r.IntN(40)) * time.Second {
			early := requests(t, until(m, end), wide(end))
			if diff := cmp.Diff(all.Cells[:len(early.Cells)], early.Cells); diff != "" {
				t.Fatalf("seed %d at %s (-later +earlier)\n%s", seed, end, diff)
			}
			earlySlow, err := reader().Durations(until(d, end), wide(end), []float64{100, 250}, early.Layout)
			if err != nil {
				t.Fatal(err)
			}
			for i, cells := range earlySlow.Cells {
				cells = cells[:len(early.Cells)]
				if diff := cmp.Diff(slow.Cells[i][:len(cells)], cells); diff != "" {
					t.Fatalf("seed %d, durations at %s (-later +earlier)\n%s", seed, end, diff)
				}
			}
		}
	}
}

func TestCountsAreSane(t *testing.T) {
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 3))
		c := requests(t, wild(r, Requests), wide(600*time.Second))
		for _, cell := range c.Cells {
			sane(t, cell.Pair)
		}
		s, err := reader().Durations(wild(r, Durations), wide(600*time.Second), []float64{100, 250}, c.Layout)
		if err != nil {
			t.Fatal(err)
		}
		for _, cells := range s.Cells {
			for _, cell := range cells {
				sane(t, cell)
			}
		}
		h, err := reader().History(wild(r, Requests), noon, 0)
		if err != nil || h.Grid < 5*time.Second || h.Grid > time.Minute || h.Primary.Bad > h.Primary.Requests {
			t.Errorf("seed %d: history %+v, %v", seed, h, err)
		}
	}
}

func sane(t *testing.T, p sequential.Pair) {
	t.Helper()
	for _, c := range []sequential.Counts{p.Canary, p.Primary} {
		if !(c.Bad >= 0 && c.Bad <= c.Requests && c.Requests < 1e9) {
			t.Errorf("counts %+v", p)
		}
	}
}

func TestReaderRefuses(t *testing.T) {
	one := func(metric model.Metric, v float64) model.Matrix {
		metric["destination_workload"] = "app"
		return model.Matrix{{Metric: metric, Values: []model.SamplePair{{Timestamp: at(1000),
			Value: model.SampleValue(v)}}}}
	}
	cases := map[string]struct {
		m    model.Matrix
		text string
	}{
		"negative": {one(model.Metric{"__name__": Requests}, -3),
			"reading istio_requests_total of app: sample -3, want a counter"},
		"endless": {one(model.Metric{"__name__": Requests}, math.Inf(1)),
			"reading istio_requests_total of app: sample +Inf, want a counter"},
		"bad le": {one(model.Metric{"__name__": Durations, "le": "abc"}, 1),
			`reading istio_request_duration_milliseconds_bucket of app: le "abc", want a number`},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if _, err := reader().Requests(c.m, wide(time.Minute)); err == nil || err.Error() != c.text {
				t.Errorf("error %v, want %q", err, c.text)
			}
		})
	}
}

// FuzzRequests reads samples as they may come from anywhere: two bytes make a step in time and in value.
func FuzzRequests(f *testing.F) {
	f.Add([]byte{1, 5, 1, 6, 1, 2}, "200", "pod-1")
	f.Add([]byte{0, 5, 250, 255, 3, 0}, "503", "")
	f.Fuzz(func(t *testing.T, steps []byte, code, pod string) {
		var m model.Matrix
		for i, workload := range []string{"app", "app-primary", "other"} {
			s := &model.SampleStream{Metric: model.Metric{"__name__": Requests,
				"destination_workload": model.LabelValue(workload),
				"response_code":        model.LabelValue(code), "pod": model.LabelValue(pod), "le": "1"}}
			time, value := -300000, 0.0
			for j := i; j+1 < len(steps); j += 2 {
				time += (int(steps[j]) - 20) * 700
				value = math.Max(0, value+float64(steps[j+1])-100)
				if steps[j+1] == 13 {
					value = math.NaN()
				}
				s.Values = append(s.Values, model.SamplePair{Timestamp: at(time), Value: model.SampleValue(value)})
			}
			m = append(m, s)
		}
		for _, end := range []time.Duration{0, time.Second, 10 * time.Minute} {
			c, err := reader().Requests(m, wide(end))
			if err != nil && !strings.Contains(err.Error(), "want a") {
				t.Fatal(err)
			}
			for _, cell := range c.Cells {
				sane(t, cell.Pair)
			}
		}
	})
}
