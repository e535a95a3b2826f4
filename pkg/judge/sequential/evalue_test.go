package sequential

import (
	"encoding/json"
	"math"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestEValues adds up every outcome of small strata: an e-value expects at most 1 wherever the null holds.
func TestEValues(t *testing.T) {
	alternatives := []rates{{0.5, 0.1}, {0.1, 0.5}, {0.3, 0.3}, {0.05, 0.01}, {0.95, 0.6}}
	worst := 0.0
	for _, n := range [][2]int{{1, 1}, {3, 12}, {20, 5}, {7, 30}} {
		for _, delta := range []float64{0, 0.001, 0.01, 0.1, -0.05} {
			for _, against := range []direction{blames, acquits} {
				for _, expected := range alternatives {
					worst = max(worst, largest(n, expected, delta, against))
				}
			}
		}
	}
	if worst > 1+1e-6 {
		t.Errorf("an e-value expects %v, want at most 1", worst)
	}
	if worst < 0.99 {
		t.Errorf("no e-value expects more than %v: is anything bet at all?", worst)
	}
}

// largest is the largest expectation over truths on a grid inside the null.
func largest(n [2]int, expected rates, delta float64, against direction) float64 {
	values := make([][]float64, n[0]+1)
	for x := range values {
		values[x] = make([]float64, n[1]+1)
		for y := range values[x] {
			s := Pair{Counts{float64(n[0]), float64(x)}, Counts{float64(n[1]), float64(y)}}
			values[x][y] = math.Exp(logE(s, expected, delta, against))
		}
	}
	most := 0.0
	for i := range 21 {
		for j := range 21 {
			truth := rates{float64(i) / 20, float64(j) / 20}
			if float64(against)*(truth.canary-truth.primary-delta) > 1e-12 {
				continue
			}
			c, p := binomial(n[0], truth.canary), binomial(n[1], truth.primary)
			sum := 0.0
			for x := range values {
				for y, e := range values[x] {
					sum += c[x] * p[y] * e
				}
			}
			most = max(most, sum)
		}
	}
	return most
}

// binomial is the probability of each number of bad ones among n.
func binomial(n int, p float64) []float64 {
	all := make([]float64, n+1)
	choose := 1.0
	for k := range all {
		all[k] = choose * math.Pow(p, float64(k)) * math.Pow(1-p, float64(n-k))
		choose *= float64(n-k) / float64(k+1)
	}
	return all
}

func TestConstants(t *testing.T) {
	text, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var all struct{ Constants map[string]any }
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	list := func(numbers []float64) []any {
		var l []any
		for _, n := range numbers {
			l = append(l, n)
		}
		return l
	}
	got := map[string]any{
		"acquit_prior": list(acquitPrior), "blame_prior": list(blamePrior), "blame_steps": list(blameSteps),
		"cap": float64(mostWin), "floor": floor, "share": share, "phase_share": kept,
		"clamp": list([]float64{lowestRate, highestRate}),
		"hard": map[string]any{"canary_share": hardCanaryShare, "min_canary": float64(hardCanary),
			"min_primary": float64(hardPrimary), "primary_share": hardPrimaryShare},
		"hold":           map[string]any{"absolute": holdRate, "relative": holdRelative},
		"memory_seconds": float64(memorySeconds),
		"min_requests":   float64(fewestRequests), "pseudo_requests": float64(pseudoRequests),
		"weight_check": map[string]any{"alpha": 0.001, "concentration": float64(concentration),
			"grace_seconds": weightGrace.Seconds(), "odds": float64(oddsFactor)},
		"latency": map[string]any{"margin": latencyRule.Margin, "margin_relative": latencyRule.MarginRelative,
			"quantiles": list(quantiles),
			"tolerance": latencyRule.Tolerance, "tolerance_relative": latencyRule.ToleranceRelative,
			"warm_up_seconds": 60.0},
	}
	for name := range got {
		if diff := cmp.Diff(all.Constants[name], got[name]); diff != "" {
			t.Errorf("%s (-want +got)\n%s", name, diff)
		}
	}
}
