package sequential

import "math"

const (
	// slowAllowed is the share of requests that may take longer than a limit of their duration: its 99th percentile.
	slowAllowed = 0.01
	// confirmed is after how many cells in a row a limit must be broken: counters of the arms are read at different
	// times, and what both have seen only one may have told.
	confirmed = 2
)

// Limited is a rate that the canary may not exceed while its primary does not.
type Limited struct {
	Le    float64 // milliseconds beyond which a request is bad, 0 where errors are
	Most  float64 // the rate that is allowed
	Seen  Pair
	Alpha float64 // of each arm's confidence sequence
	Worst Counts  // the cell in which most of the canary's were bad
	Clump float64 // bad requests that usually come at once, at least 1
	Burst float64 // the same of the canary's own, as far as seen
	Cells int     // in a row after which it was exceeded beyond doubt, up to the last one
}

// limited are the limits of a basis, on what has been seen.
func (w *weighing) limited() []Limited {
	var all []Limited
	if w.Most > 0 {
		all = append(all, Limited{Most: w.Most, Seen: w.seen, Alpha: w.Alpha / 4, Worst: w.worst,
			Clump: w.Design, Burst: w.bursts(), Cells: w.tooBad})
	}
	if w.Longest > 0 {
		all = append(all, Limited{Le: w.Longest, Most: slowAllowed, Seen: w.slowest, Alpha: w.Alpha / 4,
			Worst: w.worstSlow, Clump: w.Clumps, Cells: w.tooSlow})
	}
	return all
}

// watchLimits counts the cells after which each limit is exceeded. A cold one tells nothing of durations.
func (w *weighing) watchLimits(cold bool) {
	for _, l := range w.limited() {
		cells := &w.tooBad
		if l.Le > 0 {
			if cells = &w.tooSlow; cold {
				continue
			}
		}
		if *cells++; !l.exceeded() {
			*cells = 0
		}
	}
}

// bursts is how many errors of the canary have come at once.
func (w *weighing) bursts() float64 {
	cells := make([]Counts, len(w.moments))
	for i, m := range w.moments {
		cells[i] = m.Cell.Canary
	}
	return Dispersion(cells)
}

// Broken says whether the canary has been beyond the limit, and its primary within, beyond doubt and for long enough.
func (l Limited) Broken() bool { return l.Cells >= confirmed }

// exceeded says whether the confidence sequences of both arms lie on the two sides of the limit, and whether that of
// the canary does without its worst cell: no single one may convict.
func (l Limited) exceeded() bool {
	canary := l.Seen.Canary
	but := Counts{canary.Requests - l.Worst.Requests, canary.Bad - l.Worst.Bad}
	return l.beyond(canary) && l.beyond(but) && l.within(l.Seen.Primary)
}

// Suspect says whether the canary seems to be beyond, and its primary not.
func (l Limited) Suspect() bool {
	return l.Seen.Canary.Rate() > l.Most && l.Seen.Primary.Rate() <= l.Most
}

func (l Limited) beyond(c Counts) bool {
	return c.Requests > 0 && c.Rate() > l.Most && !l.plausible(l.own(c))
}

func (l Limited) within(c Counts) bool {
	return c.Requests > 0 && c.Rate() <= l.Most && !l.plausible(single(c, l.Clump))
}

// plausible says whether the limit itself may be the rate.
func (l Limited) plausible(c Counts) bool {
	limit := math.Log(1 / l.Alpha)
	return l.Most <= 0 || l.Most >= 1 || logMixture(c, l.Most, limit, narrowestAt) < limit
}

// own are counts of the canary as if its bad requests came one by one.
func (l Limited) own(c Counts) Counts { return single(c, max(l.Clump, l.Burst)) }

// single are counts as if bad requests came one by one.
func single(c Counts, clump float64) Counts {
	clump = max(clump, 1)
	return Counts{c.Requests / clump, c.Bad / clump}
}

// Ends are the confidence sequences of both arms, as Broken compares them: where the canary's begins, and where the
// primary's ends.
func (l Limited) Ends() (canaryLow, primaryHigh float64) {
	canaryLow, _ = interval(l.own(l.Seen.Canary), l.Alpha, narrowestAt)
	_, primaryHigh = interval(single(l.Seen.Primary, l.Clump), l.Alpha, narrowestAt)
	return canaryLow, primaryHigh
}
