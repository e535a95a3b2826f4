package sequential

import "time"

const (
	holdFor      = time.Minute
	holdRate     = 0.05
	holdRelative = 2.0
	holdRequests = 20
)

// holdLimit is the primary's error rate above which nobody should promote anything.
func holdLimit(before float64) float64 { return max(holdRate, holdRelative*before) }

// held says whether the primary failed in the last of the closed cells.
func held(cells []Pair, grid time.Duration, before float64) bool {
	last := heldCells(grid)
	var recent Counts
	for _, c := range cells[max(0, len(cells)-last):] {
		recent = recent.Plus(c.Primary)
	}
	return recent.Requests >= holdRequests && recent.Rate() > holdLimit(before)
}

func heldCells(grid time.Duration) int { return max(1, int(holdFor/grid)) }
