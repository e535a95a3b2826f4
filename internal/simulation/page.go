package simulation

import (
	"context"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

const head = `<!-- Written by make bench-judge. -->
# How often the judge errs, and how long it takes

Simulated rollouts with fixed seeds, %d a row, and ten times as many in some rows in which nothing is wrong with the
canary. Requests arrive at random; proxies count them as Istio's do, series by series; a simulated Prometheus scrapes
the proxies, and the whole judge reads its raw samples through the queries that it would send. Time is virtual.

Each row is also played by what others do. They are spared scrapes: they see exactly what happened.

- **Flagger**: each minute it looks at the last minute, wants a success rate of at least 99 %% and, where durations are
  counted, a 99th percentile of at most 500 ms, and ends with the fifth failed look.
- **Kayenta**, as Spinnaker runs it: NetflixACAJudge, a Mann-Whitney U test with confidence 0.98 and tolerance 0.25, on
  error rate and, where durations are counted, 99th percentile, both in direction increase; five one-minute points of
  canary and primary at each weight; scores 75 (marginal) and 95 (pass).
- **Argo Rollouts**, as its documentation begins: at each weight a pause of five minutes and one measurement,
  ` + "`result[0] >= 0.95`" + ` of the success rate by ` + "`irate`" + `, with failureLimit 0.

An entry reads: taken back / promoted / inconclusive in percent · median seconds to that end · median of failed
requests of the canary until its weight was 0. Parts that are 0 at its end are left out.
`

const foot = `
One row shows a limit: one unlucky pod that really fails more often than its primary is found, though its code is the
same. Only more pods help.
`

const columns = "| canary | Flagger | Kayenta | Argo Rollouts | wanted | sequential judge | |\n" +
	"|---|---|---|---|---|---|---|\n"

// table is some rows under a heading.
type table struct {
	title, text string
	rows        []row
}

// row is one line of a table.
type row struct {
	name  string
	bad   bool // the canary should be taken back
	world World
	want  wanted
	times int  // as many runs
	sure  bool // it hardly depends on chance
}

func tables() []table { return append(shipped(), specified()...) }

// Report measures the rows whose names match, and writes the page. It returns what is missed.
func Report(ctx context.Context, w io.Writer, runs int, only *regexp.Regexp, progress func(string)) ([]string, error) {
	var page strings.Builder
	fmt.Fprintf(&page, head, runs)
	var missed []string
	seed := uint64(0)
	for _, t := range tables() {
		fmt.Fprintf(&page, "\n## %s\n\n", t.title)
		if t.text != "" {
			fmt.Fprintf(&page, "%s\n\n", t.text)
		}
		page.WriteString(columns)
		for _, r := range t.rows {
			seed++ // of this row, whichever others are played
			if !only.MatchString(r.name) {
				continue
			}
			line, misses, err := r.play(ctx, runs, seed)
			if err != nil {
				return nil, fmt.Errorf("playing %q: %w", r.name, err)
			}
			missed = append(missed, misses...)
			progress(line)
			page.WriteString(line + "\n")
		}
	}
	page.WriteString(foot)
	_, err := io.WriteString(w, page.String())
	return missed, err
}

// play is the line of a row, and what is missed in it.
func (r row) play(ctx context.Context, runs int, seed uint64) (line string, missed []string, err error) {
	cells := []string{r.name}
	for _, rule := range []player{(*life).flagger, (*life).kayenta, (*life).argo} {
		m, err := measure(ctx, r.world, runs, seed, rule)
		if err != nil {
			return "", nil, err
		}
		cells = append(cells, r.entry(m))
	}
	m, err := measure(ctx, r.world, runs*max(r.times, 1), seed, (*life).judged)
	if err != nil {
		return "", nil, err
	}
	mark := "yes"
	for _, text := range r.want.misses(m) {
		mark = "**no**"
		missed = append(missed, fmt.Sprintf("%s: %s (%s)", r.name, text, m.why()))
	}
	cells = append(cells, r.want.text, r.entry(m), mark)
	return "| " + strings.Join(cells, " | ") + " |", missed, nil
}

// entry is what a row came to.
func (r row) entry(m measured) string {
	text := short(m.shares[rolledBack]) + " / " + short(m.shares[promoted])
	if m.count[inconclusive] > 0 {
		text += " / " + short(m.shares[inconclusive])
	}
	end := promoted
	if m.count[rolledBack] > 0 && (r.bad || m.count[promoted] == 0 || m.shares[rolledBack] > 50) {
		end = rolledBack
	}
	if m.count[end] > 0 {
		text += " · " + short(m.second[end])
	}
	if end == rolledBack {
		text += " · " + short(m.failed)
	}
	if m.shares[inconclusive] > 99 && len(m.reasons) > 0 {
		text += ", " + commonest(m.reasons)
	}
	return text
}

// why are the reasons to take back or to decide nothing.
func (m measured) why() string {
	return fmt.Sprintf("taken back %v, inconclusive %v", m.causes, m.reasons)
}

func commonest(reasons map[string]int) string {
	names := slices.Sorted(maps.Keys(reasons))
	return slices.MaxFunc(names, func(a, b string) int { return reasons[a] - reasons[b] })
}

func short(v float64) string {
	text := strconv.FormatFloat(v, 'f', 2, 64)
	if !strings.Contains(text, ".") {
		return text
	}
	return strings.TrimSuffix(strings.TrimRight(text, "0"), ".")
}
