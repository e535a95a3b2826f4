package simulation

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
)

const head = `<!-- Written by make bench-judge. -->
# How often the judge errs, and how long it takes

Simulated rollouts with fixed seeds, %d a row, and ten times as many if nothing is wrong with the canary. Each row
is played twice:

- by Flagger's rule: each minute it looks at the last minute, wants a success rate of at least 99 %% (in the last
  table a 99th percentile of at most 500 ms), and ends with the fifth failed look;
- by the sequential judge: it reads counters every 15 s; the first stages have gate ` + "`time-box`" + `, the last has gate
  ` + "`prove`" + `.

An entry reads: taken back / promoted / inconclusive in percent · median seconds to that end · median of failed
requests of the canary before it was taken back. A requirement may be missed by chance: by three standard errors and
half a point of a share, one interval, 15 %% and two requests.
`

const foot = `
Two rows show limits. One unlucky pod that really fails more often than its primary is found, though its code is the
same: only more pods help. Errors that come in clumps count as independent ones: set ` + "`design-effect`" + ` to how many
usually come at once.
`

// Report measures every row and writes the page. It returns what is missed.
func Report(w io.Writer, runs int, progress func(string)) ([]string, error) {
	var page strings.Builder
	fmt.Fprintf(&page, head, runs)
	var missed []string
	seed := uint64(1)
	for _, t := range tables() {
		fmt.Fprintf(&page, "\n## %s\n\n", t.title)
		if t.text != "" {
			fmt.Fprintf(&page, "%s\n\n", t.text)
		}
		page.WriteString("| canary | Flagger's rule | required | sequential judge | |\n|---|---|---|---|---|\n")
		for _, r := range t.rows {
			n := runs * max(r.times, 1)
			flagger := measure(r.world, runs, seed, (*life).flagger)
			judged := measure(r.world, n, seed, (*life).judge)
			seed++
			mark := "yes"
			for _, m := range r.misses(judged) {
				mark = "**no**"
				missed = append(missed, r.name+": "+m)
			}
			line := fmt.Sprintf("| %s | %s | %s | %s | %s |", r.name, r.entry(flagger), r.required(), r.entry(judged),
				mark)
			progress(line)
			page.WriteString(line + "\n")
		}
	}
	page.WriteString(foot)
	_, err := io.WriteString(w, page.String())
	return missed, err
}

// entry is what a row came to.
func (r row) entry(m measured) string {
	text := fmt.Sprintf("%s / %s / %s",
		short(m.shares[rolledBack]), short(m.shares[promoted]), short(m.shares[inconclusive]))
	end := promoted
	if m.shares[rolledBack] > 0 && (r.kind == bad || m.shares[promoted] == 0 || m.shares[rolledBack] > 50) {
		end = rolledBack
	}
	if m.shares[end] > 0 {
		text += " · " + short(m.second[end])
	}
	if end == rolledBack {
		text += " · " + short(m.failed)
	}
	if m.shares[inconclusive] > 99 && len(m.reasons) > 0 {
		text += ", " + m.usual()
	}
	return text
}

// usual is the commonest reason of the inconclusive ones.
func (m measured) usual() string {
	reasons := slices.Sorted(maps.Keys(m.reasons))
	return slices.MaxFunc(reasons, func(a, b string) int { return m.reasons[a] - m.reasons[b] })
}

func (r row) required() string {
	f := r.want
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

func short(v float64) string {
	text := strconv.FormatFloat(v, 'f', 2, 64)
	return strings.TrimSuffix(strings.TrimRight(text, "0"), ".")
}
