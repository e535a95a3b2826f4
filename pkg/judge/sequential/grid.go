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

// Grid is the length of a cell: the median gap between two scrapes, in whole seconds.
func Grid(gaps []time.Duration) time.Duration {
	if len(gaps) == 0 {
		return usualGap
	}
	slices.Sort(gaps)
	middle := gaps[len(gaps)/2].Seconds()
	if len(gaps)%2 == 0 {
		middle = (middle + gaps[len(gaps)/2-1].Seconds()) / 2
	}
	whole := time.Duration(math.Floor(middle+0.5)) * time.Second
	return min(max(whole, shortestGap), longestGap)
}

// Closed is how many cells are closed when so much time has passed since the start.
func Closed(since, grid, settle time.Duration) int {
	if since < settle {
		return 0
	}
	return int((since - settle) / grid)
}

// CellAt is the cell that holds a sample: each is open on the left and closed on the right.
func CellAt(at, grid time.Duration) int { return int((at+grid-1)/grid) - 1 }

// firstCell is the first cell that starts at or after a stage's beginning.
func firstCell(at, grid time.Duration) int { return int((max(at, 0) + grid - 1) / grid) }
