package sequential

import "math"

// slowAllowed is the share of requests that may take longer than a limit of their duration: its 99th percentile.
const slowAllowed = 0.01

// Limited is a rate that the canary may not exceed while its primary does not.
type Limited struct {
	Le    float64 // milliseconds beyond which a request is bad, 0 where errors are
	Most  float64 // the rate that is allowed
	Seen  Pair
	Alpha float64 // of each arm's confidence sequence
}

// limited are the limits of a basis, on what has been seen.
func (w *weighing) limited() []Limited {
	var all []Limited
	if w.Most > 0 {
		all = append(all, Limited{Most: w.Most, Seen: w.seen, Alpha: w.Alpha / 4})
	}
	if w.Longest > 0 {
		all = append(all, Limited{Le: w.Longest, Most: slowAllowed, Seen: w.tooSlow, Alpha: w.Alpha / 4})
	}
	return all
}

// Broken says whether the canary is beyond the limit and its primary within, both beyond doubt: the confidence
// sequences of Interval lie on its two sides.
func (l Limited) Broken() bool { return l.beyond(l.Seen.Canary) && l.within(l.Seen.Primary) }

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
	return l.Most <= 0 || l.Most >= 1 || logMixture(c, l.Most, limit, narrowestAt) < limit
}

// Ends are the confidence sequences of both arms, as Broken compares them: where the canary's begins, and where the
// primary's ends.
func (l Limited) Ends() (canaryLow, primaryHigh float64) {
	canaryLow, _ = interval(l.Seen.Canary, l.Alpha, narrowestAt)
	_, primaryHigh = interval(l.Seen.Primary, l.Alpha, narrowestAt)
	return canaryLow, primaryHigh
}
