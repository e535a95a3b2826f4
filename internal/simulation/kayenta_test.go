package simulation

import (
	"math"
	"testing"
)

// TestWilcoxon compares with R: wilcox.test(Ozone ~ Month, data = airquality, subset = Month %in% c(5, 8)), the example
// of its help page, gives W = 127.5 and p = 0.0001208. R's page shows no interval: it is checked by what it means.
func TestWilcoxon(t *testing.T) {
	may := []float64{41, 36, 12, 18, 28, 23, 19, 8, 7, 16, 11, 14, 18, 14, 34, 6, 30, 11, 1, 11, 4, 32, 23, 45,
		115, 37}
	august := []float64{39, 9, 16, 78, 35, 66, 122, 89, 110, 44, 28, 65, 22, 59, 23, 31, 44, 21, 9, 45, 168, 73,
		76, 118, 84, 85}
	w := wilcoxon{may, august}
	if p := math.Erfc(math.Abs(w.z(0)) / math.Sqrt2); math.Abs(p-0.0001208) > 5e-8 {
		t.Errorf("p %v, want 0.0001208", p)
	}
	low, high := w.interval(0.95)
	const q, near = 1.959964, 2 * wilcoxonPrecision
	if !(w.z(low-near) >= q && w.z(low+near) <= q && w.z(high-near) >= -q && w.z(high+near) <= -q) || low > high {
		t.Errorf("interval from %v to %v, where z is %v and %v", low, high, w.z(low), w.z(high))
	}
	var differences []float64
	for _, x := range may {
		for _, y := range august {
			differences = append(differences, x-y)
		}
	}
	if got, want := w.estimate(), median(differences); math.Abs(got-want) > wilcoxonPrecision {
		t.Errorf("estimate %v, want the median of all differences, %v", got, want)
	}
}

func TestScore(t *testing.T) {
	same := [arms][]float64{{1, 2, 3, 4, 5}, {1.1, 2.1, 2.9, 4.2, 5}}
	worse := [arms][]float64{{11, 12, 13, 14, 15}, {1.1, 2.1, 2.9, 4.2, 5}}
	better := [arms][]float64{{1.1, 2.1, 2.9, 4.2, 5}, {11, 12, 13, 14, 15}}
	slightly := [arms][]float64{{1, 1, 1, 1, 2}, {1, 1, 1, 1, 1}}
	none := [arms][]float64{{0, 0, 0}, {0, 0, 0}}
	for _, c := range []struct {
		metrics [][arms][]float64
		want    float64
	}{
		{[][arms][]float64{same}, 100}, {[][arms][]float64{worse}, 0}, {[][arms][]float64{same, worse}, 50},
		{[][arms][]float64{better, slightly, none}, 100}, {[][arms][]float64{{}, same}, 100},
		{[][arms][]float64{{}}, 0},
	} {
		if got := score(c.metrics...); got != c.want {
			t.Errorf("score %v of %v, want %v", got, c.metrics, c.want)
		}
	}
}
