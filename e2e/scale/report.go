package scale

import (
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/serin-cd/serin/e2e/bench"
)

// What is wanted.
const (
	wantCalls = 60 // API calls of a release
	wantWork  = 1  // s, 99th percentile of a step's own work
)

// The parts of the table.
const (
	partReleases = "Releases"
	partCalls    = "API calls"
	partWork     = "A step's own work: processor time, user and system"
	partTook     = "Steps that wait for nothing: from start to end, on a machine that all share"
)

// report adds what was seen.
func (w *world) report(r *bench.Report) error {
	for _, wrong := range w.wrong {
		fmt.Fprintln(w.Out, "wrong:", wrong)
	}
	r.Add(
		bench.Row{Part: partReleases, What: "releases: " + w.mix(), Got: float64(len(w.apps)), None: true},
		bench.Row{Part: partReleases, What: mostAtOnce, Got: float64(w.traffic.most), None: true},
		bench.Row{Part: partReleases, What: "with a share of the traffic at once, at most",
			Got: float64(w.traffic.widest), None: true},
		bench.Row{Part: partReleases, What: "from the first push to the last end, at an interval of " +
			w.Interval.String(), Got: w.took.Seconds(), Unit: "s", None: true},
		bench.Row{Part: partReleases,
			What: "programs that work at once, by this bench's own limit; those that wait for pods or Prometheus do " +
				"not count",
			Got: float64(places), None: true},
		bench.Row{Part: partReleases, What: "releases and steps that did not end as they must",
			Got: float64(len(w.wrong))},
	)
	if err := w.calls(r); err != nil {
		return err
	}
	w.work(r)
	return nil
}

// mix is how many releases are played in each way.
func (w *world) mix() string {
	text := ""
	for _, e := range []ending{healthy, bad, unchanged, unattended, halfway, edited} {
		n := 0
		for _, a := range w.apps {
			if a.ending.name == e.name {
				n++
			}
		}
		if text != "" {
			text += ", "
		}
		text += fmt.Sprintf("%d %s", n, e.name)
	}
	return text
}

// calls counts the API calls of each run from the audit log.
func (w *world) calls(r *bench.Report) error {
	log, err := os.Open(w.server.AuditLog)
	if err != nil {
		return fmt.Errorf("reading the audit log: %w", err)
	}
	defer log.Close()
	runs, answers := map[string]*bench.Calls{}, map[int]int{}
	first, disturbed := map[string]int{}, map[string]int{}
	err = bench.ReadCalls(log, func(c bench.Call) {
		of, ok := w.pods[podKey{c.Namespace, c.Pod}]
		if !ok {
			return
		}
		answers[c.Status]++
		key := c.Namespace + "/" + of.run
		if of.run != of.app.release() {
			first[key]++
			return
		}
		if of.app.ending.due != nil {
			disturbed[key]++
			return
		}
		if runs[key] == nil {
			runs[key] = &bench.Calls{}
		}
		runs[key].Add(of.task, c)
	})
	if err != nil {
		return err
	}
	all := sorted(runs)
	if len(all) == 0 {
		return fmt.Errorf("reading the audit log: it has no call of a release")
	}
	most, middle := all[len(all)-1], all[len(all)/2]
	r.Add(bench.Row{Part: partCalls, What: "API calls of the undisturbed release with the most",
		Got: float64(most.Total), Want: wantCalls})
	r.Add(bench.Row{Part: partCalls, What: "API calls of an undisturbed release, median", Got: float64(middle.Total),
		None: true})
	r.Add(bench.Row{Part: partCalls, What: "API calls of a release that is killed or edited, at most",
		Got: float64(largest(disturbed)), None: true})
	r.Add(bench.Row{Part: partCalls, What: "API calls of the first release with the most", Got: float64(largest(first)),
		None: true})
	r.Add(refusals(answers)...)
	most.Of = "the undisturbed release with the most"
	r.Calls = append(r.Calls, *most)
	return nil
}

// sorted are calls by their total.
func sorted(runs map[string]*bench.Calls) []*bench.Calls {
	var all []*bench.Calls
	for _, c := range runs {
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b *bench.Calls) int { return a.Total - b.Total })
	return all
}

func largest(counts map[string]int) int {
	most := 0
	for _, n := range counts {
		most = max(most, n)
	}
	return most
}

// refusals are the answers that steps must be able to live with.
func refusals(answers map[int]int) []bench.Row {
	server, which := 0, ""
	for _, status := range slices.Sorted(maps.Keys(answers)) {
		if n := answers[status]; status >= 500 {
			server += n
			which += fmt.Sprintf(", %d of them %d", n, status)
		}
	}
	row := func(what string, n int) bench.Row {
		return bench.Row{Part: partCalls, What: what, Got: float64(n), None: true}
	}
	return []bench.Row{
		row(conflicts, answers[409]+answers[422]),
		row("answers 429: the server was busy", answers[429]),
		row("answers 5xx"+which, server),
		{Part: partCalls, What: "answers 401 and 403: rights that the Role lacks",
			Got: float64(answers[401] + answers[403])},
	}
}

const mostAtOnce = "open at once, at most"

// conflicts are what somebody else's writes lead to.
const conflicts = "answers 409 and 422: conflicts, none of which may end a step"

// waitless are the steps that wait for nothing but the API server.
var waitless = []string{"acquire-lease", "shift-weight", "release-lease"}

// work adds what the programs needed.
func (w *world) work(r *bench.Report) {
	steps := []string{"acquire-lease", "prepare-canary", "shift-weight", "analyze-metrics", "promote-primary",
		"rollback", "report", "release-lease"}
	for _, step := range steps {
		var work, took []time.Duration
		for _, e := range w.exits {
			if e.step == step {
				work, took = append(work, e.work), append(took, e.took)
			}
		}
		r.Add(percentile(partWork, step, work, bench.Row{Want: wantWork}))
		if slices.Contains(waitless, step) {
			r.Add(percentile(partTook, step, took, bench.Row{None: true}))
		}
	}
}

// percentile is a row of the 99th percentile, with the median and the longest beside it.
func percentile(part, step string, all []time.Duration, row bench.Row) bench.Row {
	slices.Sort(all)
	n := len(all)
	if n == 0 {
		all, n = []time.Duration{0}, 1
	}
	row.Part, row.Unit, row.Digits, row.Got = part, "s", 3, all[(99*n+99)/100-1].Seconds()
	row.What = fmt.Sprintf("%s: 99th percentile of %d (median %.3f, longest %.3f)", step, n, all[n/2].Seconds(),
		all[n-1].Seconds())
	return row
}

const preface = "<!-- Generated by `make bench-scale SCALEFLAGS='-write docs/scale.md'`. -->" + `
# Many releases at once

What a release costs if hundreds are under way at once, as ` + "`make bench-scale`" + ` measures it: %s; %s.

etcd, the API server and its controllers, Prometheus and the steps are real. The steps run as processes with the
environment that their Task gives them and the rights of Serin's Role. The rest is simulated: nodes (pods are ready
as soon as they are made), proxies and callers (requests are counted as the routes say, without being sent), and
Tekton (it starts one step after the other).

In a cluster each pod has processors of its own. Here all share a few, so only a few programs may work at once, and
the cost of a step is given in processor time. Runs are started 60 at a time and wait for each other once they are
prepared, so all of them are open at the same time.

API calls are read from the audit log. A run that takes longer makes more of them, because it renews its Lease every
30 s. An answer 504 is mostly such a renewal by a step that ended meanwhile.
`

// Page writes a report as a page.
func Page(r *bench.Report) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := fmt.Fprintf(w, preface, r.At.Format("2006-01-02"), r.Machine)
		r.Tables(w)
		return err
	}
}
