package simulation

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/prometheus/common/model"

	"github.com/serin-cd/serin/pkg/judge/counting"
	"github.com/serin-cd/serin/pkg/judge/sequential"
)

// lived is five minutes of a world at 20 %, and what Prometheus knows two minutes after the last request.
func lived(t *testing.T, w World) (*life, counting.Reader, counting.Window) {
	t.Helper()
	p, err := w.place(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	l := p.live(rand.New(rand.NewPCG(1, 1)))
	l.remember()
	l.raise(20)
	l.passes(300)
	p.rps, p.clumps.every = 0, 0
	l.passes(120)
	s := counting.Selection{Reporter: p.store.reporter, Split: counting.SplitOf(p.store.reporter),
		Namespace: namespace, Canary: application, Primary: application + "-primary"}
	if s.Split == counting.ByService {
		s.Canary = application + "-canary"
	}
	codes, err := counting.Codes("5..")
	if err != nil {
		t.Fatal(err)
	}
	return l, counting.Reader{Selection: s, Bad: counting.Bad(codes)},
		counting.Window{Start: noon, End: l.time(), Grid: 15 * time.Second, Settle: 5 * time.Second, Busiest: 1e6}
}

func asked(t *testing.T, l *life, selector string) model.Matrix {
	t.Helper()
	seconds := l.now + lookbackSeconds + historySeconds
	v, err := prometheus{l}.Query(t.Context(), fmt.Sprintf("%s[%ds]", selector, seconds), l.time())
	if err != nil {
		t.Fatal(err)
	}
	return v.(model.Matrix)
}

func (t tally) counts() sequential.Counts { return sequential.Counts{Requests: t.requests, Bad: t.bad} }

func TestSamplesSayWhatHappened(t *testing.T) {
	pair := func(w *World) { w.scrapes.replicas = 2 }
	adrift := func(w *World) { w.scrapes.fixed = false }
	third := func(w *World) { w.scrapes.kept = [arms]int{3, 1} }
	lossy := func(w *World) { w.scrapes.lost = 0.3 }
	clumped := func(w *World) { w.clumps.every = 30 }
	often := func(w *World) { w.scrapes.every = 5 }
	fair := world(50, 0.05, 0.02)
	cases := map[string]struct {
		world World
		exact bool // the primary's counters are read at the start
	}{
		"one proxy":             {fair, true},
		"each 5 s":              {fair.with(often), true},
		"clumps":                {fair.with(clumped), true},
		"pods count":            {fair.with(pods(1)), true},
		"many pods":             {fair.with(pods(3)), true},
		"offsets":               {fair.with(pods(3), adrift), false},
		"a pair":                {fair.with(pair), true},
		"a pair with offsets":   {fair.with(pair, pods(2), adrift), false},
		"two of three lost":     {fair.with(pods(1), third), true},
		"scrapes lost":          {fair.with(lossy), false},
		"pairs, scrapes lost":   {fair.with(pair, pods(2), adrift, lossy), false},
		"with limits":           {asShipped(50, 5, 2, far), false},
		"with limits, at start": {asShipped(500, 5, 2, near).with(func(w *World) { w.scrapes.fixed = true }), true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			l, reader, window := lived(t, c.world)
			counted, err := reader.Requests(asked(t, l, reader.Selection.Requests()), window)
			if err != nil {
				t.Fatal(err)
			}
			var got sequential.Pair
			for _, i := range counted.Instants {
				got = got.Plus(i.Pair)
			}
			if want := l.done[canary].counts(); got.Canary != want || want.Bad == 0 {
				t.Errorf("read %v of the canary, want %v", got.Canary, want)
			}
			if want := l.done[primary].counts(); c.exact && got.Primary != want ||
				math.Abs(got.Primary.Requests-want.Requests) > 0.1*want.Requests {
				t.Errorf("read %v of the primary, want %v", got.Primary, want)
			}
		})
	}
}

func TestSamplesSayHowLongItTook(t *testing.T) {
	l, reader, window := lived(t, asShipped(50, 1, 1, near).with(func(w *World) { w.scrapes.fixed = true }))
	counted, err := reader.Requests(asked(t, l, reader.Selection.Requests()), window)
	if err != nil {
		t.Fatal(err)
	}
	slow, err := reader.Durations(asked(t, l, reader.Selection.Durations([]float64{500})), window, []float64{500},
		counted.Layout)
	if err != nil {
		t.Fatal(err)
	}
	var got sequential.Pair
	for _, cell := range slow.Cells[0] {
		got = got.Plus(cell)
	}
	for arm, got := range [arms]sequential.Counts{got.Canary, got.Primary} {
		want := sequential.Counts{Requests: l.done[arm].requests}
		for _, n := range l.done[arm].cells[l.durations.slow:] {
			want.Bad += n
		}
		if got != want || want.Bad == 0 {
			t.Errorf("read %v of arm %d, want %v", got, arm, want)
		}
	}
}

// TestHistory has as many requests before the start as the rate says.
func TestHistory(t *testing.T) {
	l, reader, _ := lived(t, asShipped(50, 1, 1, far))
	m := asked(t, l, reader.Selection.Requests())
	h, err := reader.History(m, noon, 0)
	if err != nil {
		t.Fatal(err)
	}
	if want := 50.0 * historySeconds; math.Abs(h.Primary.Requests-want) > 0.05*want || h.Grid != 15*time.Second {
		t.Errorf("history %v, grid %s, want %v and 15s", h.Primary, h.Grid, want)
	}
	for _, s := range m {
		if s.Metric["response_code"] == "503" && s.Metric["destination_service_name"] == application+"-canary" &&
			s.Values[0].Timestamp <= l.store.epoch {
			t.Error("the canary's errors have samples before the first error")
		}
	}
}

func TestPodsAndCountersComeAndGo(t *testing.T) {
	l, reader, window := lived(t, world(50, 0.05, 0.02).with(pods(2), func(w *World) {
		w.scrapes.churn, w.scrapes.restarts = 60, 45
	}))
	m := asked(t, l, reader.Selection.Requests())
	names, falls := map[model.LabelValue]bool{}, 0
	for _, s := range m {
		names[s.Metric["pod"]] = true
		for i := 1; i < len(s.Values); i++ {
			if s.Values[i].Value < s.Values[i-1].Value {
				falls++
			}
		}
	}
	counted, err := reader.Requests(m, window)
	if err != nil {
		t.Fatal(err)
	}
	var got sequential.Pair
	for _, i := range counted.Instants {
		got = got.Plus(i.Pair)
	}
	want := l.done[canary].requests
	if len(names) < 12 || falls == 0 || got.Canary.Requests >= want || got.Canary.Requests < 0.8*want {
		t.Errorf("%d pods, %d falls, %v requests of %v, want at least 12, 1, and most of them",
			len(names), falls, got.Canary.Requests, want)
	}
}

func TestBuckets(t *testing.T) {
	d := newDurations(40, [arms][]float64{{10, 250, 1000}, istio})
	for _, m := range []*mixture{d.usual, d.mixture(120, 0), d.mixture(40, 0.03)} {
		sum := 0.0
		for _, p := range m.shares {
			if p < -1e-15 {
				t.Errorf("probability %v", p)
			}
			sum += p
		}
		if math.Abs(sum-1) > 1e-9 {
			t.Errorf("probabilities sum to %v", sum)
		}
	}
	if len(d.told[canary]) != 3 || len(d.told[primary]) != len(istio) || d.bounds[d.slow-1] != objective {
		t.Errorf("bounds %v of %v, slow from %d", d.told, d.bounds, d.slow)
	}
	for median, want := range map[float64]float64{far: 100, near: 500} {
		got := median * math.Exp(sigma*math.Sqrt2*math.Erfinv(0.98))
		if math.Abs(got-want) > 0.01*want {
			t.Errorf("99th percentile %v ms, want %v ms", got, want)
		}
	}
}
