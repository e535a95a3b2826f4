package sequential

import (
	"encoding/json"
	"math"
	"os"
	"slices"
	"testing"
	"time"
)

// vectors are inputs and expected numbers of every formula; their first entry says how to compare.
func vectors[T any](t *testing.T, name string) []T {
	t.Helper()
	text, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	var list []T
	if err := json.Unmarshal(all[name], &list); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if len(list) == 0 {
		t.Fatalf("no vectors %s", name)
	}
	return list
}

func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if math.IsNaN(got) || math.Abs(got-want) > 1e-9*math.Abs(want) {
		t.Errorf("%s is %v, want %v", what, got, want)
	}
}

func close6(t *testing.T, what string, got, want float64) {
	t.Helper()
	if math.IsNaN(got) || math.Abs(got-want) > 1e-6 {
		t.Errorf("%s is %v, want %v", what, got, want)
	}
}

func seconds(s float64) time.Duration { return time.Duration(math.Round(s * 1e9)) }

type quad [4]float64

func (q quad) pair() Pair { return Pair{Counts{q[0], q[1]}, Counts{q[2], q[3]}} }

func quadOf(p Pair) quad {
	return quad{p.Canary.Requests, p.Canary.Bad, p.Primary.Requests, p.Primary.Bad}
}

func TestGrid(t *testing.T) {
	for _, v := range vectors[struct {
		G    float64
		Gaps []float64
	}](t, "grid") {
		var gaps []time.Duration
		for _, g := range v.Gaps {
			gaps = append(gaps, seconds(g))
		}
		if got := Grid(gaps); got != seconds(v.G) {
			t.Errorf("gaps %v give %s, want %vs", v.Gaps, got, v.G)
		}
	}
}

func TestPhases(t *testing.T) {
	for _, v := range vectors[struct {
		ClosedCells  int `json:"closed_cells"`
		G, Settle, T float64
		Before       []int     `json:"new_phase_before_cell"`
		At           []float64 `json:"phases_at"`
	}](t, "phases") {
		if got := Closed(seconds(v.T), seconds(v.G), seconds(v.Settle)); got != v.ClosedCells {
			t.Errorf("%d cells closed at %v, want %d", got, v.T, v.ClosedCells)
		}
		var before []int
		for _, at := range v.At[1:] {
			before = append(before, firstCell(seconds(at), seconds(v.G)))
		}
		if !slices.Equal(before, v.Before) {
			t.Errorf("phases at %v begin before cells %v, want %v", v.At, before, v.Before)
		}
	}
}

func TestTolerances(t *testing.T) {
	for _, v := range vectors[struct {
		Metric         string
		Delta0, Delta1 float64
		Hold           *float64 `json:"hold_limit"`
		N              float64  `json:"n_pre"`
		X              float64  `json:"x_pre"`
		P              float64  `json:"p_pre"`
		Prior          float64  `json:"prior_rate"`
	}](t, "tolerances") {
		rule := errorsRule
		if v.Metric == "latency" {
			rule = LatencyRule
		}
		got := rule.Of(Counts{v.N, v.X})
		near(t, "tolerance", got.Tolerance, v.Delta0)
		near(t, "margin", got.Margin, v.Delta1)
		near(t, "rate before", got.Before, v.P)
		near(t, "expected rate", got.expected, v.Prior)
		if v.Hold != nil {
			near(t, "hold limit", holdLimit(got.Before), *v.Hold)
		}
	}
}

var errorsRule = Rule{Tolerance: 0.001, ToleranceRelative: 0.25, Margin: 0.01, MarginRelative: 0.5}

type table struct {
	Delta     float64
	Direction float64
	LogE      float64  `json:"log_e"`
	Nc        float64  `json:"n_c"`
	Xc        float64  `json:"x_c"`
	Np        float64  `json:"n_p"`
	Xp        float64  `json:"x_p"`
	Qc        float64  `json:"q_c"`
	Qp        float64  `json:"q_p"`
	Pc        *float64 `json:"p_c"`
	Pp        *float64 `json:"p_p"`
	Design    float64  `json:"design_effect"`
}

func (v table) pair() Pair { return Pair{Counts{v.Nc, v.Xc}, Counts{v.Np, v.Xp}} }

func TestLogE(t *testing.T) {
	for _, v := range vectors[table](t, "log_e") {
		near(t, "log e", logE(v.pair(), rates{v.Qc, v.Qp}, v.Delta, direction(v.Direction)), v.LogE)
		if v.Pc != nil {
			null := project(rates{v.Nc, v.Np}, rates{v.Qc, v.Qp}, v.Delta)
			near(t, "projected rate of the canary", null.canary, *v.Pc)
			near(t, "projected rate of the primary", null.primary, *v.Pp)
		}
	}
}

func TestDesignEffect(t *testing.T) {
	text, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var all struct {
		V table `json:"design_effect"`
	}
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	v := all.V
	got := logE(v.pair(), rates{v.Qc, v.Qp}, v.Delta, direction(v.Direction)) / v.Design
	near(t, "log e", got, v.LogE)
	near(t, "log e of fewer", logE(v.pair().times(1/v.Design), rates{v.Qc, v.Qp}, v.Delta, direction(v.Direction)), v.LogE)
}

func TestTraces(t *testing.T) {
	type step struct {
		Acquit, Blame float64
		AcquitExperts []float64 `json:"acquit_experts"`
		BlameExperts  []float64 `json:"blame_experts"`
		AcquitMax     float64   `json:"acquit_max"`
		BlameMax      float64   `json:"blame_max"`
		Cell, Stratum quad
		Closed        bool
		Hard          bool `json:"hard_failure"`
		Held          bool
		Adaptive      float64 `json:"q_c_adaptive"`
		Own           float64 `json:"q_c_own"`
		Qp            float64 `json:"q_p"`
		Pool          float64 `json:"q_pool"`
		Seconds       float64
		State         string
		Phase         int
		Discarded     quad
	}
	for _, v := range vectors[struct {
		Name           string
		N              float64 `json:"n_pre"`
		X              float64 `json:"x_pre"`
		Delta0, Delta1 float64
		Steps          []step
	}](t, "judge_traces") {
		t.Run(v.Name, func(t *testing.T) {
			m := NewMetric(errorsRule, Counts{v.N, v.X}, 1)
			near(t, "tolerance", m.Tolerance, v.Delta0)
			near(t, "margin", m.Margin, v.Delta1)
			var cells []Pair
			for i, s := range v.Steps {
				if s.Phase != 0 {
					if got := quadOf(m.NewPhase()); got != s.Discarded {
						t.Errorf("step %d discards %v, want %v", i, got, s.Discarded)
					}
					near(t, "blame", m.Blame(), s.Blame)
					near(t, "acquit", m.Acquit(), s.Acquit)
					continue
				}
				blaming, acquitting := m.blaming(), m.acquitting()
				cells = append(cells, s.Cell.pair())
				stratum, closed := m.Add(s.Cell.pair(), seconds(s.Seconds))
				if closed != s.Closed || closed && quadOf(stratum) != s.Stratum {
					t.Errorf("step %d: stratum %v, %v, want %v, %v", i, quadOf(stratum), closed, s.Stratum, s.Closed)
				}
				if closed {
					near(t, "primary's expected rate", blaming[0].primary, s.Qp)
					near(t, "adaptive rate", blaming[7].canary, s.Adaptive)
					near(t, "pooled rate", acquitting[0].canary, s.Pool)
					near(t, "canary's own rate", acquitting[1].canary, s.Own)
					for j, want := range s.BlameExperts {
						near(t, "wealth that blames", m.blame.wealth[j], want)
					}
					for j, want := range s.AcquitExperts {
						near(t, "wealth that acquits", m.acquit.wealth[j], want)
					}
				}
				near(t, "blame", m.Blame(), s.Blame)
				near(t, "most blame", m.BlameMax(), s.BlameMax)
				near(t, "acquit", m.Acquit(), s.Acquit)
				near(t, "most acquit", m.AcquitMax(), s.AcquitMax)
				if got := Hard(s.Cell.pair()); got != s.Hard {
					t.Errorf("step %d: hard failure %v, want %v", i, got, s.Hard)
				}
				if got := held(cells, seconds(s.Seconds), m.Before); got != s.Held {
					t.Errorf("step %d: held %v, want %v", i, got, s.Held)
				}
				if got := state(m); got != s.State {
					t.Errorf("step %d: state %s, want %s", i, got, s.State)
				}
			}
		})
	}
}

func state(m *Metric) string {
	switch {
	case m.BlameMax() >= 100:
		return "fail"
	case m.AcquitMax() >= 20 && m.Blame() <= level:
		return "proven"
	}
	return "open"
}

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
	verdicts := map[string]Verdict{"wait": Wait, "pass": Pass, "fail": Fail, "inconclusive": Inconclusive}
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
			r := Rules{Gate: Gate(v.Gate), MinDwell: seconds(v.MinDwell), TimeBox: seconds(v.TimeBox), Deadline: seconds(v.Deadline), Alpha: 0.01, Beta: 0.05, Once: v.AsOf}
			s := Standing{Since: seconds(v.Since), Hard: v.Hard, Blame: v.Blame, BlameMax: v.BlameMax, Acquit: v.AcquitMax,
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
	of := LatencyRule.Of(got.History)
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
			d := newDurations(bounds, seconds(v.WarmUp), 1)
			before := 0.0
			for _, s := range v.Steps {
				var cells []Pair
				for i := range bounds {
					cells = append(cells, Pair{Counts{s.Nc, s.SlowC[i]}, Counts{s.Np, s.SlowP[i]}})
				}
				d.add(cells, seconds(s.End), seconds(s.End-before))
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
