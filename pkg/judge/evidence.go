package judge

import (
	"context"
	"time"

	"github.com/serin-cd/serin/pkg/judge/counting"
	"github.com/serin-cd/serin/pkg/judge/sequential"
)

func (r *reading) window(until time.Time) counting.Window {
	return counting.Window{Start: r.start, End: until, Grid: r.grid(), Settle: time.Duration(r.config.Settle),
		Busiest: r.past().Busiest}
}

// evidence reads everything since the start.
func (r *reading) evidence(ctx context.Context, until time.Time) (e sequential.Evidence, in counting.Layout,
	err error) {
	w := r.window(until)
	e = sequential.Evidence{
		Until: until.Sub(r.start), Grid: w.Grid, Basis: r.basis(r.past().Clumps),
	}
	known := r.reporter
	counted, reporter, err := r.counted(ctx, w)
	if err != nil {
		return e, in, err
	}
	if known != r.reporter {
		return r.evidence(ctx, until) // its grid may be another
	}
	for _, warning := range counted.Warnings {
		r.note(warning, "")
	}
	e.Together, e.History = reporter.Together(), r.past().Primary
	e.Cells, e.Early, e.Instants = counted.Cells, counted.Early, counted.Instants
	return e, counted.Layout, r.slow(ctx, w, counted, &e)
}

// counted reads the requests of both arms. Where there is no history, what both kinds of proxies count in
// the first cells decides which of them is believed.
func (r *reading) counted(ctx context.Context, w counting.Window) (counting.Counted, counting.Reporter, error) {
	all := map[counting.Reporter]counting.Counted{}
	for _, reporter := range r.candidates() {
		m, err := r.samples(ctx, r.selection(reporter).Requests(), w.Start, w.End)
		if err != nil {
			return counting.Counted{}, reporter, err
		}
		if all[reporter], err = r.reader(reporter).Requests(m, w); err != nil {
			return counting.Counted{}, reporter, err
		}
	}
	if r.reporter != "" {
		return all[r.reporter], r.reporter, nil
	}
	source, destination := all[counting.Source], all[counting.Destination]
	both := min(source.Closed(), destination.Closed()) // one may have to wait longer for its samples
	for n := 1; n <= both; n++ {
		s, d := source.PrimaryIn(n), destination.PrimaryIn(n)
		if s+d > 0 {
			err := r.decideOn(ctx, preferred(s, d))
			return all[r.reporter], r.reporter, err
		}
	}
	maybe := preferred(canaryIn(source), canaryIn(destination))
	return all[maybe], maybe, nil
}

func canaryIn(c counting.Counted) float64 {
	sum := 0.0
	for _, i := range c.Instants {
		sum += i.Canary.Requests
	}
	return sum
}

// news is what a quick look finds.
type news struct {
	counting.Layout
	hard bool // the canary seems to fail hard: that is certain only once everything has been read
}

// poll looks at the last cells.
func (r *reading) poll(ctx context.Context, now time.Time) (news, error) {
	w := r.window(now)
	if recent := now.Add(-polled * w.Grid); recent.After(w.Start) {
		w.Start = recent
	}
	m, err := r.samples(ctx, r.selection(r.reporter).Requests(), w.Start, w.End)
	if err != nil {
		return news{}, err
	}
	instants, layout, err := r.reader(r.reporter).Latest(m, w, r.start)
	if err != nil {
		return news{}, err
	}
	_, hard := sequential.FindHard(instants, w.Grid, r.reporter.Together(), now.Sub(w.Start))
	return news{layout, hard}, nil
}
