package judge

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/prometheus/common/model"

	"github.com/serin-cd/serin/pkg/judge/counting"
	"github.com/serin-cd/serin/pkg/judge/prometheus"
	"github.com/serin-cd/serin/pkg/judge/sequential"
)

// polled is how many cells back a canary that fails hard is looked for.
const polled = 4

// enough is the share of what the called proxies count that those which call must count to be believed.
const enough = 0.9

// warnings of the sequential judge, beside those of counting.
const (
	thinHistory      = "thin-history"
	latencyNotJudged = "latency-not-judged"
	splitBlind       = "split-blind"
	boundDropped     = "latency-bound-dropped"
	limitNotJudged   = "limit-not-judged"
)

// reading is what the sequential judge has read of Prometheus.
type reading struct {
	*Judge
	q        querier
	start    time.Time
	reporter counting.Reporter // empty until it is known
	history  map[counting.Reporter]counting.History
	durations
	notes   []string // warnings, each once
	probing bool     // before there is anything to judge
	queries []string
}

func newReading(j *Judge, q querier, start time.Time) *reading {
	return &reading{Judge: j, q: q, start: start}
}

// probe asks what judging will ask, before there is a canary and perhaps a primary.
func (r *reading) probe(ctx context.Context) error {
	r.probing = true
	return r.learn(ctx)
}

// candidates are the reporters that may count.
func (r *reading) candidates() []counting.Reporter {
	if r.reporter != "" {
		return []counting.Reporter{r.reporter}
	}
	if r.config.Reporter == "auto" {
		return []counting.Reporter{counting.Source, counting.Destination}
	}
	return []counting.Reporter{counting.Reporter(r.config.Reporter)}
}

func (r *reading) selection(reporter counting.Reporter) counting.Selection {
	split := counting.Split(r.config.Sequential.Split)
	if r.config.Sequential.Split == "auto" {
		split = counting.SplitOf(reporter)
	}
	return r.target.Selection(reporter, split)
}

// Selection is the series of both arms, as a reporter counts them and a split tells them apart. The Services must be
// filled in.
func (t Target) Selection(by counting.Reporter, split counting.Split) counting.Selection {
	s := counting.Selection{Reporter: by, Split: split, Namespace: t.Namespace, Canary: t.Canary, Primary: t.Primary}
	if split == counting.ByService {
		s.Canary, s.Primary = t.CanaryService, t.PrimaryService
	}
	return s
}

func (r *reading) reader(reporter counting.Reporter) counting.Reader {
	return counting.Reader{Selection: r.selection(reporter), Bad: r.bad,
		ReplicaLabels: r.config.Sequential.ReplicaLabels}
}

// grid is the length of a cell.
func (r *reading) grid() time.Duration { return r.past().Grid }

// past is the history as the reporter tells it.
func (r *reading) past() counting.History {
	if r.reporter == "" {
		return r.history[r.candidates()[0]]
	}
	return r.history[r.reporter]
}

// samples reads the samples of a selector up to a time.
func (r *reading) samples(ctx context.Context, selector string, from, to time.Time) (model.Matrix, error) {
	m, queries, err := prometheus.Samples(ctx, r.q, selector, from.Add(-counting.Lookback), to)
	for _, q := range queries {
		if !slices.Contains(r.queries, q) {
			r.queries = append(r.queries, q)
		}
	}
	return m, err
}

// learn reads the history, once: what was usual, how often proxies are scraped, and which of them count.
func (r *reading) learn(ctx context.Context) error {
	if r.history != nil {
		return nil
	}
	grid, err := r.config.Sequential.grid()
	if err != nil {
		return err
	}
	known := map[counting.Reporter]counting.History{}
	for _, reporter := range r.candidates() {
		m, err := r.samples(ctx, r.selection(reporter).Requests(), r.start.Add(-counting.HistorySpan), r.start)
		if err != nil {
			return err
		}
		if known[reporter], err = r.reader(reporter).History(m, r.start, grid); err != nil {
			return err
		}
	}
	r.history = known
	source, destination := known[counting.Source].Primary.Requests, known[counting.Destination].Primary.Requests
	switch {
	case len(known) == 1:
		return r.decideOn(ctx, r.candidates()[0])
	case source+destination > 0:
		return r.decideOn(ctx, preferred(source, destination))
	}
	return nil
}

// preferred is the reporter to believe: the caller's, which sees more, unless it misses callers.
func preferred(source, destination float64) counting.Reporter {
	if source >= enough*destination {
		return counting.Source
	}
	return counting.Destination
}

// decideOn settles which proxies count, and what latency is judged by.
func (r *reading) decideOn(ctx context.Context, reporter counting.Reporter) error {
	r.reporter = reporter
	past := r.past()
	for _, w := range past.Warnings {
		r.note(w, "")
	}
	if sequential.Thin(past.Primary) {
		r.note(thinHistory, fmt.Sprintf("%s of the primary in the %.0fs before the start, want 100: "+
			"tolerances are not relative to its error rate", requests(past.Primary.Requests),
			counting.HistorySpan.Seconds()))
	}
	if s := r.selection(reporter); s.Split == counting.ByWorkload && reporter == counting.Source {
		r.note(splitBlind, "requests that reach no pod have no workload, and are not counted")
	}
	if r.config.Sequential.Latency == "off" && r.longest == 0 {
		return nil
	}
	return r.learnDurations(ctx)
}

func (r *reading) note(code, text string) {
	if explained := explanations[code]; text == "" {
		text = explained
	}
	if note := code + ": " + text; !slices.Contains(r.notes, note) {
		r.notes = append(r.notes, note)
		if r.probing {
			return
		}
		slog.Warn("judging with a reservation", "canary", r.target.Canary, "reservation", note)
	}
}

var explanations = map[string]string{
	counting.DuplicateSeries:  "several series count the same requests: one of each is used",
	counting.ImplausibleBirth: "a series began with more requests than there can have been: they are not counted",
}

func requests(n float64) string {
	if int(n) == 1 {
		return "1 request"
	}
	return fmt.Sprintf("%d requests", int(n))
}
