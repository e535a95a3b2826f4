package counting

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/model"

	"github.com/serin-cd/serin/pkg/judge/sequential"
)

// line is a series of a pod, sampled at seconds after noon.
func line(workload, pod, code, replica string, samples ...[2]float64) *model.SampleStream {
	s := &model.SampleStream{Metric: model.Metric{"__name__": Requests, "pod": model.LabelValue(pod),
		"destination_workload": model.LabelValue(workload), "response_code": model.LabelValue(code)}}
	if replica != "" {
		s.Metric["prometheus_replica"] = model.LabelValue(replica)
	}
	for _, p := range samples {
		s.Values = append(s.Values, model.SamplePair{Timestamp: at(int(1000 * p[0])), Value: model.SampleValue(p[1])})
	}
	return s
}

// steady is a counter that is scraped every 15 s, but at some times.
func steady(first, last, each float64, lost ...float64) (samples [][2]float64) {
	for t := first; t <= last; t += 15 {
		if !slices.Contains(lost, t) {
			samples = append(samples, [2]float64{t, each * (t - first) / 15})
		}
	}
	return samples
}

// TestNewbornOfAPair has a pair of Prometheus that has met the first errors of a canary: one replica at 6 s, the other
// at 9 s.
func TestNewbornOfAPair(t *testing.T) {
	primary := line("app-primary", "app-primary-1", "200", "a", steady(-594, 20, 300)...)
	other := line("app-primary", "app-primary-1", "200", "b", steady(-591, 20, 300)...)
	of := func(samples ...[2]float64) *model.SampleStream { return line("app", "app-1", "503", "b", samples...) }
	a := func(samples ...[2]float64) *model.SampleStream { return line("app", "app-1", "503", "a", samples...) }
	cases := map[string]struct {
		canary []*model.SampleStream
		until  time.Duration
		seen   float64
	}{
		"as many":      {[]*model.SampleStream{a([2]float64{6, 6}), of([2]float64{9, 6})}, 20 * time.Second, 6},
		"more by then": {[]*model.SampleStream{a([2]float64{6, 6}), of([2]float64{9, 8})}, 20 * time.Second, 8},
		"the older goes on": {[]*model.SampleStream{a([2]float64{6, 6}, [2]float64{21, 15}), of([2]float64{9, 8})},
			22 * time.Second, 15},
		"the older was gone": {[]*model.SampleStream{a([2]float64{6, 6}), of([2]float64{9, 6}, [2]float64{24, 9})},
			29 * time.Second, 15},
		"half an interval on": {[]*model.SampleStream{a([2]float64{6, 6}), of([2]float64{9, 6}, [2]float64{24, 9})},
			28 * time.Second, 9},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got := requests(t, append(model.Matrix{primary, other}, c.canary...), wide(c.until))
			seen := 0.0
			for _, i := range got.Instants {
				seen += i.Canary.Bad
			}
			if seen != c.seen {
				t.Errorf("%v errors of the canary, want %v", seen, c.seen)
			}
			if hard, found := sequential.FindHard(got.Instants, 15*time.Second, false, c.until); found && c.seen < 10 {
				t.Errorf("hard failure %+v of %v requests", hard, c.seen)
			}
		})
	}
}

// TestReplicaThatStartsAnew has a second Prometheus that begins in the rollout: it meets counters that are old.
func TestReplicaThatStartsAnew(t *testing.T) {
	m := model.Matrix{
		line("app-primary", "app-primary-1", "200", "a", steady(-594, 20, 3)...),
		line("app-primary", "app-primary-1", "503", "a", steady(-594, 20, 1)...),
		line("app-primary", "app-primary-1", "503", "b", [2]float64{9, 40}),
	}
	got, bad := requests(t, m, wide(20*time.Second)), 0.0
	for _, i := range got.Instants {
		bad += i.Primary.Bad
	}
	if bad != 1 {
		t.Errorf("%v errors of the primary, want the 1 that it counted", bad)
	}
}

// TestErrorsThatTheOtherReplicaMeets has a shared outage from 17 to 22 s of which a replica loses the scrape, so that
// the other one meets the canary's errors first: they are counted together with what else its proxy counted.
func TestErrorsThatTheOtherReplicaMeets(t *testing.T) {
	m := model.Matrix{
		line("app-primary", "app-primary-1", "200", "a", steady(-583.5, 31.5, 600)...),
		line("app-primary", "app-primary-1", "200", "b", steady(-580, 20, 600)...),
		line("app-primary", "app-primary-1", "503", "a", [2]float64{31.5, 200}),
		line("app", "app-1", "200", "a", [2]float64{1, 10}, [2]float64{31, 260}),
		line("app", "app-1", "200", "b", [2]float64{8, 80}, [2]float64{23, 180}),
		line("app", "app-1", "503", "b", [2]float64{23, 50}),
		line("app", "app-1", "503", "a", [2]float64{31, 50}),
	}
	for end := 23 * time.Second; end <= time.Minute; end += time.Second / 2 {
		got := requests(t, until(m, end), wide(end))
		if hard, found := sequential.FindHard(got.Instants, 15*time.Second, false, end); found {
			t.Fatalf("at %s: hard failure %+v", end, hard)
		}
		for k, c := range append(got.Cells, sequential.Cell{}) {
			if c.Canary.Bad > 0.5*c.Canary.Requests {
				t.Fatalf("at %s: cell %d has %+v", end, k, c.Canary)
			}
		}
	}
}

func TestNothingIsCountedTwiceInCells(t *testing.T) {
	m := model.Matrix{
		line("app-primary", "app-primary-1", "200", "a", steady(-594, 120, 300)...),
		line("app", "app-1", "503", "a", steady(6, 120, 15)...),
		line("app", "app-1", "503", "b", steady(9, 120, 15)...),
	}
	for i := range m[1].Values {
		m[1].Values[i].Value += 6
		m[2].Values[i].Value += 9
	}
	got := requests(t, m, wide(121*time.Second))
	sum := sequential.Counts{}
	for _, c := range got.Cells {
		sum = sum.Plus(c.Canary)
	}
	if last := float64(m[1].Values[len(got.Cells)-1].Value); sum.Bad < last || sum.Bad > last+3 {
		t.Errorf("%v errors in %d cells, want %v and at most 3 that only the other replica has seen", sum.Bad,
			len(got.Cells), last)
	}
}

// TestBlankScrapes has a pod whose first scrape brought no number: it is met with the next one.
func TestBlankScrapes(t *testing.T) {
	m := model.Matrix{
		line("app-primary", "app-primary-1", "200", "", steady(-590, 130, 300)...),
		line("app", "app-1", "200", "", [2]float64{33, math.NaN()}, [2]float64{93, 600}, [2]float64{108, 750}),
	}
	later := requests(t, m, wide(130*time.Second)).Cells
	for end := 30 * time.Second; end < 130*time.Second; end += 5 * time.Second {
		if diff := cmp.Diff(later[:min(len(later), len(requests(t, until(m, end), wide(end)).Cells))],
			requests(t, until(m, end), wide(end)).Cells); diff != "" {
			t.Fatalf("at %s (-later +earlier)\n%s", end, diff)
		}
	}
}

func TestCellsCloseWithTheLastProxy(t *testing.T) {
	m := model.Matrix{
		line("app-primary", "app-primary-1", "200", "", steady(-590, 600, 300)...), // at 10, 25, …
		line("app", "app-1", "200", "", steady(3, 78, 75)...),                      // at 3, 18, …, 78
	}
	for end, want := range map[time.Duration]int{
		17 * time.Second: 0, 18 * time.Second: 0, 25 * time.Second: 1, 32 * time.Second: 1, 40 * time.Second: 2,
		100 * time.Second: 5,                       // the canary is awaited
		123 * time.Second: 5, 125 * time.Second: 7, // it is overdue by two intervals
	} {
		if got := len(requests(t, until(m, end), wide(end)).Cells); got != want {
			t.Errorf("%d cells are closed at %s, want %d", got, end, want)
		}
	}
}

func TestLostScrapesJoinCells(t *testing.T) {
	m := model.Matrix{
		line("app-primary", "app-primary-1", "200", "", steady(-590, 600, 300)...),
		line("app", "app-1", "200", "", steady(3, 600, 75, 33, 48)...),
	}
	got := requests(t, m, wide(100*time.Second))
	var lengths []float64
	var counts [][2]float64
	for _, c := range got.Cells {
		lengths = append(lengths, c.Length.Seconds())
		counts = append(counts, [2]float64{c.Canary.Requests, c.Primary.Requests})
	}
	// without samples at 33 and 48 s the cells that end at 45, 60 and 75 s are one
	if diff := cmp.Diff([]float64{15, 15, 45, 15}, lengths); diff != "" {
		t.Errorf("lengths of cells (-want +got)\n%s", diff)
	}
	if diff := cmp.Diff([][2]float64{{0, 300}, {75, 300}, {225, 900}, {75, 300}}, counts); diff != "" {
		t.Errorf("requests of canary and primary (-want +got)\n%s", diff)
	}
}

// TestBirthWithoutHistory has an application that nobody has called before: the rule of births has nothing to go by.
func TestBirthWithoutHistory(t *testing.T) {
	m := model.Matrix{line("app", "app-1", "200", "", [2]float64{3, 1500}, [2]float64{18, 3000})}
	for busiest, want := range map[float64]float64{0: 3000, 100: 1500, 1000: 3000} {
		w := wide(20 * time.Second)
		w.Busiest = busiest
		got, sum := requests(t, m, w), 0.0
		for _, i := range got.Instants {
			sum += i.Canary.Requests
		}
		if math.Abs(sum-want) > 0 || slices.Contains(got.Warnings, ImplausibleBirth) != (want == 1500) {
			t.Errorf("busiest interval %v: %v requests, warnings %v, want %v", busiest, sum, got.Warnings, want)
		}
	}
}
