package sequential

import (
	"math"
	"slices"
	"time"
)

const (
	usualGap    = 15 * time.Second
	shortestGap = 5 * time.Second
	longestGap  = time.Minute
)

// Grid is the length of a cell: the usual gap between two scrapes, in whole seconds.
func Grid(gaps []time.Duration) time.Duration {
	if len(gaps) == 0 {
		return usualGap
	}
	whole := time.Duration(math.Floor(Gap(gaps).Seconds()+0.5)) * time.Second
	return min(max(whole, shortestGap), longestGap)
}

// Gap is the median gap between two scrapes, 0 where there were no two.
func Gap(gaps []time.Duration) time.Duration {
	if len(gaps) == 0 {
		return 0
	}
	slices.Sort(gaps)
	middle := gaps[len(gaps)/2]
	if len(gaps)%2 == 0 {
		middle = (middle + gaps[len(gaps)/2-1]) / 2
	}
	return middle
}

// CellAt is the cell that holds a sample: each is open on the left and closed on the right.
func CellAt(at, grid time.Duration) int { return int((at+grid-1)/grid) - 1 }
