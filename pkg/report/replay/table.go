package replay

import (
	"cmp"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/serin-cd/serin/pkg/judge/verdict"
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

func (r Result) lines(w io.Writer) {
	t := table(w)
	fmt.Fprintln(t, "TIME\tWEIGHT\tCANARY\tPRIMARY\tSEQUENTIAL\tBLAME\tACQUIT\tVERDICT\tCLASSIC\tFAILED\tVERDICT")
	for _, row := range r.Rows {
		canary, primary, state, blamed, acquitted, check, failed := "-", "-", "-", "-", "-", "-", "-"
		if c := row.Sequential; c != nil {
			canary, primary, state = counts(c.Canary), counts(c.Primary), c.State
			blamed, acquitted = digits(c.Blame), digits(c.Acquit)
		}
		if c := row.Classic; c != nil {
			check = strings.TrimSpace(string(c.State) + " " + c.outside)
			failed = fmt.Sprintf("%d of %d", c.Failed, r.Judges[1].Verdict.Threshold)
		}
		said := Pair{"-", "-"}
		if p := row.Verdicts; p != nil {
			said = Pair{cmp.Or(p.Sequential, "-"), cmp.Or(p.Classic, "-")}
		}
		fmt.Fprintf(t, "%s\t%d %%\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", timeOfDay(row.At), row.Weight,
			canary, primary, state, blamed, acquitted, said.Sequential, check, failed, said.Classic)
	}
	_ = t.Flush() // a builder takes everything
}

func (r Result) foot(w io.Writer) {
	fmt.Fprintln(w)
	t := table(w)
	fmt.Fprintln(t, "JUDGE\tVERDICT\tAT\tAFTER\tWEIGHT\tREQUESTS\tOF THEM BAD")
	for _, j := range r.Judges {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d %%\t%s\t%s\n", j.Judge, j.last().short(), timeOfDay(j.At),
			j.At.Sub(r.start()).Round(time.Second), j.Weight, number(j.Answered[1]), number(j.Answered[0]))
	}
	_ = t.Flush()
	fmt.Fprintln(w)
	for _, j := range r.Judges {
		fmt.Fprintf(w, "%s: %s\n", j.Judge, j.Text)
		for _, warning := range j.Verdict.Warnings {
			if !strings.HasPrefix(warning, "reporter ") { // who counted is no news here
				fmt.Fprintf(w, "%s: warning %s\n", j.Judge, warning)
			}
		}
	}
	if r.Run != nil {
		fmt.Fprintf(w, "the run: %s, %s\n", r.Run.Outcome, r.Run.Reason)
	}
}

func table(w io.Writer) *tabwriter.Writer { return tabwriter.NewWriter(w, 0, 0, 2, ' ', 0) }

// counts is bad requests and all, of one cell.
func counts(r verdict.Ratio) string { return number(r[0]) + "/" + number(r[1]) }

func number(n float64) string { return strconv.FormatFloat(n, 'f', 0, 64) }

// digits is a number of which three digits count.
func digits(v float64) string {
	if v >= 1000 {
		return number(v)
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}

func timeOfDay(t time.Time) string { return t.UTC().Format(time.TimeOnly) }
