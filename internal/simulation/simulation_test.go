package simulation

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestPoisson(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for _, expected := range []float64{0, 0.01, 0.7, 5, 9.9, 10, 12, 100, 25000} {
		const n = 100000
		sum, squares := 0.0, 0.0
		for range n {
			k := poisson(r, expected)
			if k < 0 || k != math.Trunc(k) {
				t.Fatalf("drew %v", k)
			}
			sum, squares = sum+k, squares+(k-expected)*(k-expected)
		}
		mean, variance := sum/n, squares/n
		luck := 5 * math.Sqrt(max(expected, 1e-9)/n)
		if math.Abs(mean-expected) > luck {
			t.Errorf("mean %v, want %v ± %v", mean, expected, luck)
		}
		if math.Abs(variance-expected) > 5*math.Sqrt((2*expected*expected+expected)/n)+1e-9 {
			t.Errorf("variance %v, want %v", variance, expected)
		}
	}
}

func TestBuckets(t *testing.T) {
	for _, probabilities := range [][]float64{buckets(1, 0), buckets(3, 0), buckets(1, 0.03)} {
		sum := 0.0
		for _, p := range probabilities {
			if p < -1e-15 {
				t.Errorf("probability %v", p)
			}
			sum += p
		}
		if math.Abs(sum-1) > 1e-9 {
			t.Errorf("probabilities sum to %v", sum)
		}
	}
}

// TestRows plays the rows whose figures hardly depend on chance.
func TestRows(t *testing.T) {
	played := 0
	for _, table := range tables() {
		for i, r := range table.rows {
			certain := r.want.rolledBack == 100 || r.want.promoted == 100
			if !certain {
				continue
			}
			played++
			for _, m := range r.misses(measure(r.world, 150, uint64(i), (*life).judge)) {
				t.Errorf("%s: %s", r.name, m)
			}
		}
	}
	if played < 20 {
		t.Errorf("%d rows were played", played)
	}
}

func TestRowsMiss(t *testing.T) {
	r := row{kind: healthy, world: world(50, 0.001, 0.001), want: figures{promoted: 100, second: 120, notBefore: 20}}
	m := measured{runs: 2000, shares: [3]float64{90, 3, 7}, second: [3]float64{200, 30, 0}, first: 15}
	text := strings.Join(r.misses(m), "\n")
	for _, want := range []string{"taken back 3.00 %, want at most 0.00 %", "promoted 90.00 %, want at least 100.00 %",
		"at most 1 % whatever", "median 200 s, want at most 120 s", "promoted after 15 s"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q lacks %q", text, want)
		}
	}
}
