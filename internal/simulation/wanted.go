package simulation

import (
	"fmt"
	"math"
	"strings"
)

// wanted is what a row should come to, in words and as checks that say what is missed, if anything is.
type wanted struct {
	text   string
	checks []check
}

type check func(measured) string

// all wants several things.
func all(parts ...wanted) wanted {
	var texts []string
	var sum wanted
	for _, p := range parts {
		if p.text != "" {
			texts = append(texts, p.text)
		}
		sum.checks = append(sum.checks, p.checks...)
	}
	sum.text = strings.Join(texts, ", ")
	return sum
}

// misses says in what a row is worse than wanted.
func (w wanted) misses(m measured) []string {
	var list []string
	for _, check := range w.checks {
		if text := check(m); text != "" {
			list = append(list, text)
		}
	}
	return list
}

func one(text string, c check) wanted { return wanted{text, []check{c}} }

// takenBack wants at most a share taken back, in percent.
func takenBack(most float64) wanted {
	return one("taken back ≤ "+short(most)+" %", func(m measured) string {
		return above("taken back", m.shares[rolledBack], most)
	})
}

// boundedBy wants the upper 95 % bound of the share taken back to be at most so much, in percent. It asks nothing of
// so few runs that none taken back would not be enough.
func boundedBy(most float64) wanted {
	return one("bound ≤ "+short(most)+" %", func(m measured) string {
		if (measured{runs: m.runs}).most(rolledBack) > most {
			return ""
		}
		return above("upper 95 % bound of those taken back", m.most(rolledBack), most)
	})
}

func promotedAtLeast(least float64) wanted {
	return one("promoted ≥ "+short(least)+" %", func(m measured) string {
		return below("promoted", m.shares[promoted], least)
	})
}

func promotedAtMost(most float64) wanted {
	return one("promoted ≤ "+short(most)+" %", func(m measured) string {
		return above("promoted", m.shares[promoted], most)
	})
}

// caught wants a share taken back, in percent.
func caught(least float64) wanted {
	return one("caught ≥ "+short(least)+" %", func(m measured) string {
		return below("taken back", m.shares[rolledBack], least)
	})
}

// within wants the median time until the canary is taken back to be at most so many seconds.
func within(seconds float64) wanted {
	return one("median ≤ "+short(seconds)+" s", func(m measured) string {
		return later(m.second[rolledBack], seconds)
	})
}

func above(what string, got, most float64) string {
	if got <= most {
		return ""
	}
	return fmt.Sprintf("%s %.2f %%, want at most %.2f %%", what, got, most)
}

func below(what string, got, least float64) string {
	if got >= least {
		return ""
	}
	return fmt.Sprintf("%s %.2f %%, want at least %.2f %%", what, got, least)
}

func later(got, most float64) string {
	if got <= most {
		return ""
	}
	return fmt.Sprintf("median %v s, want at most %v s", got, most)
}

// kind is what a row shows, and so what is worse than its figures.
type kind int

const (
	bad     kind = iota // the canary is worse: it should be taken back
	healthy             // it is not: it should be promoted, and hardly ever be taken back
	limit               // it is not the code that is worse; shown so that nobody is surprised
	neither             // there is too little to tell
)

// figures are those of the specification: shares in percent, the median time to the end in seconds, the median of
// failed requests before the canary is taken back.
type figures struct {
	rolledBack, promoted, inconclusive float64
	second, failed                     float64
	reason                             string // of the inconclusive ones
	notBefore                          float64
}

func share(rolledBack, promoted, inconclusive float64, more ...float64) figures {
	f := figures{rolledBack: rolledBack, promoted: promoted, inconclusive: inconclusive}
	if len(more) > 0 {
		f.second = more[0]
	}
	if len(more) > 1 {
		f.failed = more[1]
	}
	return f
}

// luck is how much a share, in percent, may differ by chance, and half a point more.
func (m measured) luck(percent float64) float64 {
	p := percent / 100
	return 100*3*math.Sqrt(p*(1-p)/float64(m.runs)) + 0.5
}

// of wants figures, give or take what chance does, of rollouts of some weights in a kind of world.
func (f figures) of(kind kind, w World) wanted {
	most := func(o outcome, what string, want float64) check {
		return func(m measured) string { return above(what, m.shares[o], want+m.luck(want)) }
	}
	least := func(o outcome, what string, want float64) check {
		return func(m measured) string { return below(what, m.shares[o], want-m.luck(want)) }
	}
	v := wanted{text: f.text()}
	switch kind {
	case bad:
		v.checks = []check{least(rolledBack, "taken back", f.rolledBack), most(promoted, "promoted", f.promoted)}
	case healthy, limit:
		v.checks = []check{most(rolledBack, "taken back", f.rolledBack), least(promoted, "promoted", f.promoted)}
	case neither:
		v.checks = []check{most(rolledBack, "taken back", f.rolledBack), most(promoted, "promoted", f.promoted)}
	}
	if kind == healthy {
		v.checks = append(v.checks, func(m measured) string {
			return above("taken back whatever the noise", m.shares[rolledBack], 1)
		})
	}
	v.checks = append(v.checks, f.beside(kind, w)...)
	return v
}

// beside are the checks beside those of shares.
func (f figures) beside(kind kind, w World) []check {
	var list []check
	if f.second > 0 {
		list = append(list, func(m measured) string {
			if kind == bad {
				return later(m.second[rolledBack], f.second+w.interval()+settling)
			}
			return later(m.second[promoted], f.second+w.interval()+w.delay())
		})
	}
	if f.failed > 0 {
		list = append(list, func(m measured) string {
			if most := 1.15*f.failed + 2; m.failed > most {
				return fmt.Sprintf("median of %v failed requests, want at most %v", m.failed, most)
			}
			return ""
		})
	}
	if f.reason != "" {
		list = append(list, func(m measured) string {
			if 100*float64(m.reasons[f.reason])/float64(m.runs) >= 0.9*m.shares[inconclusive] {
				return ""
			}
			return fmt.Sprintf("reasons %v, want %s in nine of ten", m.reasons, f.reason)
		})
	}
	if f.notBefore > 0 {
		list = append(list, func(m measured) string {
			if m.first > f.notBefore {
				return ""
			}
			return fmt.Sprintf("promoted after %v s, want none before %v s", m.first, f.notBefore)
		})
	}
	return list
}

// settling is how many seconds after its end a cell is judged.
const settling = 5

// interval is one between two scrapes, in seconds.
func (w World) interval() float64 { return float64(w.scrapes.every) }

// delay is what the whole judge waits for and figures do not know, in seconds: each weight ends when a cell has
// settled, and the cell in which it is raised counts for the one before.
func (w World) delay() float64 {
	n := float64(len(w.weights))
	return n*settling + (n-1)*w.interval()
}

func (f figures) text() string {
	text := fmt.Sprintf("%s / %s / %s", short(f.rolledBack), short(f.promoted), short(f.inconclusive))
	if f.rolledBack+f.promoted+f.inconclusive < 99 {
		text = "taken back at most " + short(f.rolledBack)
	}
	if f.second > 0 {
		text += " · " + short(f.second)
	}
	if f.failed > 0 {
		text += " · " + short(f.failed)
	}
	if f.reason != "" {
		text += ", " + f.reason
	}
	return text
}
