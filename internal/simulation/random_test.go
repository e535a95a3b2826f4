package simulation

import (
	"math"
	"math/rand/v2"
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
