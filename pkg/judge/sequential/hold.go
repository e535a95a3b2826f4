package sequential

import "time"

const (
	holdFor      = time.Minute
	holdRate     = 0.05
	holdRelative = 2.0
	holdRequests = 20
)

// HoldLimit is the rate of errors of the primary above which nothing is promoted.
func HoldLimit(before float64) float64 { return max(holdRate, holdRelative*before) }

// held says whether the primary failed too much in the last minute: nobody promotes during an outage.
func held(recent Counts, before float64) bool {
	return recent.Requests >= holdRequests && recent.Rate() > HoldLimit(before)
}

// lastMinute is the last cells, of a minute or one.
func lastMinute(cells []Cell, grid time.Duration) []Cell {
	length, most := time.Duration(0), max(grid, holdFor/grid*grid)
	for i := len(cells) - 1; i >= 0; i-- {
		if length += cells[i].Length; length > most && i < len(cells)-1 {
			return cells[i+1:]
		}
	}
	return cells
}
