package explain

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/serin-cd/serin/internal/terminal"
	"github.com/serin-cd/serin/pkg/cluster/workload"
	"github.com/serin-cd/serin/pkg/judge/verdict"
)

// Write writes an explanation for people.
func (e Explanation) Write(w io.Writer) error {
	t := text{w: w}
	t.head(e)
	if e.Stage != nil {
		t.stage(*e.Stage, len(e.Weights))
	}
	t.list("What ended it:", e.ended())
	t.list("Notes:", e.Notes)
	if e.Advice != "" {
		t.line("")
		t.line("What to do: %s", e.Advice)
	}
	return t.err
}

func (e Explanation) ended() (all []string) {
	for _, task := range e.Ended {
		all = append(all, fmt.Sprintf("%s %s: %s", task.Name, terminal.Mood(task.State),
			cmp.Or(task.Reason, "no reason")))
	}
	return all
}

// text writes lines until one cannot be written.
type text struct {
	w   io.Writer
	err error
}

func (t *text) line(format string, args ...any) {
	if t.err == nil {
		_, t.err = fmt.Fprintf(t.w, strings.TrimRight(format, "\n")+"\n", args...)
	}
}

// title begins a part.
func (t *text) title(of string) {
	t.line("")
	t.line("%s", terminal.Title(of))
}

func (t *text) table(rows terminal.Table) {
	if t.err == nil {
		rows.Indent = "  "
		t.err = rows.Write(t.w)
	}
}

func (t *text) list(title string, all []string) {
	if len(all) == 0 {
		return
	}
	t.title(title)
	for _, text := range all {
		t.line("  - %s", text)
	}
}

func (t *text) head(e Explanation) {
	r := e.Run
	how := cmp.Or(string(r.Outcome), r.State)
	if r.Ended.IsZero() {
		how = "goes on"
	}
	t.line("%s of %s in %s: %s", terminal.Title(r.ID.Name), r.App, r.ID.Namespace, terminal.Mood(how))
	reason := cmp.Or(r.Reason, r.Message)
	if reason != "" && (e.Stage == nil || e.Stage.Code+": "+e.Stage.Text != reason) {
		t.line("%s", reason)
	}
	if r.Revision != "" {
		t.line("revision %s", workload.Short(r.Revision))
	}
	if len(e.Weights) > 1 {
		var all []string
		for _, w := range e.Weights {
			all = append(all, strings.TrimSpace(fmt.Sprintf("%d %% %s", w.Weight, terminal.Mood(w.Verdict))))
		}
		t.line("stages: %s", strings.Join(all, ", "))
	}
}

func (t *text) stage(s Stage, of int) {
	t.line("")
	took := ""
	if s.Took > 0 {
		took = " for " + duration.HumanDuration(seconds(s.Took))
	}
	t.line("%s, from %s%s: %s", terminal.Title(fmt.Sprintf("Stage %d of %d, weight %d %%", s.Number, of, s.Weight)),
		s.Begun.Local().Format(time.TimeOnly), took, terminal.Mood(strings.TrimSuffix(string(cmp.Or(s.Decision,
			"undecided"))+", "+s.Code, ", ")))
	if s.Meaning != "" {
		t.line("%s", s.Meaning)
	}
	if s.Text != "" {
		t.line("%s", s.Text)
	}
	if s.Compared != nil {
		t.compared(*s.Compared)
	}
	t.evidence(s.Evidence)
	t.limits(s.Limits)
	t.checks(s.Checks)
	var others []string
	for _, o := range s.Otherwise {
		others = append(others, o.Text)
	}
	t.list("What would have changed it:", others)
}

func (t *text) compared(c Compared) {
	t.line("")
	over := ""
	if c.Seconds > 0 {
		over = fmt.Sprintf(", over %s in %s", duration.HumanDuration(seconds(c.Seconds)),
			plural(c.Intervals, "interval"))
	}
	if c.Reporter != "" {
		over += ", as reporter " + c.Reporter + " counts"
	}
	t.line("%s%s:", terminal.Title("Compared"), over)
	var rows terminal.Table
	rows.Row("", "canary", "with 95 % confidence", "primary", "with 95 % confidence")
	share := ""
	if c.Share != nil {
		share = fmt.Sprintf("%s %% of all", short(*c.Share))
	}
	rows.Row("requests", whole(c.Canary), share, whole(c.Primary), "")
	for _, s := range c.Shares {
		rows.Row(s.What, bad(s.Canary), between(s.Canary), bad(s.Primary), between(s.Primary))
	}
	t.table(rows)
}

func (t *text) evidence(all []Evidence) {
	if len(all) == 0 {
		return
	}
	t.title("Evidence:")
	var rows terminal.Table
	rows.Row("", "against the canary", "convicts at", "for it", "proves at")
	for _, e := range all {
		against := short(e.Blame)
		if e.BlameMost > max(e.Blame, 1) && short(e.BlameMost) != against {
			against += ", at most " + short(e.BlameMost) + " so far"
		}
		rows.Row(e.What, against, known(e.Convicts), short(e.Acquit), known(e.Proves))
	}
	t.table(rows)
	if e := all[0]; e.Margin > 0 {
		t.line("  Worse by up to %s is not blamed; worse by %s has to be ruled out.", points(e.Tolerance),
			points(e.Margin))
	}
	if len(all) > 2 {
		t.line("  Latency is blamed by the mean over its bounds.")
	}
}

func (t *text) limits(all []Limit) {
	if len(all) == 0 {
		return
	}
	t.title("Limits:")
	var rows terminal.Table
	rows.Row("", "at most", "canary", "primary", "")
	for _, l := range all {
		state := strings.ReplaceAll(l.State, "-", " ")
		text := terminal.Mood(state)
		switch {
		case l.State == Beyond && l.Sure:
			text += ", beyond doubt"
		case l.State == Beyond:
			text += ", not beyond doubt"
		}
		rows.Row(l.What, percent(l.Most), ratio(l.Canary), ratio(l.Primary), text)
	}
	t.table(rows)
}

func (t *text) checks(all []Check) {
	if len(all) == 0 {
		return
	}
	t.title("Checks:")
	var rows terminal.Table
	for _, c := range all {
		rows.Row(c.Time, terminal.Mood(string(c.State)), c.Text)
	}
	t.table(rows)
}

func known(v float64) string {
	if v == 0 {
		return "-"
	}
	return short(v)
}

func bad(a verdict.Arm) string {
	if a.Requests == 0 {
		return "-"
	}
	return fmt.Sprintf("%s, %s", whole(a.Bad), percent(a.Rate))
}

func between(a verdict.Arm) string {
	if a.Requests == 0 {
		return ""
	}
	return fmt.Sprintf("%s to %s", percent(a.Low), percent(a.High))
}

func ratio(r verdict.Ratio) string {
	if r[1] == 0 {
		return "-"
	}
	return fmt.Sprintf("%s of %s, %s", whole(r[0]), whole(r[1]), percent(counts(r).Rate()))
}

func percent(rate float64) string { return strconv.FormatFloat(100*rate, 'f', 2, 64) + " %" }

// points are a difference of shares.
func points(d float64) string { return short(100*d) + " pp" }

// whole is a count as people write it, though counters may hold fractions.
func whole(n float64) string {
	if n > 10 {
		n = math.Round(n)
	}
	return strconv.FormatFloat(math.Round(n*10)/10, 'f', -1, 64)
}

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}
