package sequential

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var basis = Basis{Rule: errorsRule, Design: 1, Clumps: 1, WarmUp: time.Minute}

// random is a rollout of three weights whose counts follow no model at all.
func random(r *rand.Rand) Evidence {
	e := Evidence{
		Stages: []Stage{{0, 0.2}, {time.Duration(r.IntN(300)) * time.Second, 0.4}}, Grid: 15 * time.Second,
		Basis: basis, History: counts(r, 5000), Until: time.Duration(300+r.IntN(600)) * time.Second,
		Together: r.IntN(2) == 0,
	}
	e.Stages = append(e.Stages, Stage{e.Stages[1].At + time.Duration(r.IntN(100))*time.Second, 0.6})
	e.Bounds = []Bound{{100, counts(r, 5000)}, {500, counts(r, 5000)}}
	e.Slow = make([][]Pair, 2)
	for k := range int(e.Until / e.Grid) {
		p := Pair{counts(r, 200), counts(r, 500)}
		e.Cells = append(e.Cells, Cell{p, e.Grid, 0})
		e.Instants = append(e.Instants, Instant{At: time.Duration(k+1) * e.Grid, Sampled: true, Pair: p})
		for i := range e.Slow {
			e.Slow[i] = append(e.Slow[i], Pair{counts(r, 200), counts(r, 500)})
		}
	}
	return e
}

func counts(r *rand.Rand, most int) Counts {
	n := r.IntN(most + 1)
	if r.IntN(4) == 0 {
		n = 0
	}
	bad := 0
	if n > 0 && r.IntN(2) == 0 {
		bad = r.IntN(n + 1)
	}
	return Counts{float64(n), float64(bad)}
}

func TestLaterWeighingExtends(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 1))
		e := random(r)
		all := Weigh(e, Rules{}).Moments
		for until := time.Duration(0); until < e.Until; until += time.Duration(1+r.IntN(60)) * time.Second {
			early := e
			early.Until = until
			early.Stages = nil
			for _, p := range e.Stages {
				if p.At <= until {
					early.Stages = append(early.Stages, p)
				}
			}
			early.Cells = e.Cells[:early.Until/e.Grid]
			moments := Weigh(early, Rules{}).Moments
			if diff := cmp.Diff(all[:len(moments)], moments, cmpopts.EquateEmpty()); diff != "" {
				t.Fatalf("seed %d at %s (-later +earlier)\n%s", seed, until, diff)
			}
		}
	}
}

func TestPotsStayFinite(t *testing.T) {
	for seed := range uint64(40) {
		f := Weigh(random(rand.New(rand.NewPCG(seed, 2))), Rules{})
		for _, m := range append(f.Bounds, f.Errors) {
			finite(t, m.Metric)
		}
	}
	endless := newMetric(errorsRule, Counts{}, 1)
	for range 1000 {
		endless.Add(Pair{Counts{1e9, 1e9}, Counts{1e9, 0}}, time.Second)
	}
	finite(t, endless)
	if endless.Blame() < 1e90 {
		t.Errorf("blame %v of a canary that only fails", endless.Blame())
	}
}

func finite(t *testing.T, m *Metric) {
	t.Helper()
	p := m.Pots()
	for _, v := range []float64{p.Blame, p.BlameMax, p.Acquit, p.AcquitMax, m.Missing(0.2, 0.05)} {
		if math.IsNaN(v) || math.IsInf(v, 0) || v < 0 {
			t.Fatalf("pots %+v, missing %v", p, m.Missing(0.2, 0.05))
		}
	}
}

func TestNothingIsProvenByNothing(t *testing.T) {
	none := Counts{}
	for name, cell := range map[string]Pair{"no traffic": {}, "no canary": {none, Counts{1000, 0}},
		"no primary": {Counts{1000, 0}, none}, "two requests": {Counts{2, 0}, none}} {
		e := Evidence{Stages: []Stage{{0, 0.2}}, Grid: 15 * time.Second, Basis: basis,
			History: Counts{30000, 30}, Until: 2 * time.Hour}
		for range int(e.Until / e.Grid) {
			e.Cells = append(e.Cells, Cell{cell, e.Grid, 0})
		}
		f := Weigh(e, Rules{})
		f.Obeyed = true
		for _, gate := range []Gate{Prove, TimeBox} {
			verdict, reason := Rules{Gate: gate, Deadline: time.Hour, Alpha: 0.01, Beta: 0.05}.Decide(f.Standing)
			if verdict != Inconclusive {
				t.Errorf("%s, gate %s: verdict %v because of %q", name, gate, verdict, reason)
			}
		}
	}
}

func TestDesignEffectSlowsEvidence(t *testing.T) {
	clumped, single := newMetric(errorsRule, Counts{30000, 30}, 5), newMetric(errorsRule, Counts{30000, 30}, 1)
	for range 4 {
		for _, m := range []*Metric{clumped, single} {
			m.Add(Pair{Counts{150, 5}, Counts{600, 1}}, 15*time.Second)
		}
	}
	if clumped.Blame() >= single.Blame() {
		t.Errorf("blame %v where five errors count as one, %v where they do not", clumped.Blame(), single.Blame())
	}
}

// FuzzMetric adds cells of any counts.
func FuzzMetric(f *testing.F) {
	f.Add(0.0, 0.0, 10.0, 1.0, 40.0, 0.0, 1.0)
	f.Add(1e9, 1e9, 1e12, 1e12, 3.5, 0.5, 20.0)
	f.Fuzz(func(t *testing.T, n, x, nc, xc, np, xp, design float64) {
		for _, v := range []float64{n, x, nc, xc, np, xp} {
			if !(v >= 0 && v < 1e15) {
				t.Skip("no count")
			}
		}
		if !(design >= 1 && design < 1e6) {
			t.Skip("no design effect")
		}
		m := newMetric(errorsRule, Counts{n, min(n, x)}, design)
		for range 20 {
			m.Add(Pair{Counts{nc, min(nc, xc)}, Counts{np, min(np, xp)}}, 15*time.Second)
		}
		m.NewStage()
		m.Add(Pair{Counts{np, min(np, xp)}, Counts{nc, min(nc, xc)}}, 15*time.Second)
		finite(t, m)
		low, high := Interval(Counts{nc, min(nc, xc)})
		if !(low >= 0 && low <= high && high <= 1) {
			t.Errorf("interval %v to %v", low, high)
		}
	})
}
