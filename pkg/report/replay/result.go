package replay

import (
	"cmp"
	"context"
	"math"
	"slices"
	"time"

	"github.com/serin-cd/serin/pkg/judge"
	"github.com/serin-cd/serin/pkg/judge/counting"
	"github.com/serin-cd/serin/pkg/judge/prometheus"
	"github.com/serin-cd/serin/pkg/judge/sequential"
	"github.com/serin-cd/serin/pkg/task/parameter"
)

// Result is what both judges would have made of a rollout.
type Result struct {
	Rollout  Rollout
	Until    time.Time
	Judgings []Judging           // of the sequential judge, and of the classic one
	Answered []sequential.Counts // requests of the canary when each of them had come to its end

	settle time.Duration
}

// count counts the canary's requests up to each judge's end, as the sequential judge counts them.
func (r *Result) count(ctx context.Context, p *Past, config judge.Config) error {
	weighed := r.Judgings[0].last().Verdict.Weighed
	codes, err := counting.Codes(config.Sequential.ErrorCodes)
	if err != nil {
		return err
	}
	reporter := cmp.Or(weighed.Reporter, string(counting.Source))
	if weighed.Reporter == "" && config.Reporter != "auto" {
		reporter = config.Reporter
	}
	reader := counting.Reader{Bad: counting.Bad(codes), ReplicaLabels: config.Sequential.ReplicaLabels, Selection: counting.Selection{
		Reporter: counting.Reporter(reporter), Split: counting.Split(weighed.Split), Namespace: r.Rollout.Target.Namespace,
		Canary: weighed.Services[0], Primary: weighed.Services[1],
	}}
	past, _, err := prometheus.Samples(ctx, p, reader.Selection.Requests(), weighed.Start.Add(-counting.HistorySpan-counting.Lookback), weighed.Start)
	if err != nil {
		return err
	}
	history, err := reader.History(past, weighed.Start, weighed.Grid)
	if err != nil {
		return err
	}
	for _, j := range r.Judgings {
		w := counting.Window{Start: weighed.Start, End: j.last().Verdict.At, Grid: weighed.Grid, Settle: r.settle, Busiest: history.Busiest}
		m, _, err := prometheus.Samples(ctx, p, reader.Selection.Requests(), w.Start.Add(-counting.Lookback), w.End)
		if err != nil {
			return err
		}
		counted, err := reader.Requests(m, w)
		if err != nil {
			return err
		}
		var answered sequential.Counts
		for _, i := range counted.Instants {
			answered = answered.Plus(i.Canary)
		}
		r.Answered = append(r.Answered, answered)
	}
	return nil
}

// row is how things stood at the time when something could be known.
type row struct {
	at       time.Time
	weight   parameter.Weight
	cell     *sequential.Moment
	state    string
	check    *judge.Check
	verdicts [2]string // of the judges
}

// rows are in order of time.
func (r Result) rows() []*row {
	var all []*row
	at := func(t time.Time) *row {
		i, found := slices.BinarySearchFunc(all, t, func(r *row, t time.Time) int { return r.at.Compare(t) })
		if !found {
			all = slices.Insert(all, i, &row{at: t, weight: r.weightAt(t)})
		}
		return all[i]
	}
	weighed := r.Judgings[0].last().Verdict.Weighed
	for i := range weighed.Moments {
		m := &weighed.Moments[i]
		here := at(weighed.Start.Add(m.End + r.settle))
		here.cell, here.state = m, state(weighed, *m)
	}
	checks := r.Judgings[1].last().Verdict.Checks
	for i := range checks {
		at(checks[i].At.Add(r.settle)).check = &checks[i]
	}
	for i, j := range r.Judgings {
		for _, s := range j.Stages {
			here := at(s.Verdict.At)
			here.verdicts[i] = s.short()
			here.weight = s.Verdict.Weight()
		}
	}
	return all
}

func (r Result) weightAt(t time.Time) parameter.Weight {
	weight := r.Rollout.Phases[0].Weight
	for _, p := range r.Rollout.Phases {
		if p.At.Before(t) {
			weight = p.Weight
		}
	}
	return weight
}

// short is a verdict in two words.
func (s Stage) short() string {
	if s.Verdict.Code == undecided {
		return undecided
	}
	return string(s.Verdict.Outcome) + " " + s.Verdict.Code
}

// state says in a word how things stood when a cell had closed.
func state(w *judge.Weighed, m sequential.Moment) string {
	s := sequential.Standing{BlameMax: m.Metric.BlameMax, Blame: m.Metric.Blame, Acquit: m.Metric.AcquitMax,
		Latency: m.Latency, Strata: 1, Obeyed: true, Held: m.Held}
	verdict, reason := sequential.Rules{Gate: sequential.Prove, Deadline: math.MaxInt64, Alpha: w.Alpha, Beta: w.Beta}.Decide(s)
	switch {
	case verdict == sequential.Fail:
		return reason
	case verdict == sequential.Pass:
		return "proven"
	case m.Held:
		return "held"
	case s.Calm():
		return "open"
	}
	return "suspect"
}

// blame is the most that speaks against the canary: its errors, or its latency.
func blame(m sequential.Moment) float64 {
	if m.Latency == nil {
		return m.Metric.Blame
	}
	return max(m.Metric.Blame, m.Latency.Blame)
}

// acquit is the least that speaks for it.
func acquit(m sequential.Moment) float64 {
	if m.Latency == nil {
		return m.Metric.AcquitMax
	}
	return min(m.Metric.AcquitMax, m.Latency.Acquit)
}
