package report

import (
	"fmt"
	"html"
	"math"
	"strconv"
	"strings"
)

// The frame of a plot, in its own units.
const (
	plotWidth  = 720.0
	plotHeight = 200.0
	plotLeft   = 56.0
	plotRight  = 128.0
	plotTop    = 10.0
	plotBottom = 24.0
)

// plot is a picture of numbers over the seconds of a rollout.
type plot struct {
	title  string
	about  string // one sentence for those who do not see it
	until  float64
	low    float64 // of the values; with a logarithmic scale above zero
	high   float64
	log    bool
	ticks  []float64
	unit   string
	stages []mark // changes of weight
	levels []mark // values that decide something
	lines  []line
}

// mark is a line across a plot.
type mark struct {
	at    float64
	text  string
	class string
}

// line is a series of numbers, and where each of them may lie.
type line struct {
	name   string
	class  string
	points []point
	step   bool // keeps a value until the next one
	dots   bool // dots instead of a line
}

type point struct{ second, value, low, high float64 }

func (p plot) x(second float64) float64 {
	return plotLeft + (plotWidth-plotLeft-plotRight)*second/max(p.until, 1)
}

func (p plot) y(value float64) float64 {
	value = min(max(value, p.low), p.high)
	share := (value - p.low) / (p.high - p.low)
	if p.log {
		share = math.Log(value/p.low) / math.Log(p.high/p.low)
	}
	return plotHeight - plotBottom - (plotHeight-plotTop-plotBottom)*share
}

// svg draws the plot.
func (p plot) svg(b *strings.Builder) {
	fmt.Fprintf(b, `<figure><figcaption>%s</figcaption><svg viewBox="0 0 %g %g" role="img">`+
		"<title>%s</title><desc>%s</desc>\n",
		html.EscapeString(p.title), plotWidth, plotHeight, html.EscapeString(p.title), html.EscapeString(p.about))
	p.axes(b)
	for _, l := range p.lines {
		p.band(b, l)
	}
	p.marks(b)
	for i, l := range p.lines {
		p.line(b, l)
		y := plotTop + 12 + 18*float64(i)
		fmt.Fprintf(b, `<path class="%s" d="M%g %gh18"/><text x="%g" y="%g">%s</text>`+"\n",
			l.class, plotWidth-plotRight+10, y-4, plotWidth-plotRight+34, y, html.EscapeString(l.name))
	}
	b.WriteString("</svg></figure>\n")
}

func (p plot) axes(b *strings.Builder) {
	right, bottom := plotWidth-plotRight, plotHeight-plotBottom
	for _, v := range p.ticks {
		fmt.Fprintf(b, `<path class="grid" d="M%g %.1fH%g"/><text x="%g" y="%.1f" class="left">%s%s</text>`+"\n",
			plotLeft, p.y(v), right, plotLeft-6, p.y(v)+4, strconv.FormatFloat(v, 'g', 4, 64), p.unit)
	}
	for _, s := range seconds(p.until) {
		fmt.Fprintf(b, `<path class="grid" d="M%.1f %gv4"/><text x="%.1f" y="%g" class="middle">%s</text>`+"\n",
			p.x(s), bottom, p.x(s), plotHeight-6, clockFace(s))
	}
	fmt.Fprintf(b, `<path class="axis" d="M%g %gV%gH%g"/>`+"\n", plotLeft, plotTop, bottom, right)
}

func (p plot) marks(b *strings.Builder) {
	for _, m := range p.stages {
		fmt.Fprintf(b, `<path class="phase" d="M%.1f %gV%g"/><text x="%.1f" y="%g" class="small">%s</text>`+"\n",
			p.x(m.at), plotTop, plotHeight-plotBottom, p.x(m.at)+3, plotTop+8, html.EscapeString(m.text))
	}
	for _, m := range p.levels {
		fmt.Fprintf(b, `<path class="level %s" d="M%g %.1fH%g"/><text x="%g" y="%.1f" class="small %s">%s</text>`+"\n",
			m.class, plotLeft, p.y(m.at), plotWidth-plotRight, plotLeft+4, p.y(m.at)-3, m.class,
			html.EscapeString(m.text))
	}
}

// band is where the values of a line may lie.
func (p plot) band(b *strings.Builder, l line) {
	var path strings.Builder
	for i, v := range l.points {
		if v.low == v.high {
			return
		}
		fmt.Fprintf(&path, "%s%.1f %.1f", letter(i), p.x(v.second), p.y(v.high))
	}
	for i := len(l.points) - 1; i >= 0; i-- {
		fmt.Fprintf(&path, "L%.1f %.1f", p.x(l.points[i].second), p.y(l.points[i].low))
	}
	if len(l.points) > 1 {
		fmt.Fprintf(b, `<path class="band %s" d="%sZ"/>`+"\n", l.class, path.String())
	}
}

func (p plot) line(b *strings.Builder, l line) {
	if l.dots {
		for _, v := range l.points {
			fmt.Fprintf(b, `<circle class="%s" cx="%.1f" cy="%.1f" r="2.2"/>`, l.class, p.x(v.second), p.y(v.value))
		}
		b.WriteByte('\n')
		return
	}
	var path strings.Builder
	for i, v := range l.points {
		if l.step && i > 0 {
			fmt.Fprintf(&path, "H%.1f", p.x(v.second))
		}
		fmt.Fprintf(&path, "%s%.1f %.1f", letter(i), p.x(v.second), p.y(v.value))
	}
	fmt.Fprintf(b, `<path class="%s" d="%s"/>`+"\n", l.class, path.String())
}

func letter(i int) string {
	if i == 0 {
		return "M"
	}
	return "L"
}

// seconds are round times to show.
func seconds(until float64) []float64 {
	every := 3600.0
	for _, e := range []float64{5, 15, 30, 60, 120, 300, 600, 1800} {
		if until/e <= 8 {
			every = e
			break
		}
	}
	var list []float64
	for s := 0.0; s <= until; s += every {
		list = append(list, s)
	}
	return list
}

func clockFace(second float64) string {
	return fmt.Sprintf("%d:%02d", int(second)/60, int(second)%60)
}

// label is a number without digits that do not matter; large counts keep theirs.
func label(v float64) string {
	if v >= 1000 && v < 1e12 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'g', 4, 64)
}

// round125 is the least of 1, 2, 5, 10 … that is not below a value.
func round125(v float64) float64 {
	if !(v > 0) {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, f := range []float64{1, 2, 5} {
		if f*power >= v {
			return f * power
		}
	}
	return 10 * power
}
