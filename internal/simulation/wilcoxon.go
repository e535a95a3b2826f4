package simulation

import (
	"cmp"
	"math"
	"slices"
)

// wilcoxonPrecision is how near roots are found, as in R.
const wilcoxonPrecision = 1e-4

// wilcoxon compares two samples by the Mann-Whitney U test, which is Wilcoxon's rank sum test, in the normal
// approximation with corrections for ties and continuity: R's wilcox.test with exact = FALSE, which Kayenta
// translated (Mann, Whitney, "On a Test of Whether one of Two Random Variables is Stochastically Larger than the
// Other", 1947; Hollander, Wolfe, "Nonparametric Statistical Methods", 1973, for the interval).
type wilcoxon struct{ x, y []float64 }

// tied says whether all values are the same.
func (w wilcoxon) tied() bool {
	return slices.Min(w.x) == slices.Max(w.x) && slices.Min(w.y) == slices.Max(w.y) && w.x[0] == w.y[0]
}

// z is how many standard deviations x, less a shift, lies above y.
func (w wilcoxon) z(shift float64) float64 {
	type ranked struct {
		v   float64
		ofX bool
	}
	all := make([]ranked, 0, len(w.x)+len(w.y))
	for _, v := range w.x {
		all = append(all, ranked{v - shift, true})
	}
	for _, v := range w.y {
		all = append(all, ranked{v, false})
	}
	slices.SortFunc(all, func(a, b ranked) int { return cmp.Compare(a.v, b.v) })
	sum, ties := 0.0, 0.0
	for i := 0; i < len(all); {
		j := i
		for j < len(all) && all[j].v == all[i].v {
			j++
		}
		n, rank := float64(j-i), float64(i+j+1)/2
		ties += n*n*n - n
		for ; i < j; i++ {
			if all[i].ofX {
				sum += rank
			}
		}
	}
	x, y := float64(len(w.x)), float64(len(w.y))
	u := sum - x*(x+1)/2 - x*y/2
	deviation := math.Sqrt(x * y / 12 * (x + y + 1 - ties/((x+y)*(x+y-1))))
	switch {
	case deviation == 0:
		return 0
	case u > 0:
		u -= 0.5
	case u < 0:
		u += 0.5
	}
	return u / deviation
}

// shift is where z falls below a quantile.
func (w wilcoxon) shift(quantile float64) float64 {
	low, high := slices.Min(w.x)-slices.Max(w.y), slices.Max(w.x)-slices.Min(w.y)
	if w.z(low) <= quantile {
		return low
	}
	if w.z(high) >= quantile {
		return high
	}
	for high-low > wilcoxonPrecision {
		if middle := (low + high) / 2; w.z(middle) > quantile {
			low = middle
		} else {
			high = middle
		}
	}
	return (low + high) / 2
}

// interval is that of the difference at a level of confidence.
func (w wilcoxon) interval(level float64) (low, high float64) {
	q := math.Sqrt2 * math.Erfinv(level)
	return w.shift(q), w.shift(-q)
}

// estimate is that of the difference by Hodges and Lehmann.
func (w wilcoxon) estimate() float64 { return w.shift(0) }
