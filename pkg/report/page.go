package report

import (
	_ "embed" // the style of a page
	"fmt"
	"html"
	"io"
	"strings"

	"github.com/serin-cd/serin/pkg/judge/sequential"
	"github.com/serin-cd/serin/pkg/judge/verdict"
)

//go:embed page.css
var style string

// Page writes a verdict as one HTML file that needs nothing else.
func Page(w io.Writer, v verdict.Verdict) error {
	r := report{v}
	var b strings.Builder
	title := fmt.Sprintf("%s.%s at %d %%: %s", r.Target.Canary, r.Target.Namespace, r.Stage.Weight, r.Decision)
	fmt.Fprintf(&b, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"+
		"<meta name=\"viewport\" content=\"width=device-width\"><title>%s</title><style>\n%s</style></head><body>\n",
		html.EscapeString(title), style)
	fmt.Fprintf(&b, "<h1>Canary of %s in %s, %d %% of the traffic</h1>\n"+
		"<div class=\"verdict %s\"><b>%s</b>: %s. %s<br>%s</div>\n",
		html.EscapeString(r.Target.Canary), html.EscapeString(r.Target.Namespace), r.Stage.Weight, r.Decision,
		r.Decision,
		html.EscapeString(r.Code), html.EscapeString(meanings[r.Code]), html.EscapeString(r.Text))
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
	return failed(err)
}

// Meaning says what a reason means to somebody who is called at night; nothing of one that no judge gives.
func Meaning(code string) string { return meanings[code] }

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
	sequential.PrimaryUnhealthy: "The primary fails too: " +
		"this is an incident, not the canary's fault, but no time to promote.",
	sequential.Suspect:       "Something speaks against the canary, but not enough to convict it.",
	sequential.LowTraffic:    "There were too few requests to tell.",
	sequential.LimitBroken:   "The canary is beyond a limit that its primary keeps, beyond doubt.",
	sequential.CanarySilent:  "The canary's pods count no request any more, while the primary's do.",
	sequential.NotComparable: "The histograms of canary and primary have no bound in common.",
	sequential.Undecided:     "At that time there was no verdict yet.",
	verdict.Threshold:        "The canary was outside its limits too often.",
	verdict.WithoutValues:    "The metrics had no values.",
}

func (r report) summary(b *strings.Builder) {
	b.WriteString("<table><tr><th>since the start</th><th>canary</th><th>primary</th></tr>\n")
	for i, m := range r.Metrics {
		if i == 0 {
			fmt.Fprintf(b, "<tr><td>requests</td><td>%s</td><td>%s</td></tr>\n",
				label(m.Canary.Requests), label(m.Primary.Requests))
		}
		fmt.Fprintf(b, "<tr><td>%s</td><td>%s</td><td>%s</td></tr>\n", what(m), counted(m.Canary), counted(m.Primary))
	}
	b.WriteString("</table>\n<table>" +
		"<tr><th>evidence</th><th>now</th><th>at most so far</th><th>decides at</th></tr>\n")
	for _, m := range r.Metrics {
		fmt.Fprintf(b, "<tr><td>%s: the canary is worse</td><td>%s</td><td>%s</td><td>%s</td></tr>\n",
			what(m), number(m.Blame), number(m.BlameMax), number(m.BlameLimit))
		fmt.Fprintf(b, "<tr><td>%s: it is not worse by %s</td><td>%s</td><td>%s</td><td>%s</td></tr>\n",
			what(m), percent(m.Margin), number(m.Acquit), number(m.AcquitMax), number(m.AcquitLimit))
	}
	b.WriteString("</table>\n<p class=\"note\">Evidence is like the winnings of somebody who bets one coin: " +
		"to turn it into 100 by luck alone takes a chance of one in a hundred. " +
		"In brackets is where a rate lies with 95 % confidence. ")
	if len(r.Metrics) > 2 {
		b.WriteString("Latency is blamed by the mean over its bounds.")
	}
	b.WriteString("</p>\n")
}

func what(m verdict.Proportion) string {
	if m.LeMs != nil {
		return fmt.Sprintf("longer than %s ms", label(*m.LeMs))
	}
	return "failed"
}

func counted(a verdict.Arm) string {
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

func (r report) remarks(b *strings.Builder) {
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
	fmt.Fprintf(b, "</ul></details>\n<p class=\"note\">As of %s, judge %s, counted by %s.</p>\n",
		r.At.Format("2006-01-02 15:04:05Z"), r.Judge, html.EscapeString(r.Target.Reporter))
}

func (r report) checks(b *strings.Builder) {
	b.WriteString("<h2>Limits</h2><table>" +
		"<tr><th>time</th><th>weight</th><th>metric</th><th>value</th><th>want</th><th>outcome</th></tr>\n")
	for _, c := range r.Checks {
		for _, m := range c.Measurements {
			fmt.Fprintf(b, "<tr><td>%s</td><td>%d %%</td><td>%s</td><td>%s</td><td>%s</td><td>%s</td></tr>\n",
				c.At.Format("15:04:05"), r.weight(c.Stage), html.EscapeString(m.Name), value(m.Value),
				html.EscapeString(want(m)), m.State)
		}
	}
	b.WriteString("</table>\n")
}
