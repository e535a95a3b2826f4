package counting

import (
	"slices"
	"time"

	"github.com/prometheus/common/model"

	"github.com/serin-cd/serin/pkg/judge/sequential"
)

const (
	overdue = 2           // intervals after which a scrape that does not come is not waited for
	longGap = 1.5         // intervals between two scrapes of a proxy beyond which one was lost
	jitter  = time.Second // that a scrape may be late by
)

// Layout says which cells of the grid are closed, and which of them are one because a proxy counted over all of them.
type Layout struct {
	cells []laid
	place []int           // of each cell of the grid, among cells
	early bool            // the last one is not closed, but each proxy has been read in it
	due   []time.Duration // after the start, when each proxy that lives should be scraped next
}

// State is how many cells of the grid are closed, and whether the next one is looked at early.
func (l Layout) State() (closed int, early bool) {
	closed = len(l.place)
	if l.early {
		closed = l.cells[len(l.cells)-1].first
	}
	return closed, l.early
}

// Closed is how many cells of the grid are closed.
func (l Layout) Closed() int {
	closed, _ := l.State()
	return closed
}

// Due is when each proxy that lives should be scraped next, after the start.
func (l Layout) Due() []time.Duration { return l.due }

// laid are cells of the grid that are counted as one.
type laid struct {
	first, last int
	closed      time.Duration // after the start
}

// at is the place of a sample, which lies so long after the start; below 0 where its cell is open.
func (l Layout) at(since, grid time.Duration) int {
	if k := sequential.CellAt(since, grid); k < len(l.place) {
		return l.place[k]
	}
	return -1
}

// timetable is when a proxy was scraped, after the start and in order.
type timetable []time.Duration

// layout lays out what is known at the end of the window. A cell closes when every proxy that lives was scraped at or
// after its end, or is overdue; what a proxy counted over a gap joins the cells of the gap, for both arms.
func (a *answer) layout() Layout {
	tables := a.timetables()
	closed := a.closings(tables)
	joined := make([]bool, len(closed)) // with the cell before
	for _, t := range tables {
		for i := 1; i < len(t); i++ {
			join(joined, closed, t[i-1], t[i], a.Grid)
		}
	}
	var l Layout
	until := a.End.Sub(a.Start)
	for _, t := range tables {
		if last := t[len(t)-1]; until <= last+(1+overdue)*a.Grid+jitter {
			l.due = append(l.due, last+a.Grid)
		}
	}
	for k := 0; k < len(closed); k++ {
		first := k
		for k+1 < len(closed) && joined[k+1] {
			k++
		}
		next := laid{first, k, closed[k]}
		if l.early = closed[k] > until; l.early && !a.complete(tables, k) {
			l.early = false
			break
		}
		for range k + 1 - first {
			l.place = append(l.place, len(l.cells))
		}
		if l.cells = append(l.cells, next); l.early {
			break
		}
	}
	return l
}

// timetables are those of all proxies. The series of a proxy are mostly scraped together.
func (a *answer) timetables() []timetable {
	times := map[string][]model.Time{}
	for _, s := range a.list {
		known := times[s.proxy]
		if n := len(known) - len(s.samples); n >= 0 && len(s.blank) == 0 && equalTimes(known[n:], s.samples) {
			continue
		}
		known = append(known, s.blank...)
		for _, sample := range s.samples {
			known = append(known, sample.Timestamp)
		}
		slices.Sort(known)
		times[s.proxy] = slices.Compact(known)
	}
	tables := make([]timetable, 0, len(times))
	for _, known := range times {
		t := make(timetable, len(known))
		for i, at := range known {
			t[i] = a.since(at)
		}
		tables = append(tables, t)
	}
	return tables
}

func equalTimes(times []model.Time, samples []model.SamplePair) bool {
	for i, s := range samples {
		if times[i] != s.Timestamp {
			return false
		}
	}
	return true
}

// closings is when each cell that has begun closes. One that stays open, as far as is known, closes after the end of
// the window.
func (a *answer) closings(tables []timetable) []time.Duration {
	until := a.End.Sub(a.Start)
	closed := make([]time.Duration, 0, max(0, int(until/a.Grid)+1))
	next := make([]int, len(tables))
	for end := a.Grid; end-a.Grid < until; end += a.Grid {
		at := time.Duration(0)
		for i, t := range tables {
			for next[i] < len(t) && t[next[i]] < end {
				next[i]++
			}
			if next[i] == 0 {
				continue // it is met later
			}
			seen := t[next[i]-1] + (1+overdue)*a.Grid + jitter
			if next[i] < len(t) {
				seen = min(seen, t[next[i]])
			}
			at = max(at, seen)
		}
		if at < end { // no proxy lives
			at = end + a.Settle
		}
		if n := len(closed); n > 0 {
			at = max(at, closed[n-1])
		}
		closed = append(closed, at)
	}
	return closed
}

// join joins the cells that a proxy counted over from one scrape to the next, if one was lost in between; but for those
// that had closed without it.
func join(joined []bool, closed []time.Duration, from, to, grid time.Duration) {
	if float64(to-from) <= longGap*float64(grid) || to <= 0 {
		return
	}
	first, last := max(0, sequential.CellAt(from, grid)+1), sequential.CellAt(to, grid)
	for first < last && closed[first] < to {
		first++
	}
	for k := first + 1; k <= last; k++ {
		joined[k] = true
	}
}

// complete says whether each proxy that lives was scraped in a cell that is still open, and one was.
func (a *answer) complete(tables []timetable, cell int) bool {
	found := false
	until := a.End.Sub(a.Start)
	for _, t := range tables {
		last := t[len(t)-1]
		switch {
		case sequential.CellAt(last, a.Grid) >= cell:
			found = true
		case until <= last+(1+overdue)*a.Grid+jitter:
			return false
		}
	}
	return found
}
