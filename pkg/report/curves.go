package report

import (
	"fmt"
	"math"
	"strings"

	"github.com/serin-cd/serin/pkg/judge/sequential"
	"github.com/serin-cd/serin/pkg/judge/verdict"
)

// plots draws the weight, the rates and the evidence.
func (r report) plots(b *strings.Builder) {
	until := r.At.Sub(r.Stages[0].At).Seconds()
	var stages []mark
	for i, s := range r.Stages {
		if at := s.At.Sub(r.Stages[0].At).Seconds(); i > 0 {
			stages = append(stages, mark{at, fmt.Sprintf("%d %%", s.Weight), ""})
		}
	}
	for _, p := range append([]plot{r.weights(until), r.errors()}, append(r.slownesses(), r.evidence())...) {
		p.until, p.stages = max(until, r.Grid.Seconds), stages
		if p.title != "" {
			p.svg(b)
		}
	}
}

func (r report) weights(until float64) plot {
	var asked, seen []point
	for _, s := range r.Stages {
		asked = append(asked, point{second: s.At.Sub(r.Stages[0].At).Seconds(), value: float64(s.Weight)})
	}
	asked = append(asked, point{second: until, value: asked[len(asked)-1].value})
	for _, c := range r.Cells {
		if n := c.Canary[1] + c.Primary[1]; n > 0 {
			seen = append(seen, point{second: c.End, value: 100 * c.Canary[1] / n})
		}
	}
	return plot{title: "Share of the canary",
		about: "The weight of the route, and the share of requests in each interval.",
		high:  100, ticks: []float64{0, 50, 100}, unit: " %",
		lines: []line{{name: "weight", class: "plain", points: asked, step: true},
			{name: "seen", class: "canarydot", points: seen, dots: true}}}
}

func (r report) errors() plot {
	return rates("Failed requests", func(c verdict.Cell) (canary, primary verdict.Ratio, ok bool) {
		return c.Canary, c.Primary, true
	}, r.Cells)
}

func (r report) slownesses() []plot {
	var plots []plot
	for i, m := range r.Metrics[1:] {
		p := rates("Requests longer than "+label(*m.LeMs)+" ms",
			func(c verdict.Cell) (verdict.Ratio, verdict.Ratio, bool) {
				if c.Latency == nil || i >= len(c.Latency.Canary) {
					return verdict.Ratio{}, verdict.Ratio{}, false
				}
				return c.Latency.Canary[i], c.Latency.Primary[i], true
			}, r.Cells)
		plots = append(plots, p)
	}
	return plots
}

// rates shows, of both arms, the share of each interval as a dot, and that since the start as a line.
func rates(title string, of func(verdict.Cell) (canary, primary verdict.Ratio, ok bool), cells []verdict.Cell) plot {
	var lines [4][]point
	var sums [2]sequential.Counts
	highest := 0.0
	for _, c := range cells {
		canary, primary, ok := of(c)
		if !ok {
			continue
		}
		for i, ratio := range []verdict.Ratio{canary, primary} {
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
	return plot{title: title, high: top, ticks: []float64{0, top / 2, top}, unit: " %",
		about: "Shares of canary and primary in each interval, and since the start with 95 % confidence.",
		lines: []line{{name: "canary", class: "canary", points: lines[2]},
			{name: "primary", class: "primary", points: lines[3]},
			{name: "each interval", class: "canarydot", points: lines[0], dots: true},
			{name: "each interval", class: "primarydot", points: lines[1], dots: true}}}
}

// evidence is on a logarithmic scale.
func (r report) evidence() plot {
	m := r.Metrics[0]
	var blame, acquit, latency []point
	highest := m.BlameLimit
	for _, c := range r.Cells {
		blame = append(blame, point{second: c.End, value: c.Blame})
		acquit = append(acquit, point{second: c.End, value: c.Acquit})
		highest = max(highest, c.Blame, c.Acquit)
		if c.Latency != nil {
			latency = append(latency, point{second: c.End, value: c.Latency.Blame})
			highest = max(highest, c.Latency.Blame)
		}
	}
	p := plot{title: "Evidence", about: "What speaks against the canary and for it, and the bounds that decide.",
		log: true, low: 0.01,
		high:   max(min(math.Pow(10, math.Ceil(math.Log10(highest))), 1e6), 1000),
		levels: []mark{{m.BlameLimit, "worse", "bad"}, {m.AcquitLimit, "proven", "good"}, {1, "calm below", ""}},
		lines: []line{{name: "against it", class: "blame", points: blame},
			{name: "for it", class: "acquit", points: acquit}}}
	for v := p.low; v <= p.high; v *= 10 {
		p.ticks = append(p.ticks, v)
	}
	if latency != nil {
		p.lines = append(p.lines, line{name: "latency, against", class: "plain", points: latency})
	}
	return p
}
