package judge

import (
	"context"
	"fmt"
	"time"

	"github.com/serin-cd/serin/pkg/judge/counting"
	"github.com/serin-cd/serin/pkg/judge/sequential"
)

func (r *reading) window(until time.Time) counting.Window {
	return counting.Window{Start: r.start, End: until, Grid: r.grid(), Settle: time.Duration(r.config.Settle),
		Busiest: r.past().Busiest}
}

// evidence reads everything since the start.
func (r *reading) evidence(ctx context.Context, until time.Time) (sequential.Evidence, error) {
	w := r.window(until)
	e := sequential.Evidence{
		Until: until.Sub(r.start), Grid: w.Grid, Settle: w.Settle, Basis: r.config.Sequential.basis(),
	}
	known := r.reporter
	counted, reporter, err := r.counted(ctx, w)
	if err != nil {
		return e, err
	}
	if known != r.reporter {
		return r.evidence(ctx, until) // its grid may be another
	}
	for _, warning := range counted.Warnings {
		r.note(warning, "")
	}
	e.Together, e.History = reporter.Together(), r.past().Primary
	e.Cells, e.Instants = counted.Cells, counted.Instants
	e.Bounds, e.Slow, err = r.slow(ctx, w, canaryIn(counted) > 0)
	return e, err
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
	for k := range source.Cells {
		s, d := source.Cells[k].Primary.Requests, destination.Cells[k].Primary.Requests
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

// slow reads how long the requests of both arms took; whether the canary had any is known by now.
func (r *reading) slow(ctx context.Context, w counting.Window,
	called bool) ([]sequential.Bound, [][]sequential.Pair, error) {
	if len(r.bounds) == 0 {
		return nil, nil, nil
	}
	var les []float64
	for _, b := range r.bounds {
		les = append(les, b.Le)
	}
	m, err := r.samples(ctx, r.selection(r.reporter).Durations(les), w.Start, w.End)
	if err != nil {
		return nil, nil, err
	}
	if counting.Native(m) {
		return nil, nil, r.unjudged("native histograms have no buckets of their own")
	}
	counted, err := r.reader(r.reporter).Durations(m, w, les)
	if err != nil {
		return nil, nil, err
	}
	if called && !counted.Canary {
		return nil, nil, r.unjudged("the canary's proxies have no such histogram")
	}
	var bounds []sequential.Bound
	var cells [][]sequential.Pair
	for i, b := range r.bounds {
		if counted.Lacking[i] {
			r.note(boundDropped, fmt.Sprintf("some pods have no bucket up to %v ms: "+
				"check sidecar.istio.io/statsHistogramBuckets", b.Le))
			continue
		}
		bounds, cells = append(bounds, b), append(cells, counted.Cells[i])
	}
	if len(bounds) == 0 {
		return nil, nil, r.unjudged("no bound is in the histograms of all pods")
	}
	return bounds, cells, nil
}

// poll says whether the canary seems to fail hard in the last cells. That is certain only once everything
// has been read.
func (r *reading) poll(ctx context.Context, now time.Time) (bool, error) {
	if r.reporter == "" {
		return false, nil
	}
	w := r.window(now)
	if recent := now.Add(-polled * w.Grid); recent.After(w.Start) {
		w.Start = recent
	}
	m, err := r.samples(ctx, r.selection(r.reporter).Requests(), w.Start, w.End)
	if err != nil {
		return false, err
	}
	counted, err := r.reader(r.reporter).Requests(m, w)
	if err != nil {
		return false, err
	}
	_, hard := sequential.FindHard(counted.Instants, w.Grid, r.reporter.Together(), now.Sub(w.Start))
	return hard, nil
}
