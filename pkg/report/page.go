package report

import (
	"fmt"
	"html"
	"io"
	"math"
	"strings"

	"github.com/serin-cd/serin/pkg/judge/sequential"
)

const style = `
:root{--ink:#1b1f24;--paper:#fff;--soft:#6a737d;--rule:#d8dee4;--canary:#c2410c;--primary:#1d4ed8;--good:#15803d;--bad:#b91c1c;--wait:#a16207}
@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--paper:#0d1117;--soft:#8b949e;--rule:#30363d;--canary:#fb923c;--primary:#79a8ff;--good:#4ade80;--bad:#f87171;--wait:#facc15}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:780px;margin:2rem auto;padding:0 1rem}
h1{font-size:1.35rem;margin:0}.verdict{border-left:6px solid var(--wait);padding:.3rem 0 .3rem .9rem;margin:1rem 0}
.verdict.pass{border-color:var(--good)}.verdict.fail{border-color:var(--bad)}.verdict b{text-transform:uppercase}
table{border-collapse:collapse;margin:.8rem 0;font-variant-numeric:tabular-nums}th,td{text-align:right;padding:.15rem .7rem;border-bottom:1px solid var(--rule)}
th:first-child,td:first-child{text-align:left}figure{margin:1.4rem 0}figcaption{font-weight:600;margin-bottom:.2rem}
svg{width:100%;height:auto;font:11px system-ui,sans-serif;fill:none}svg text{fill:var(--soft);stroke:none}.left{text-anchor:end}.middle{text-anchor:middle}
svg text.small{font-size:9px}path.grid{stroke:var(--rule)}path.axis{stroke:var(--soft)}path.phase{stroke:var(--soft);stroke-dasharray:2 3}
path.level{stroke-dasharray:6 3;stroke:var(--soft)}path.level.bad{stroke:var(--bad)}path.level.good{stroke:var(--good)}text.bad{fill:var(--bad)!important}text.good{fill:var(--good)!important}
path.canary,path.blame{stroke:var(--canary);stroke-width:2}path.primary,path.acquit{stroke:var(--primary);stroke-width:2}path.plain{stroke:var(--soft);stroke-width:2}
circle.canary,circle.canarydot{fill:var(--canary)}circle.primary,circle.primarydot{fill:var(--primary)}path.band{stroke:none!important;opacity:.15}path.band.canary{fill:var(--canary)}path.band.primary{fill:var(--primary)}
path.canarydot{stroke:var(--canary);stroke-width:3;stroke-dasharray:2 3}path.primarydot{stroke:var(--primary);stroke-width:3;stroke-dasharray:2 3}
p.note{color:var(--soft)}code{font-size:.85em;word-break:break-all}
`

// Page writes the report as one HTML file that needs nothing else.
func (r Report) Page(w io.Writer) error {
	var b strings.Builder
	title := fmt.Sprintf("%s.%s at %d %%: %s", r.Target.Canary, r.Target.Namespace, r.Stage.Weight, r.Verdict)
	fmt.Fprintf(&b, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><title>%s</title><style>%s</style></head><body>\n",
		html.EscapeString(title), style)
	fmt.Fprintf(&b, "<h1>Canary of %s in %s, %d %% of the traffic</h1>\n<div class=\"verdict %s\"><b>%s</b>: %s. %s<br>%s</div>\n",
		html.EscapeString(r.Target.Canary), html.EscapeString(r.Target.Namespace), r.Stage.Weight, r.Verdict, r.Verdict,
		html.EscapeString(r.Reason), html.EscapeString(meanings[r.Reason]), html.EscapeString(r.Text))
	if r.Weighed != nil {
		r.summary(&b)
		r.plots(&b)
	}
	if len(r.Checks) > 0 {
		r.checks(&b)
	}
	r.remarks(&b)
	b.WriteString("</body></html>\n")
	_, err := io.WriteString(w, b.String())
	if err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}

// meanings say what a reason means to somebody who is called at night.
var meanings = map[string]string{
	sequential.HardFailure:       "Nearly every request to the canary failed while the primary answered.",
	sequential.Worse:             "More of the canary's requests fail than of the primary's, and not by chance.",
	sequential.Slower:            "More of the canary's requests are slow than of the primary's, and not by chance.",
	sequential.Healthy:           "A canary that is worse has been ruled out.",
	sequential.BoxedTime:         "Nothing speaks against the canary so far; a later stage has to prove it.",
	sequential.NoTraffic:         "Nobody called the canary, so nothing is known about it.",
	sequential.NoPrimaryTraffic:  "Nobody called the primary, so there is nothing to compare with.",
	sequential.TrafficNotShifted: "The canary does not get the share of requests that the route gives it.",
	sequential.PrimaryUnhealthy:  "The primary fails too: this is an incident, not the canary's fault, but no time to promote.",
	sequential.Suspect:           "Something speaks against the canary, but not enough to convict it.",
	sequential.LowTraffic:        "There were too few requests to tell.",
	sequential.Undecided:         "At that time there was no verdict yet.",
	"threshold":                  "The canary was outside its limits too often.",
	"no-values":                  "The metrics had no values.",
}

func (r Report) summary(b *strings.Builder) {
	b.WriteString("<table><tr><th>since the start</th><th>canary</th><th>primary</th></tr>\n")
	for i, m := range r.Metrics {
		if i == 0 {
			fmt.Fprintf(b, "<tr><td>requests</td><td>%s</td><td>%s</td></tr>\n", label(m.Canary.Requests), label(m.Primary.Requests))
		}
		fmt.Fprintf(b, "<tr><td>%s</td><td>%s</td><td>%s</td></tr>\n", m.what(), m.Canary.text(), m.Primary.text())
	}
	b.WriteString("</table>\n<table><tr><th>evidence</th><th>now</th><th>at most so far</th><th>decides at</th></tr>\n")
	for _, m := range r.Metrics {
		fmt.Fprintf(b, "<tr><td>%s: the canary is worse</td><td>%s</td><td>%s</td><td>%s</td></tr>\n", m.what(), number(m.Blame), number(m.BlameMax), number(m.BlameLimit))
		fmt.Fprintf(b, "<tr><td>%s: it is not worse by %s</td><td>%s</td><td>%s</td><td>%s</td></tr>\n", m.what(), percent(m.Margin), number(m.Acquit), number(m.AcquitMax), number(m.AcquitLimit))
	}
	b.WriteString("</table>\n<p class=\"note\">Evidence is like the winnings of somebody who bets one coin: to turn it into 100 by luck alone takes a chance of one in a hundred. In brackets is where a rate lies with 95 % confidence. ")
	if len(r.Metrics) > 2 {
		b.WriteString("Latency is blamed by the mean over its bounds.")
	}
	b.WriteString("</p>\n")
}

func (m Judged) what() string {
	if m.LeMs != nil {
		return fmt.Sprintf("longer than %s ms", label(*m.LeMs))
	}
	return "failed"
}

func (a Arm) text() string {
	return fmt.Sprintf("%s (%s, %s to %s)", label(a.Bad), percent(a.Rate), percent(a.Low), percent(a.High))
}

func percent(rate float64) string { return fmt.Sprintf("%.2f %%", 100*rate) }

// number is one that people compare with a bound.
func number(v float64) string {
	switch {
	case v >= 1e6:
		return fmt.Sprintf("%.0e", v)
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.3g", v)
}

func (r Report) remarks(b *strings.Builder) {
	if len(r.Warnings) > 0 {
		b.WriteString("<h2>Reservations</h2><ul>\n")
		for _, w := range r.Warnings {
			fmt.Fprintf(b, "<li>%s</li>\n", html.EscapeString(w))
		}
		b.WriteString("</ul>\n")
	}
	b.WriteString("<details><summary>Queries</summary><ul>\n")
	for _, q := range r.Queries {
		fmt.Fprintf(b, "<li><code>%s</code></li>\n", html.EscapeString(q))
	}
	fmt.Fprintf(b, "</ul></details>\n<p class=\"note\">As of %s, judge %s, counted by %s.</p>\n", r.At.Format("2006-01-02 15:04:05Z"), r.Judge, html.EscapeString(r.Target.Reporter))
}

func (r Report) checks(b *strings.Builder) {
	b.WriteString("<h2>Limits</h2><table><tr><th>time</th><th>weight</th><th>metric</th><th>value</th><th>want</th><th>outcome</th></tr>\n")
	for _, c := range r.Checks {
		for _, m := range c.Metrics {
			fmt.Fprintf(b, "<tr><td>%s</td><td>%d %%</td><td>%s</td><td>%s</td><td>%s</td><td>%s</td></tr>\n", c.At.Format("15:04:05"), r.weight(c.Phase),
				html.EscapeString(m.Name), shown(m.Value), html.EscapeString(m.want()), html.EscapeString(m.Outcome))
		}
	}
	b.WriteString("</table>\n")
}

// plots draws the weight, the rates and the evidence.
func (r Report) plots(b *strings.Builder) {
	until := r.At.Sub(r.Phases[0].At).Seconds()
	var phases []mark
	for i, p := range r.Phases {
		if at := p.At.Sub(r.Phases[0].At).Seconds(); i > 0 {
			phases = append(phases, mark{at, fmt.Sprintf("%d %%", p.Weight), ""})
		}
	}
	for _, p := range append([]plot{r.weights(until), r.errors()}, append(r.slownesses(), r.evidence())...) {
		p.until, p.phases = max(until, r.Grid.Seconds), phases
		if p.title != "" {
			p.svg(b)
		}
	}
}

func (r Report) weights(until float64) plot {
	var asked, seen []point
	for _, p := range r.Phases {
		asked = append(asked, point{second: p.At.Sub(r.Phases[0].At).Seconds(), value: float64(p.Weight)})
	}
	asked = append(asked, point{second: until, value: asked[len(asked)-1].value})
	for _, c := range r.Cells {
		if n := c.Canary[1] + c.Primary[1]; n > 0 {
			seen = append(seen, point{second: c.End, value: 100 * c.Canary[1] / n})
		}
	}
	return plot{title: "Share of the canary", about: "The weight of the route, and the share of requests in each interval.", high: 100, ticks: []float64{0, 50, 100}, unit: " %",
		lines: []line{{name: "weight", class: "plain", points: asked, step: true}, {name: "seen", class: "canarydot", points: seen, dots: true}}}
}

func (r Report) errors() plot {
	return rates("Failed requests", func(c Cell) (canary, primary Ratio, ok bool) { return c.Canary, c.Primary, true }, r.Cells)
}

func (r Report) slownesses() []plot {
	var plots []plot
	for i, m := range r.Metrics[1:] {
		p := rates("Requests longer than "+label(*m.LeMs)+" ms", func(c Cell) (Ratio, Ratio, bool) {
			if c.Latency == nil || i >= len(c.Latency.Canary) {
				return Ratio{}, Ratio{}, false
			}
			return c.Latency.Canary[i], c.Latency.Primary[i], true
		}, r.Cells)
		plots = append(plots, p)
	}
	return plots
}

// rates shows, of both arms, the share of each interval as a dot, and that since the start as a line.
func rates(title string, of func(Cell) (canary, primary Ratio, ok bool), cells []Cell) plot {
	var lines [4][]point
	var sums [2]sequential.Counts
	highest := 0.0
	for _, c := range cells {
		canary, primary, ok := of(c)
		if !ok {
			continue
		}
		for i, ratio := range []Ratio{canary, primary} {
			sums[i] = sums[i].Plus(sequential.Counts{Requests: ratio[1], Bad: ratio[0]})
			if ratio[1] > 0 {
				lines[i] = append(lines[i], point{second: c.End, value: 100 * ratio[0] / ratio[1]})
				highest = max(highest, 100*ratio[0]/ratio[1])
			}
			if sums[i].Requests > 0 {
				low, high := sequential.Interval(sums[i])
				lines[2+i] = append(lines[2+i], point{c.End, 100 * sums[i].Rate(), 100 * low, 100 * high})
				highest = max(highest, min(100*high, 4*100*sums[i].Rate()+1))
			}
		}
	}
	top := min(round125(max(highest, 0.1)), 100)
	return plot{title: title, about: "Shares of canary and primary in each interval, and since the start with 95 % confidence.", high: top,
		ticks: []float64{0, top / 2, top}, unit: " %",
		lines: []line{{name: "canary", class: "canary", points: lines[2]}, {name: "primary", class: "primary", points: lines[3]},
			{name: "each interval", class: "canarydot", points: lines[0], dots: true}, {name: "each interval", class: "primarydot", points: lines[1], dots: true}}}
}

// evidence is on a logarithmic scale.
func (r Report) evidence() plot {
	m := r.Metrics[0]
	var blame, acquit, latency []point
	highest := m.BlameLimit
	for _, c := range r.Cells {
		blame, acquit = append(blame, point{second: c.End, value: c.Blame}), append(acquit, point{second: c.End, value: c.Acquit})
		highest = max(highest, c.Blame, c.Acquit)
		if c.Latency != nil {
			latency = append(latency, point{second: c.End, value: c.Latency.Blame})
			highest = max(highest, c.Latency.Blame)
		}
	}
	p := plot{title: "Evidence", about: "What speaks against the canary and for it, and the bounds that decide.", log: true, low: 0.01,
		high:   max(min(math.Pow(10, math.Ceil(math.Log10(highest))), 1e6), 1000),
		levels: []mark{{m.BlameLimit, "worse", "bad"}, {m.AcquitLimit, "proven", "good"}, {1, "calm below", ""}},
		lines:  []line{{name: "against it", class: "blame", points: blame}, {name: "for it", class: "acquit", points: acquit}}}
	for v := p.low; v <= p.high; v *= 10 {
		p.ticks = append(p.ticks, v)
	}
	if latency != nil {
		p.lines = append(p.lines, line{name: "latency, against", class: "plain", points: latency})
	}
	return p
}
