package sequential

import (
	"slices"
	"testing"
)

func TestHard(t *testing.T) {
	for _, v := range vectors[struct {
		Hard bool    `json:"hard_failure"`
		Nc   float64 `json:"n_c"`
		Xc   float64 `json:"x_c"`
		Np   float64 `json:"n_p"`
		Xp   float64 `json:"x_p"`
	}](t, "hard_failure_cells") {
		if got := Hard(Pair{Counts{v.Nc, v.Xc}, Counts{v.Np, v.Xp}}); got != v.Hard {
			t.Errorf("%+v: hard failure %v", v, got)
		}
	}
}

func TestFindHard(t *testing.T) {
	for _, v := range vectors[struct {
		Name       string
		G          float64
		Hard       bool `json:"hard_failure"`
		Increments [][5]float64
		Reporter   string
		Until      float64
		Tc         float64  `json:"t_c"`
		Known      *float64 `json:"known_at"`
	}](t, "hard_failure_samples") {
		t.Run(v.Name, func(t *testing.T) {
			var instants []Instant
			for _, i := range v.Increments {
				instants = append(instants, Instant{At: seconds(i[0]), Sampled: i[1] > 0, Pair: quad(i[1:]).pair()})
			}
			find := func(until float64) (Hardness, bool) {
				return FindHard(instants, seconds(v.G), v.Reporter == "source", seconds(min(until, 1e6)))
			}
			hard, found := find(v.Until)
			if found != v.Hard || found && hard.At != seconds(v.Tc) {
				t.Errorf("found %v at %s, want %v at %v", found, hard.At, v.Hard, v.Tc)
			}
			if v.Known == nil {
				return
			}
			if _, found := find(*v.Known); !found {
				t.Errorf("not known at %v", *v.Known)
			}
			if _, found := find(*v.Known - 0.001); found {
				t.Errorf("known before %v", *v.Known)
			}
		})
	}
}

func TestShareOf(t *testing.T) {
	for _, v := range vectors[struct {
		LogBF  float64 `json:"log_bf"`
		Nc     float64 `json:"n_c"`
		Np     float64 `json:"n_p"`
		Obeyed bool
		Weight float64
	}](t, "weight_check") {
		got := ShareOf(Pair{Counts{v.Nc, 0}, Counts{v.Np, 0}}, v.Weight/100)
		close6(t, "log Bayes factor", got.Log, v.LogBF)
		if got.Kept != v.Obeyed {
			t.Errorf("%+v: obeyed %v", v, got.Kept)
		}
	}
}

func TestInterval(t *testing.T) {
	for _, v := range vectors[struct {
		Bad, Requests, Alpha, Low, High float64
		Tuned                           float64 `json:"t_opt"`
	}](t, "interval") {
		low, high := interval(Counts{v.Requests, v.Bad}, v.Alpha, v.Tuned)
		close6(t, "low", low, v.Low)
		close6(t, "high", high, v.High)
	}
}

func TestMissing(t *testing.T) {
	for _, v := range vectors[struct {
		Acquit, Beta, Delta1 float64
		Share                float64 `json:"canary_share"`
		Growth               float64 `json:"growth_per_canary_request"`
		Missing              float64 `json:"missing_canary_requests"`
		Rate                 float64 `json:"pooled_rate"`
	}](t, "missing") {
		got, growth := missing(v.Share, v.Rate, v.Delta1, v.Acquit, v.Beta)
		near(t, "growth", growth, v.Growth)
		if got != v.Missing {
			t.Errorf("%+v: %v missing", v, got)
		}
	}
}

func TestDecide(t *testing.T) {
	verdicts := map[string]Decision{"wait": Wait, "pass": Pass, "fail": Fail, "inconclusive": Inconclusive}
	for _, v := range vectors[struct {
		Name, Gate, Reason, Verdict string
		AsOf                        bool    `json:"as_of"`
		AcquitMax                   float64 `json:"acquit_max"`
		Blame                       float64
		BlameMax                    float64 `json:"blame_max"`
		Closed                      int
		Deadline, Since             float64
		Hard                        bool `json:"hard_failure"`
		Held                        bool
		LatencyAcquit               float64 `json:"latency_acquit_max_lowest"`
		LatencyBlame                float64 `json:"latency_blame"`
		LatencyBlameMax             float64 `json:"latency_blame_max"`
		LatencyJudged               bool    `json:"latency_judged"`
		MinDwell                    float64 `json:"min_dwell"`
		TimeBox                     float64 `json:"time_box"`
		Nc                          float64 `json:"n_c"`
		Np                          float64 `json:"n_p"`
		WeightOK                    bool    `json:"weight_ok"`
	}](t, "stage") {
		t.Run(v.Name, func(t *testing.T) {
			r := Rules{Gate: Gate(v.Gate), MinDwell: seconds(v.MinDwell), TimeBox: seconds(v.TimeBox),
				Deadline: seconds(v.Deadline), Alpha: 0.01, Beta: 0.05, Once: v.AsOf}
			s := Standing{Since: seconds(v.Since), Hard: v.Hard, Blame: v.Blame, BlameMax: v.BlameMax,
				Acquit: v.AcquitMax,
				Strata: v.Closed, Held: v.Held, Obeyed: v.WeightOK, Canary: v.Nc, Primary: v.Np}
			if v.LatencyJudged {
				s.Latency = &Latency{v.LatencyBlame, v.LatencyBlameMax, v.LatencyAcquit}
			}
			if got, reason := r.Decide(s); got != verdicts[v.Verdict] || reason != v.Reason {
				t.Errorf("verdict %v because of %q, want %s because of %q", got, reason, v.Verdict, v.Reason)
			}
		})
	}
}

type boundVector struct {
	Delta0, Delta1, Le float64
	Prior              float64 `json:"prior_rate"`
	Slow               float64 `json:"slow_pre"`
}

func (v boundVector) compare(t *testing.T, got Bound) {
	t.Helper()
	near(t, "bound", got.Le, v.Le)
	near(t, "slow before", got.History.Bad, v.Slow)
	of := latencyRule.Of(got.History)
	near(t, "tolerance", of.Tolerance, v.Delta0)
	near(t, "margin", of.Margin, v.Delta1)
	near(t, "expected rate", of.expected, v.Prior)
}

func TestBounds(t *testing.T) {
	for _, v := range vectors[struct {
		Name           string
		Bounds         []boundVector
		Cumulative, Le []float64
		Objective      float64 `json:"objective_ms"`
		Total          float64
	}](t, "latency_bounds") {
		t.Run(v.Name, func(t *testing.T) {
			var buckets []Bucket
			for i, le := range v.Le {
				buckets = append(buckets, Bucket{le, v.Cumulative[i]})
			}
			slices.Reverse(buckets)
			got := Bounds(buckets, v.Total, v.Objective)
			if len(got) != len(v.Bounds) {
				t.Fatalf("bounds %v, want %v", got, v.Bounds)
			}
			for i, want := range v.Bounds {
				want.compare(t, got[i])
			}
		})
	}
}

func TestLatencyTraces(t *testing.T) {
	for _, v := range vectors[struct {
		Name   string
		Bounds []boundVector
		N      float64 `json:"n_pre"`
		WarmUp float64 `json:"warm_up_seconds"`
		Steps  []struct {
			AcquitMax []float64 `json:"acquit_max"`
			Blame     []float64
			Mean      float64 `json:"blame_mean"`
			MeanMax   float64 `json:"blame_mean_max"`
			End       float64 `json:"ends_at"`
			Nc        float64 `json:"n_c"`
			Np        float64 `json:"n_p"`
			Skipped   bool
			SlowC     []float64 `json:"slow_c"`
			SlowP     []float64 `json:"slow_p"`
		}
	}](t, "latency_traces") {
		t.Run(v.Name, func(t *testing.T) {
			var bounds []Bound
			for _, b := range v.Bounds {
				bounds = append(bounds, Bound{b.Le, Counts{v.N, b.Slow}})
				b.compare(t, bounds[len(bounds)-1])
			}
			d := newDurations(bounds, 1)
			before := 0.0
			for _, s := range v.Steps {
				var cells []Pair
				for i := range bounds {
					cells = append(cells, Pair{Counts{s.Nc, s.SlowC[i]}, Counts{s.Np, s.SlowP[i]}})
				}
				if s.End > v.WarmUp {
					d.add(cells, seconds(s.End-before))
				}
				before = s.End
				for i, m := range d.metrics {
					near(t, "blame", m.Blame(), s.Blame[i])
					near(t, "most acquit", m.AcquitMax(), s.AcquitMax[i])
				}
				near(t, "mean blame", d.standing().Blame, s.Mean)
				near(t, "most mean blame", d.standing().BlameMax, s.MeanMax)
			}
		})
	}
}

// TestShares are those that ShareOf takes for a weight, where there are many requests.
func TestShares(t *testing.T) {
	const n = 1e6
	for _, weight := range []float64{0.01, 0.2, 0.5, 0.9} {
		least, most := Shares(weight)
		for share, want := range map[float64]bool{0.99 * least: false, 1.01 * least: true, 0.999 * most: true,
			most + 0.01*(1-most): false} {
			seen := Pair{Canary: Counts{Requests: n * share}, Primary: Counts{Requests: n * (1 - share)}}
			if got := ShareOf(seen, weight).Kept; got != want {
				t.Errorf("a share of %v is kept at weight %v: %v, want %v", share, weight, got, want)
			}
		}
	}
}
