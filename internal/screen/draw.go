package screen

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"charm.land/lipgloss/v2"
	"github.com/charmbracelet/x/ansi"
	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/serin-cd/serin/internal/terminal"
	"github.com/serin-cd/serin/pkg/judge/sequential"
	"github.com/serin-cd/serin/pkg/judge/verdict"
	"github.com/serin-cd/serin/pkg/release/status"
)

const (
	widest     = 110 // columns that are used of a wide terminal
	mostEvents = 8
	mostReason = 4 // lines
)

// draw is the picture in so many columns and rows. Where there is little room events go first, then the stages that are
// far from the present one.
func (p picture) draw(width, height int, now time.Time) string {
	width = min(max(width, 20), widest)
	head := p.head(width, now)
	tail := append(p.drawNumbers(width), p.drawEnd(width)...)
	stages := p.drawStages(now)
	events := p.drawEvents()
	foot := p.foot()
	room := height - len(head) - len(tail) - len(foot)
	stages = around(stages, p.current(), max(1, room-min(3, len(events))))
	room -= len(stages) + 1
	if len(events) > 0 && room > 0 {
		events = slices.Insert(events[max(0, len(events)-room):], 0, "")
	} else {
		events = nil
	}
	lines := head
	for _, part := range [][]string{stages, tail, events, foot} {
		lines = append(lines, part...)
	}
	lines = lines[:min(height, len(lines))]
	for i, line := range lines {
		lines[i] = ansi.Truncate(strings.TrimRight(line, " "), width, "…")
	}
	return strings.Join(lines, "\n")
}

// around are so many of the lines, the one with an index among them.
func around(lines []string, index, room int) []string {
	if len(lines) <= room {
		return lines
	}
	from := min(max(0, index-room/2), len(lines)-room)
	return lines[from : from+room]
}

func (p picture) head(width int, now time.Time) []string {
	name := terminal.Title(p.run.App) + " in " + p.run.ID.Namespace
	until := now
	if !p.run.Ended.IsZero() {
		until = p.run.Ended
	}
	state := fmt.Sprintf("run %s  %s  %s", p.run.ID.Name, lasted(p.run.Created, until), p.state())
	gap := strings.Repeat(" ", max(2, width-lipgloss.Width(name)-lipgloss.Width(state)))
	label := fmt.Sprintf(" %3d %%", p.weight)
	return []string{
		name + gap + state,
		"serves " + terminal.Title(p.serving) + "   canary " + terminal.Title(p.canary),
		"",
		"weight " + bar(float64(p.weight)/100, width-len("weight ")-len(label), terminal.Busy) + label,
		"",
	}
}

// state is how far the run is, in a word.
func (p picture) state() string {
	switch {
	case p.ended && p.run.Outcome.Done():
		return terminal.Good.Render(string(p.run.Outcome))
	case p.ended:
		return terminal.Bad.Render(cmp.Or(string(p.run.Outcome), p.run.State))
	}
	return terminal.Busy.Render(cmp.Or(string(p.phase), "starts"))
}

// bar is filled to a part of its width.
func bar(part float64, width int, style lipgloss.Style) string {
	width = max(width, 1)
	full := int(math.Round(min(max(part, 0), 1) * float64(width)))
	return style.Render(strings.Repeat("█", full)) + terminal.Faint(strings.Repeat("░", width-full))
}

// drawStages are the tasks of the Pipeline, one below the other as they run.
func (p picture) drawStages(now time.Time) []string {
	longest := 0
	for _, name := range p.plan {
		longest = max(longest, len(name))
	}
	var lines []string
	for _, name := range p.plan {
		mark, took, text := p.drawTask(name, now)
		lines = append(lines, fmt.Sprintf("%s %-*s %6s  %s", mark, longest, name, took, text))
	}
	return lines
}

func (p picture) drawTask(name string, now time.Time) (mark, took, text string) {
	t, begun := p.tasks[name]
	switch {
	case !begun && p.ended:
		return terminal.Faint("–"), "", terminal.Faint("not run")
	case !begun:
		return terminal.Faint("○"), "", ""
	case t.Ended.IsZero():
		return terminal.Busy.Render("●"), lasted(t.Started, now), p.left(t, now)
	}
	took, text = lasted(t.Started, t.Ended), terminal.Faint(t.Reason)
	if t.Verdict != "" {
		text = terminal.Title(t.Verdict) + "  " + text
	}
	if t.State == "Succeeded" {
		return terminal.Good.Render("✔"), took, text
	}
	if t.Verdict == "" {
		text = t.State + "  " + text
	}
	return terminal.Bad.Render("✘"), took, text
}

func lasted(from, to time.Time) string {
	if from.IsZero() {
		return ""
	}
	return duration.HumanDuration(max(0, to.Sub(from)))
}

// left is how long a task that is at work may still take.
func (p picture) left(t status.Task, now time.Time) string {
	j := p.judging
	if j == nil || j.Task != t.Name || j.Deadline == 0 {
		if t.Until.IsZero() {
			return ""
		}
		return "at most " + lasted(now, t.Until) + " more"
	}
	took := now.Sub(p.since)
	deadline := "verdict within " + duration.HumanDuration(max(0, j.Deadline-took))
	switch {
	case j.Judge == verdict.Classic:
		return fmt.Sprintf("check %d of %d, %s", j.Check, j.Checks, deadline)
	case j.Gate == string(sequential.TimeBox) && took < j.TimeBox && calm(*j):
		return "passes in " + duration.HumanDuration(j.TimeBox-took) + " if nothing speaks against it"
	case !calm(*j):
		return cmp.Or(standings[j.State], j.State) + ", " + deadline
	case took < j.MinDwell:
		return "holds for " + duration.HumanDuration(j.MinDwell-took) + " more, " + deadline
	}
	return "wants proof, " + deadline
}

// standings say what the states of evidence are.
var standings = map[string]string{
	"suspect": "something speaks against it", "held": "the primary fails too",
}

func calm(j status.Judging) bool { return j.State == "" || j.State == "open" || j.State == "proven" }

// drawNumbers are those of both versions, and the evidence.
func (p picture) drawNumbers(width int) []string {
	j := p.numbers()
	if j == nil {
		return nil
	}
	if j.Judge == verdict.Classic {
		lines := []string{"", fmt.Sprintf("%s  check %d of %d, failed %d, at most %d", terminal.Title(j.Task), j.Check,
			j.Checks, j.Failed, max(0, j.Threshold-1))}
		for text := range strings.SplitSeq(j.Text, "; ") {
			lines = append(lines, "  "+text)
		}
		return lines
	}
	lines := []string{
		"",
		terminal.Title(fmt.Sprintf("%-8s %10s  %-20s %s", "", "requests", "errors", "P99")),
		arm("canary", j.Canary, p99(j.P99(func(s status.Slow) float64 { return s.Canary }, j.Canary[1]))),
		arm("primary", j.Primary, p99(j.P99(func(s status.Slow) float64 { return s.Primary }, j.Primary[1]))),
	}
	if j.BlameLimit > 1 && j.AcquitLimit > 1 {
		lines = append(lines,
			evidence("blame", j.Blame, j.BlameLimit, width, terminal.Bad, "fails at"),
			evidence("acquit", j.Acquit, j.AcquitLimit, width, terminal.Good, "is proof at"))
	}
	return lines
}

func arm(name string, e [2]float64, p99 string) string {
	errors := "-"
	if e[1] > 0 {
		errors = fmt.Sprintf("%.0f (%.2f %%)", e[0], 100*e[0]/e[1])
	}
	return fmt.Sprintf("%-8s %10.0f  %-20s %s", name, e[1], errors, p99)
}

func p99(ms float64, within, known bool) string {
	switch {
	case !known:
		return "-"
	case within:
		return fmt.Sprintf("≤ %g ms", ms)
	}
	return fmt.Sprintf("> %g ms", ms)
}

// evidence grows by factors, and so does its bar.
func evidence(name string, value, limit float64, width int, style lipgloss.Style, at string) string {
	part, text := math.Log(max(value, 1))/math.Log(limit), fmt.Sprintf("  %s, %s %g", short(value), at, limit)
	return fmt.Sprintf("%-8s %s%s", name, bar(part, min(30, width-len("primary  ")-len(text)), style), text)
}

// short is a number as people read it, which may be as large as evidence becomes.
func short(v float64) string {
	switch {
	case v >= 1e6:
		return "over a million"
	case v >= 1000:
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.3g", v)
}

func (p picture) drawEvents() []string {
	all := p.events[max(0, len(p.events)-mostEvents):]
	var lines []string
	for _, e := range all {
		lines = append(lines, terminal.Faint(e.at.Local().Format(time.TimeOnly))+"  "+e.text)
	}
	return lines
}

// drawEnd is how the run has ended, and what could not be read.
func (p picture) drawEnd(width int) []string {
	var lines []string
	for _, text := range p.unread {
		lines = append(lines, terminal.Busy.Render("not shown: ")+text)
	}
	if !p.ended {
		return lines
	}
	text := p.state() + ": " + cmp.Or(p.run.Reason, p.run.Message)
	wrapped := strings.Split(lipgloss.NewStyle().Width(width).Render(text), "\n")
	return append(append(lines, ""), wrapped[:min(mostReason, len(wrapped))]...)
}

func (p picture) foot() []string {
	if p.ended {
		return nil
	}
	return []string{"", terminal.Faint("q leaves, the run goes on")}
}
