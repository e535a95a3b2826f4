package report

import (
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"

	"github.com/serin-cd/serin/pkg/judge/verdict"
	"github.com/serin-cd/serin/pkg/task/parameter"
)

// Table writes a verdict for people: a line for each measurement, and the decision at the end.
func Table(w io.Writer, v verdict.Verdict) error {
	r := report{v}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if r.Weighed != nil {
		r.intervals(t)
	}
	if r.Weighed == nil || len(r.Checks) > 0 {
		fmt.Fprintln(t, "TIME\tWEIGHT\tFAILED\tMETRIC\tVALUE\tWANT\tREQUESTS\tOUTCOME")
	}
	for _, c := range r.Checks {
		at, weight := c.At.Format("15:04:05"), fmt.Sprintf("%d %%", r.weight(c.Stage))
		failed := fmt.Sprintf("%d of %d", c.Failed, r.Threshold)
		for _, m := range c.Measurements {
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n",
				at, weight, failed, m.Name, value(m.Value), want(m), requests(m.Requests), m.State)
			at, weight, failed = "", "", "" // once a check
		}
	}
	if err := t.Flush(); err != nil {
		return failed(err)
	}
	_, err := fmt.Fprintf(w, "\n%s.%s at weight %d: %s, %s: %s\n",
		r.Target.Canary, r.Target.Namespace, r.Stage.Weight, r.Decision, r.Code, r.Text)
	return failed(err)
}

// intervals has a line for each of the judge's.
func (r report) intervals(w io.Writer) {
	fmt.Fprintln(w, "UNTIL\tWEIGHT\tCANARY\tPRIMARY\tBLAME\tACQUIT\tLATENCY\t")
	for _, c := range r.Cells {
		latency := "-"
		if c.Latency != nil {
			latency = number(c.Latency.Blame)
		}
		if c.Held {
			latency += "\theld"
		}
		fmt.Fprintf(w, "%s\t%d %%\t%s\t%s\t%s\t%s\t%s\n",
			r.time(c.End), r.weight(c.Stage), ratio(c.Canary), ratio(c.Primary), number(c.Blame), number(c.Acquit),
			latency)
	}
}

// weight is that of a stage, counted from 1.
func (r report) weight(stage int) parameter.Weight {
	if stage < 1 || stage > len(r.Stages) {
		return 0
	}
	return r.Stages[stage-1].Weight
}

func value(v *verdict.Number) string {
	if v == nil || v.IsZero() {
		return "-"
	}
	return shown(float64(*v))
}

func requests(n *verdict.Count) string {
	if n == nil {
		return "-"
	}
	return shown(n.Whole())
}

func shown(v float64) string { return strconv.FormatFloat(v, 'g', 6, 64) }

func want(m verdict.Measurement) string {
	switch {
	case m.Min != nil && m.Max != nil:
		return shown(*m.Min) + " to " + shown(*m.Max)
	case m.Min != nil:
		return ">= " + shown(*m.Min)
	}
	return "<= " + shown(*m.Max)
}
