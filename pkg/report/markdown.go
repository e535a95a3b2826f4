package report

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/serin-cd/serin/pkg/judge/verdict"
)

// mostRows is how many intervals Markdown shows.
const mostRows = 20

// Markdown writes a verdict as a comment on a pull request.
func Markdown(w io.Writer, v verdict.Verdict) error {
	r := report{v}
	var b strings.Builder
	fmt.Fprintf(&b, "### %s %s.%s at %d %%: %s, %s\n\n",
		mood(r.Decision), r.Target.Canary, r.Target.Namespace, r.Stage.Weight, r.Decision, r.Code)
	if meaning := meanings[r.Code]; meaning != "" {
		fmt.Fprintf(&b, "%s\n\n", meaning)
	}
	fmt.Fprintf(&b, "> %s\n", escaped(r.Text))
	if r.Weighed != nil {
		r.numbers(&b)
	}
	if len(r.Checks) > 0 {
		b.WriteString("\n| time | weight | metric | value | want | outcome |\n|---|--:|---|--:|---|---|\n")
		for _, c := range r.Checks[max(0, len(r.Checks)-mostRows):] {
			for _, m := range c.Measurements {
				fmt.Fprintf(&b, "| %s | %d %% | %s | %s | %s | %s |\n",
					c.At.Format("15:04:05"), r.weight(c.Stage), escaped(m.Name), value(m.Value), want(m), m.State)
			}
		}
	}
	for i, warning := range r.Warnings {
		if i == 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "- %s\n", escaped(warning))
	}
	_, err := io.WriteString(w, b.String())
	return failed(err)
}

func mood(d verdict.Decision) string {
	switch d {
	case verdict.Pass:
		return "✅"
	case verdict.Fail:
		return "❌"
	}
	return "❔"
}

// escaped keeps a text inside its cell, and from being taken for markup.
func escaped(text string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ", "<", "&lt;", "*", `\*`, "`", "'").Replace(text)
}

func (r report) numbers(b *strings.Builder) {
	fmt.Fprintf(b, "\n| since the start | canary | primary | against it, convicts at %s | for it, proves at %s |\n"+
		"|---|--:|--:|--:|--:|\n",
		number(r.Metrics[0].BlameLimit), number(r.Metrics[0].AcquitLimit))
	for _, m := range r.Metrics {
		fmt.Fprintf(b, "| %s | %s of %s, %s | %s of %s, %s | %s | %s |\n", what(m),
			label(m.Canary.Bad), label(m.Canary.Requests), percent(m.Canary.Rate),
			label(m.Primary.Bad), label(m.Primary.Requests), percent(m.Primary.Rate),
			sofar(m.Blame, m.BlameMax), sofar(m.Acquit, m.AcquitMax))
	}
	fmt.Fprintf(b, "\nThe route gives the canary %s %%", label(r.Share.Configured))
	if r.Share.Seen != nil {
		fmt.Fprintf(b, "; %s %% of the requests reached it", label(*r.Share.Seen))
	}
	b.WriteString(".\n")
	if len(r.Cells) == 0 {
		return
	}
	fmt.Fprintf(b, "\n<details><summary>Intervals of %s s</summary>\n\n"+
		"| until | weight | canary | primary | against it | for it |\n|---|--:|--:|--:|--:|--:|\n", label(r.Grid.Seconds))
	for _, c := range r.Cells[max(0, len(r.Cells)-mostRows):] {
		fmt.Fprintf(b, "| %s | %d %% | %s | %s | %s | %s |\n",
			r.time(c.End), r.weight(c.Stage), ratio(c.Canary), ratio(c.Primary), number(c.Blame), number(c.Acquit))
	}
	b.WriteString("\n</details>\n")
}

// sofar is what there is, and what the most was if that is another number.
func sofar(now, most float64) string {
	if number(now) == number(most) {
		return number(now)
	}
	return fmt.Sprintf("%s, at most %s so far", number(now), number(most))
}

func ratio(r verdict.Ratio) string { return label(r[0]) + "/" + label(r[1]) }

// time is that of a second after the start.
func (r report) time(second float64) string {
	return r.Stages[0].At.Add(time.Duration(second * float64(time.Second))).Format("15:04:05")
}
