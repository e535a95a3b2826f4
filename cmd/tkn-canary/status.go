package main

import (
	"cmp"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/serin-cd/serin/internal/terminal"
	"github.com/serin-cd/serin/pkg/release/status"
	"github.com/serin-cd/serin/pkg/task/failure"
	"github.com/serin-cd/serin/pkg/task/run"
)

// looking is what status is told.
type looking struct {
	cluster clusterFlags
	all     bool
	output  string
}

// detailed is an application with the tasks of its last run.
type detailed struct {
	status.Application
	Tasks []status.Task `json:"tasks,omitempty"`
}

func statuses() *cobra.Command {
	l := looking{}
	cmd := &cobra.Command{
		Use:   "status [APP]",
		Short: "Show what is released where, and how far",
		Long: `Show the applications of a namespace, or of all: the version that serves, the version that is
being released and its share of the traffic, and how the last run ended.

With the name of an application it also shows the stages of its last run, with what each
has counted and decided.`,
		Example: `  tkn canary status -A
  tkn canary status shop -n production
  tkn canary status -A -o json`,
		Args:              atMostOne,
		ValidArgsFunction: l.complete,
		RunE:              func(cmd *cobra.Command, args []string) error { return l.run(cmd, args) },
	}
	l.cluster.add(cmd)
	f := cmd.Flags()
	f.BoolVarP(&l.all, "all-namespaces", "A", false, "applications of all namespaces")
	l.formats(cmd, "table", "json", "yaml")
	return cmd
}

func (l *looking) run(cmd *cobra.Command, args []string) error {
	if err := formatted(l.output, "table", "json", "yaml"); err != nil {
		return err
	}
	cluster, namespace, err := l.cluster.connect()
	if err != nil {
		return err
	}
	if l.all {
		namespace = ""
	}
	found, err := status.List(cmd.Context(), cluster, namespace)
	if err != nil {
		return err
	}
	if len(found) == 0 {
		if err := missing(cmd.Context(), cluster, namespace, "reading the status"); err != nil {
			return err
		}
	}
	var shown []detailed
	for _, a := range found {
		if len(args) > 0 && a.Name != args[0] {
			continue
		}
		d := detailed{Application: a}
		if len(args) > 0 {
			if d.Tasks, err = a.Tasks(cmd.Context(), cluster); err != nil {
				return err
			}
		}
		shown = append(shown, d)
	}
	if len(args) > 0 && len(shown) == 0 {
		return failure.Configf("reading the status of %s: Serin has released no application of that name in %s",
			args[0], cmp.Or(namespace, "any namespace"))
	}
	return l.print(cmd.OutOrStdout(), shown, len(args) > 0, cluster.Now())
}

func (l *looking) print(w io.Writer, shown []detailed, details bool, now time.Time) error {
	if l.output != "table" {
		return encode(w, l.output, append([]detailed{}, shown...))
	}
	w = terminal.Writer(w)
	var table terminal.Table
	l.row(&table, "NAMESPACE", "APP", "SERVES", "CANARY", "WEIGHT", "STATE", "SINCE", "RUN", "REASON")
	for _, d := range shown {
		canary := "-"
		if d.Canary != nil {
			canary = d.Canary.String()
		}
		l.row(&table, d.Namespace, d.Name, d.Serving.String(), canary, fmt.Sprintf("%d %%", d.Weight),
			terminal.Mood(state(d.Application)), age(d.Since, now), cmp.Or(d.Run, "-"),
			cmp.Or(d.Problem, d.Reason, "-"))
	}
	if err := table.Write(w); err != nil || !details {
		return err
	}
	for _, d := range shown {
		if err := stages(w, d.Tasks, now); err != nil {
			return err
		}
		if d.KeptUntil.After(now) {
			fmt.Fprintf(w, "\nThe pods of the canary that failed stay up for %s, without traffic. Look into one with\n"+
				"  kubectl -n %s exec -it deployment/%s -- sh\n", age(now, d.KeptUntil), d.Namespace, d.Name)
		}
	}
	return nil
}

// row adds a row, with its namespace if all are looked at.
func (l *looking) row(table *terminal.Table, namespace string, cells ...string) {
	if l.all {
		cells = append([]string{namespace}, cells...)
	}
	table.Row(cells...)
}

// state is how far an application is, in a word.
func state(a status.Application) string {
	switch {
	case a.Problem != "":
		return "broken"
	case a.Busy():
		return string(a.Phase)
	case a.Phase == run.Closed && a.Outcome == run.Unfinished:
		return "unfinished"
	case a.Ejecting:
		return "half ejected"
	}
	return cmp.Or(string(a.Outcome), "at rest")
}

func age(since, now time.Time) string {
	if since.IsZero() {
		return "-"
	}
	return duration.HumanDuration(max(0, now.Sub(since)))
}

// stages prints what the tasks of a run have done.
func stages(w io.Writer, tasks []status.Task, now time.Time) error {
	if len(tasks) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	var table terminal.Table
	table.Row("TASK", "STATE", "TOOK", "AT MOST", "WEIGHT", "CANARY", "PRIMARY", "VERDICT")
	for _, t := range tasks {
		took, left := "-", "-"
		switch {
		case !t.Ended.IsZero():
			took = duration.HumanDuration(t.Ended.Sub(t.Started))
		case !t.Started.IsZero():
			took = age(t.Started, now)
		}
		if !t.Until.IsZero() {
			left = duration.HumanDuration(max(0, t.Until.Sub(now))) + " more"
		}
		weight, canary, primary := "-", "-", "-"
		if t.Weight != 0 {
			weight = fmt.Sprintf("%d %%", t.Weight)
		}
		if e := t.Evidence; e != nil {
			weight, canary, primary = fmt.Sprintf("%d %%", e.Weight), requests(e.Canary), requests(e.Primary)
		}
		table.Row(t.Name, terminal.Mood(t.State), took, left, weight, canary, primary,
			terminal.Mood(cmp.Or(verdictOf(t), "-")))
	}
	return table.Write(w)
}

// requests are the failed ones of all.
func requests(e [2]float64) string {
	if e[1] == 0 {
		return "-"
	}
	return fmt.Sprintf("%.0f/%.0f (%.2f %%)", e[0], e[1], 100*e[0]/e[1])
}

func verdictOf(t status.Task) string {
	if t.Verdict == "" || t.Reason == "" {
		return cmp.Or(t.Verdict, t.Reason)
	}
	return t.Verdict + ", " + t.Reason
}
