package replay

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/serin-cd/serin/pkg/judge"
	"github.com/serin-cd/serin/pkg/judge/sequential"
)

// Table writes a result for people: a line for each time at which something could be known, and at the end
// both verdicts.
func (r Result) Table(w io.Writer) error {
	var text strings.Builder
	r.head(&text)
	r.lines(&text)
	r.foot(&text)
	_, err := io.WriteString(w, text.String())
	return err
}

func (r Result) head(w io.Writer) {
	fmt.Fprintf(w, "%s, seen until %s\n\n", r.Rollout, clockTime(r.Until))
}

func (r Result) start() time.Time { return r.Rollout.Phases[0].At }

func (r Result) lines(w io.Writer) {
	t := table(w)
	fmt.Fprintln(t, "TIME\tWEIGHT\tCANARY\tPRIMARY\tSEQUENTIAL\tBLAME\tACQUIT\tVERDICT\tCLASSIC\tFAILED\tVERDICT")
	for _, row := range r.rows() {
		canary, primary, state, blamed, acquitted, check, failed := "-", "-", "-", "-", "-", "-", "-"
		if m := row.cell; m != nil {
			canary, primary = counts(m.Cell.Canary), counts(m.Cell.Primary)
			state, blamed, acquitted = row.state, digits(blame(*m)), digits(acquit(*m))
		}
		if c := row.check; c != nil {
			check, failed = checked(*c), fmt.Sprintf("%d of %d", c.Failures, r.Judgings[1].last().Verdict.Threshold)
		}
		fmt.Fprintf(t, "%s\t%d %%\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", timeOfDay(row.at), row.weight,
			canary, primary, state, blamed, acquitted, orDash(row.verdicts[0]), check, failed, orDash(row.verdicts[1]))
	}
	_ = t.Flush() // a builder takes everything
}

func (r Result) foot(w io.Writer) {
	fmt.Fprintln(w)
	t := table(w)
	fmt.Fprintln(t, "JUDGE\tVERDICT\tAT\tAFTER\tWEIGHT\tREQUESTS\tOF THEM BAD")
	for i, j := range r.Judgings {
		s := j.last()
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d %%\t%s\t%s\n", j.Judge, s.short(), timeOfDay(s.Verdict.At), r.after(s), s.Verdict.Weight(),
			number(r.Answered[i].Requests), number(r.Answered[i].Bad))
	}
	_ = t.Flush()
	fmt.Fprintln(w)
	for _, j := range r.Judgings {
		fmt.Fprintf(w, "%s: %s\n", j.Judge, j.last().Verdict.Text)
		for _, warning := range j.last().Verdict.Warnings {
			fmt.Fprintf(w, "%s: warning %s\n", j.Judge, warning)
		}
	}
	if r.Rollout.Outcome != "" {
		fmt.Fprintf(w, "the run: %s, %s\n", r.Rollout.Outcome, r.Rollout.Reason)
	}
}

func (r Result) after(s Stage) time.Duration { return s.Verdict.At.Sub(r.start()).Round(time.Second) }

func table(w io.Writer) *tabwriter.Writer { return tabwriter.NewWriter(w, 0, 0, 2, ' ', 0) }

// checked is a check in a word, and what was outside its bounds.
func checked(c judge.Check) string {
	for _, m := range c.Measurements {
		if c.State == judge.Failed && m.State == judge.Failed {
			return "failed " + m.Metric.Name
		}
	}
	return string(c.State)
}

// counts is bad requests and all, of one cell.
func counts(c sequential.Counts) string { return number(c.Bad) + "/" + number(c.Requests) }

func number(n float64) string { return strconv.FormatFloat(n, 'f', 0, 64) }

// digits is a number of which three digits count.
func digits(v float64) string {
	if v >= 1000 {
		return number(v)
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

func timeOfDay(t time.Time) string { return t.UTC().Format(time.TimeOnly) }
