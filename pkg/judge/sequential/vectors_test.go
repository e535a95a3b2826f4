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

func TestStages(t *testing.T) {
	for _, v := range vectors[struct {
		G      float64
		Before []int     `json:"new_phase_before_cell"`
		At     []float64 `json:"phases_at"`
	}](t, "phases") {
		e := Evidence{Grid: seconds(v.G), Basis: basis}
		for _, at := range v.At {
			e.Stages = append(e.Stages, Stage{At: seconds(at), Weight: 0.2})
		}
		for e.Until <= e.Stages[len(v.At)-1].At+e.Grid {
			e.Cells, e.Until = append(e.Cells, Cell{Length: e.Grid}), e.Until+e.Grid
		}
		var before []int
		moments := Weigh(e, Rules{}).Moments
		for stage := 1; stage < len(v.At); stage++ {
			before = append(before, slices.IndexFunc(moments, func(m Moment) bool { return m.Stage >= stage }))
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
			rule = latencyRule
		}
		got := rule.Of(Counts{v.N, v.X})
		near(t, "tolerance", got.Tolerance, v.Delta0)
		near(t, "margin", got.Margin, v.Delta1)
		near(t, "rate before", got.Before, v.P)
		near(t, "expected rate", got.expected, v.Prior)
		if v.Hold != nil {
			near(t, "hold limit", HoldLimit(got.Before), *v.Hold)
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
	near(t, "log e of fewer", logE(v.pair().times(1/v.Design), rates{v.Qc, v.Qp}, v.Delta, direction(v.Direction)),
		v.LogE)
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
			m := newMetric(errorsRule, Counts{v.N, v.X}, 1)
			near(t, "tolerance", m.Tolerance, v.Delta0)
			near(t, "margin", m.Margin, v.Delta1)
			var recent []Cell
			for i, s := range v.Steps {
				if s.Phase != 0 {
					if got := quadOf(m.NewStage()); got != s.Discarded {
						t.Errorf("step %d discards %v, want %v", i, got, s.Discarded)
					}
					near(t, "blame", m.Blame(), s.Blame)
					near(t, "acquit", m.Acquit(), s.Acquit)
					continue
				}
				blaming, acquitting := m.blaming(), m.acquitting()
				recent = lastMinute(append(recent, Cell{s.Cell.pair(), seconds(s.Seconds), 0}), seconds(s.Seconds))
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
				p := progress{recent: recent}
				if got := held(p.lately(), m.Before); got != s.Held {
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
