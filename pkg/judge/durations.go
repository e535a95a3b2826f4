package judge

import (
	"context"
	"fmt"
	"slices"

	"github.com/serin-cd/serin/pkg/judge/counting"
	"github.com/serin-cd/serin/pkg/judge/sequential"
)

// durations is what latency is judged by.
type durations struct {
	usual  counting.Lengths // of the primary, before the start; nothing where latency is not judged
	common map[float64]bool // bounds that both arms have, nil before the canary has any

	bounds []sequential.Bound
	limit  float64 // that bound which stands for the longest duration that is allowed, 0 for none
	unlike bool    // there is none in common
}

// learnDurations reads how long the primary's requests took before the start.
func (r *reading) learnDurations(ctx context.Context) error {
	m, err := r.samples(ctx, r.selection(r.reporter).PrimaryDurations(), r.start.Add(-counting.HistorySpan), r.start)
	if err != nil {
		return err
	}
	if counting.Native(m) {
		return r.unjudged("native histograms have no buckets of their own")
	}
	if r.usual, err = r.reader(r.reporter).Lengths(m, r.start); err != nil {
		return err
	}
	r.choose()
	switch {
	case sequential.Thin(sequential.Counts{Requests: r.usual.Total}):
		return r.unjudged(fmt.Sprintf("%s of the primary in %s before the start, want 100",
			requests(r.usual.Total), counting.Durations))
	case len(r.bounds) > 0 || r.unlike || r.config.Sequential.Latency == "off": // then there is only a limit
		return nil
	}
	return r.unjudged("the primary's requests took longer than the last bound of its histogram")
}

// choose chooses the bounds to judge by among those that both arms have, as far as is known.
func (r *reading) choose() {
	objective := float64(r.config.Sequential.LatencyObjective)
	wanted := sequential.Bounds(slices.Clone(r.usual.Buckets), r.usual.Total, objective)
	shared := slices.DeleteFunc(slices.Clone(r.usual.Buckets), func(b sequential.Bucket) bool {
		return r.common != nil && !r.common[b.Le]
	})
	r.bounds = sequential.Bounds(shared, r.usual.Total, objective)
	for _, b := range wanted {
		if r.common != nil && !r.common[b.Le] {
			r.note(boundDropped, fmt.Sprintf("some pods have no bucket up to %v ms: "+
				"check sidecar.istio.io/statsHistogramBuckets", b.Le))
		}
	}
	r.unlike = (len(wanted) > 0 || r.usual.Unlike) && len(r.bounds) == 0
	r.limit = 0
	for _, b := range shared {
		if r.longest > 0 && b.Le >= r.longest && (r.limit == 0 || b.Le < r.limit) {
			r.limit = b.Le
		}
	}
	if r.config.Sequential.Latency == "off" {
		r.bounds, r.unlike = nil, false
	}
}

// unjudged leaves latency out of the verdict, unless it is required.
func (r *reading) unjudged(why string) error {
	r.durations = durations{}
	if r.config.Sequential.Latency == latencyRequired && !r.probing {
		return fmt.Errorf("latency cannot be judged: %s, want latency auto or a longer history", why)
	}
	if r.config.Sequential.Latency != "off" {
		r.note(latencyNotJudged, why)
	}
	if r.longest > 0 {
		r.note(limitNotJudged, fmt.Sprintf("request-duration %v ms: %s", r.longest, why))
	}
	return nil
}

// slow reads how long the requests of both arms took, in the cells that were counted.
func (r *reading) slow(ctx context.Context, w counting.Window, counted counting.Counted, e *sequential.Evidence) error {
	called := canaryIn(counted) > 0
	les := r.les()
	if r.longest > 0 && r.limit == 0 && r.usual.Total > 0 {
		r.note(limitNotJudged, fmt.Sprintf("request-duration %v ms: the histograms of both have no bound that long",
			r.longest))
	}
	if len(les) == 0 {
		e.Unlike = r.unlike
		return nil
	}
	m, err := r.samples(ctx, r.selection(r.reporter).Durations(les), w.Start, w.End)
	if err != nil {
		return err
	}
	if counting.Native(m) {
		return r.unjudged("native histograms have no buckets of their own")
	}
	slow, err := r.reader(r.reporter).Durations(m, w, les, counted.Layout)
	if err != nil {
		return err
	}
	if called && !slow.Canary {
		return r.unjudged("the canary's proxies have no such histogram")
	}
	if slices.Contains(slow.Lacking, true) { // in the histograms of some pods
		if err := r.compare(ctx, w); err != nil {
			return err
		}
		if !slices.Equal(les, r.les()) {
			return r.slow(ctx, w, counted, e)
		}
	}
	e.Bounds, e.Unlike, e.Longest = r.bounds, r.unlike, r.limit
	for i, le := range les {
		if slices.ContainsFunc(r.bounds, func(b sequential.Bound) bool { return b.Le == le }) {
			e.Slow = append(e.Slow, slow.Cells[i])
		}
		if le == r.limit {
			e.TooSlow = slow.Cells[i]
		}
	}
	return nil
}

// les are the bounds to read, in order.
func (r *reading) les() []float64 {
	var les []float64
	for _, b := range r.bounds {
		les = append(les, b.Le)
	}
	if limit := r.limit; limit > 0 && !slices.Contains(les, limit) {
		les = append(les, limit)
	}
	slices.Sort(les)
	return les
}

// compare learns which bounds the histograms of both arms have in common, and chooses among them.
func (r *reading) compare(ctx context.Context, w counting.Window) error {
	m, err := r.samples(ctx, r.selection(r.reporter).AllDurations(), w.Start, w.End)
	if err != nil || counting.Native(m) {
		return err
	}
	common, err := r.reader(r.reporter).Common(m, w)
	if err != nil {
		return err
	}
	r.common = common
	r.choose()
	return nil
}
