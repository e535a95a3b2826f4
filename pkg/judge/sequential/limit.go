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
	Clump float64 // bad requests that usually come at once, at least 1
	Cells int     // in a row after which it was exceeded beyond doubt, up to the last one
}

// limited are the limits of a basis, on what has been seen.
func (w *weighing) limited() []Limited {
	var all []Limited
	if w.Most > 0 {
		all = append(all, Limited{Most: w.Most, Seen: w.seen, Alpha: w.Alpha / 4, Clump: w.Design, Cells: w.tooBad})
	}
	if w.Longest > 0 {
		all = append(all, Limited{Le: w.Longest, Most: slowAllowed, Seen: w.slowest, Alpha: w.Alpha / 4,
			Clump: w.Clumps, Cells: w.tooSlow})
	}
	return all
}

// watchLimits counts the cells after which each limit is exceeded.
func (w *weighing) watchLimits() {
	for _, l := range w.limited() {
		cells := &w.tooBad
		if l.Le > 0 {
			cells = &w.tooSlow
		}
		if *cells++; !l.exceeded() {
			*cells = 0
		}
	}
}

// Broken says whether the canary has been beyond the limit, and its primary within, beyond doubt and for long enough.
func (l Limited) Broken() bool { return l.Cells >= confirmed }

// exceeded says whether the confidence sequences of both arms lie on the two sides of the limit.
func (l Limited) exceeded() bool { return l.beyond(l.Seen.Canary) && l.within(l.Seen.Primary) }

// Suspect says whether the canary seems to be beyond, and its primary not.
func (l Limited) Suspect() bool {
	return l.Seen.Canary.Rate() > l.Most && l.Seen.Primary.Rate() <= l.Most
}

func (l Limited) beyond(c Counts) bool {
	return c.Requests > 0 && c.Rate() > l.Most && !l.plausible(c)
}

func (l Limited) within(c Counts) bool {
	return c.Requests > 0 && c.Rate() <= l.Most && !l.plausible(c)
}

// plausible says whether the limit itself may be the rate.
func (l Limited) plausible(c Counts) bool {
	limit := math.Log(1 / l.Alpha)
	return l.Most <= 0 || l.Most >= 1 || logMixture(l.single(c), l.Most, limit, narrowestAt) < limit
}

// single are counts as if bad requests came one by one.
func (l Limited) single(c Counts) Counts {
	clump := max(l.Clump, 1)
	return Counts{c.Requests / clump, c.Bad / clump}
}

// Ends are the confidence sequences of both arms, as Broken compares them: where the canary's begins, and where the
// primary's ends.
func (l Limited) Ends() (canaryLow, primaryHigh float64) {
	canaryLow, _ = interval(l.single(l.Seen.Canary), l.Alpha, narrowestAt)
	_, primaryHigh = interval(l.single(l.Seen.Primary), l.Alpha, narrowestAt)
	return canaryLow, primaryHigh
}
