package report

import (
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"

	"github.com/serin-cd/serin/pkg/task/parameter"
)

// Table writes the report for people: a line for each measurement, and the verdict at the end.
func (r Report) Table(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if r.Weighed != nil {
		r.intervals(t)
	}
	if r.Weighed == nil || len(r.Checks) > 0 {
		fmt.Fprintln(t, "TIME\tWEIGHT\tFAILED\tMETRIC\tVALUE\tWANT\tREQUESTS\tOUTCOME")
	}
	for _, c := range r.Checks {
		at, weight, failed := c.At.Format("15:04:05"), fmt.Sprintf("%d %%", r.weight(c.Phase)), fmt.Sprintf("%d of %d", c.Failed, r.Allowed)
		for _, m := range c.Metrics {
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", at, weight, failed, m.Name, shown(m.Value), m.want(), shown(m.Requests), m.Outcome)
			at, weight, failed = "", "", "" // once a check
		}
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	_, err := fmt.Fprintf(w, "\n%s.%s at weight %d: %s, %s: %s\n", r.Target.Canary, r.Target.Namespace, r.Stage.Weight, r.Verdict, r.Reason, r.Text)
	if err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}

// intervals has a line for each of the judge's.
func (r Report) intervals(w io.Writer) {
	fmt.Fprintln(w, "UNTIL\tWEIGHT\tCANARY\tPRIMARY\tBLAME\tACQUIT\tLATENCY\t")
	for _, c := range r.Cells {
		latency := "-"
		if c.Latency != nil {
			latency = number(c.Latency.Blame)
		}
		if c.Held {
			latency += "\theld"
		}
		fmt.Fprintf(w, "%s\t%d %%\t%s\t%s\t%s\t%s\t%s\n", r.time(c.End), r.weight(c.Phase), c.Canary, c.Primary, number(c.Blame), number(c.Acquit), latency)
	}
}

func (r Report) weight(phase int) parameter.Weight {
	if phase < 1 || phase > len(r.Phases) {
		return 0
	}
	return r.Phases[phase-1].Weight
}

func shown(v *float64) string {
	if v == nil {
		return "-"
	}
	return strconv.FormatFloat(*v, 'g', 6, 64)
}

func (m Metric) want() string {
	switch {
	case m.Min != nil && m.Max != nil:
		return shown(m.Min) + " to " + shown(m.Max)
	case m.Min != nil:
		return ">= " + shown(m.Min)
	}
	return "<= " + shown(m.Max)
}
