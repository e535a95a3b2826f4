package explain

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/serin-cd/serin/pkg/judge/sequential"
	"github.com/serin-cd/serin/pkg/judge/verdict"
)

// Otherwise is a change that would have led to another verdict, at the same time or later.
type Otherwise struct {
	What string  `json:"what"` // canary-failed, primary-failed, seconds or such, or the name of a metric
	By   float64 `json:"by"`   // requests, fewer if below 0; seconds more; or the difference of a value
	Text string  `json:"text"`
}

// What changes.
const (
	canaryFailed  = "canary-failed"
	canarySlow    = "canary-slow"
	primaryFailed = "primary-failed"
	moreTime      = "seconds"
	shareSeen     = "share" // of the requests, in percentage points
	failedChecks  = "failed-checks"
)

const (
	mostChanged = 1 << 20 // requests
	mostLonger  = 400     // intervals
)

// otherwise works out what would have changed a verdict of the sequential judge: by the judge's own functions, on the
// report's intervals. Requests are changed in all intervals alike.
func otherwise(v verdict.Verdict, w weighed) []Otherwise {
	switch v.Code {
	case sequential.Worse:
		return w.worse()
	case sequential.Slower:
		return w.slower()
	case sequential.Healthy, sequential.BoxedTime:
		return w.passed()
	case sequential.Suspect:
		return w.suspect()
	case sequential.LowTraffic, sequential.Undecided:
		return w.longer()
	case sequential.PrimaryUnhealthy:
		return w.held()
	}
	return nil
}

// changed is evidence with other cells, whose slow requests are changed as well.
func (w weighed) changed(cell func(sequential.Pair) sequential.Pair,
	slow func(sequential.Pair) sequential.Pair) weighed {
	w.Cells, w.Instants, w.Slow = slices.Clone(w.Cells), slices.Clone(w.Instants), slices.Clone(w.Slow)
	for i := range w.Cells {
		w.Cells[i].Pair = cell(w.Cells[i].Pair)
		w.Instants[i].Pair = w.Cells[i].Pair
	}
	for i := range w.Slow {
		w.Slow[i] = slices.Clone(w.Slow[i])
		for k := range w.Slow[i] {
			w.Slow[i][k] = slow(w.Slow[i][k])
		}
	}
	return w
}

func same(p sequential.Pair) sequential.Pair { return p }

// fewer is counts without a share of those that are bad, or with one more of those that are not if it is below 0.
func fewer(c sequential.Counts, share float64) sequential.Counts {
	if share < 0 {
		return sequential.Counts{Requests: c.Requests, Bad: c.Bad - share*(c.Requests-c.Bad)}
	}
	return sequential.Counts{Requests: c.Requests, Bad: c.Bad * (1 - share)}
}

// canary has so many requests of the canary fail less, or more if it is below 0.
func (w weighed) canary(n int) weighed {
	all := w.seen().Canary
	share := shareOf(n, all)
	return w.changed(func(p sequential.Pair) sequential.Pair {
		return sequential.Pair{Canary: fewer(p.Canary, share), Primary: p.Primary}
	}, same)
}

// primary has so many more requests of the primary fail.
func (w weighed) primary(n int) weighed {
	share := shareOf(-n, w.seen().Primary)
	return w.changed(func(p sequential.Pair) sequential.Pair {
		return sequential.Pair{Canary: p.Canary, Primary: fewer(p.Primary, share)}
	}, same)
}

// quicker has so many requests of the canary be less slow, of the bound with an index, and as many of a hundred of the
// others.
func (w weighed) quicker(n, bound int) weighed {
	share := shareOf(n, w.warm(bound))
	return w.changed(same, func(p sequential.Pair) sequential.Pair {
		return sequential.Pair{Canary: fewer(p.Canary, share), Primary: p.Primary}
	})
}

// shareOf is what share of the bad requests so many fewer are; below 0, of the good ones so many more.
func shareOf(n int, all sequential.Counts) float64 {
	switch {
	case n < 0:
		return float64(n) / (all.Requests - all.Bad)
	case n > 0:
		return float64(n) / all.Bad
	}
	return 0
}

func (w weighed) seen() (sum sequential.Pair) {
	for _, c := range w.Cells {
		sum = sum.Plus(c.Pair)
	}
	return sum
}

// warm is what the canary has counted of a bound since durations count.
func (w weighed) warm(bound int) sequential.Counts { return w.weigh().Bounds[bound].Seen.Canary }

// least is the smallest number of requests, up to a most, with which something holds that does not hold as it is: with
// one less it does not.
func least(most float64, holds func(int) bool) (int, bool) {
	limit := int(min(most, mostChanged))
	if holds(0) {
		return 0, false
	}
	low, high := 0, min(1, limit) // with the lower it does not hold
	for low < high && !holds(high) {
		low, high = high, min(2*high, limit)
	}
	if low == high {
		return 0, false
	}
	for low+1 < high {
		if middle := (low + high) / 2; holds(middle) {
			high = middle
		} else {
			low = middle
		}
	}
	return high, true
}

// convicted says whether the pots alone do.
func (w weighed) convicted() bool {
	f := w.weigh()
	return f.BlameMax >= 1/w.rules.Alpha || f.Latency != nil && f.Latency.BlameMax >= 1/w.rules.Alpha
}

func (w weighed) worse() (all []Otherwise) {
	limit := short(1 / w.rules.Alpha)
	below := func(x weighed) bool { return x.weigh().BlameMax < 1/w.rules.Alpha }
	if n, ok := least(w.seen().Canary.Bad, func(n int) bool { return below(w.canary(n)) }); ok {
		all = append(all, Otherwise{canaryFailed, -float64(n), fmt.Sprintf("with %s of the canary that failed fewer, "+
			"blame would have stayed below %s", requests(n), limit)})
	}
	good := w.seen().Primary
	if n, ok := least(good.Requests-good.Bad, func(n int) bool { return below(w.primary(n)) }); ok {
		all = append(all, Otherwise{primaryFailed, float64(n), fmt.Sprintf("with %s of the primary that failed more, "+
			"blame would have stayed below %s", requests(n), limit)})
	}
	return all
}

func (w weighed) slower() []Otherwise {
	f, most := w.weigh(), 0
	for i, b := range f.Bounds {
		if b.Blame() > f.Bounds[most].Blame() {
			most = i
		}
	}
	n, ok := least(w.warm(most).Bad, func(n int) bool {
		return w.quicker(n, most).weigh().Latency.BlameMax < 1/w.rules.Alpha
	})
	if !ok {
		return nil
	}
	return []Otherwise{{canarySlow, -float64(n), fmt.Sprintf("with %s of the canary that took over %s ms fewer, and "+
		"as large a part fewer over each other bound, blame would have stayed below %s", requests(n),
		short(w.Bounds[most].Le), short(1/w.rules.Alpha))}}
}

// passed tells how far a pass was from none, and from a conviction.
func (w weighed) passed() (all []Otherwise) {
	good := w.seen().Canary
	if d, _ := w.decide(); d != verdict.Pass {
		return nil
	}
	if n, ok := least(good.Requests-good.Bad, func(n int) bool {
		d, _ := w.canary(-n).decide()
		return d != verdict.Pass
	}); ok {
		all = append(all, Otherwise{canaryFailed, float64(n),
			fmt.Sprintf("with %s of the canary that failed more, the stage would not have passed then", requests(n))})
	}
	if n, ok := least(good.Requests-good.Bad, func(n int) bool { return w.canary(-n).convicted() }); ok {
		all = append(all, Otherwise{canaryFailed, float64(n),
			fmt.Sprintf("with %s of the canary that failed more, it would have been taken back", requests(n))})
	}
	return all
}

// suspect tells how far the stage was from either verdict.
func (w weighed) suspect() (all []Otherwise) {
	calm := func(x weighed) bool { return x.weigh().Blame <= 1 }
	if !calm(w) {
		if n, ok := least(w.seen().Canary.Bad, func(n int) bool { return calm(w.canary(n)) }); ok {
			all = append(all, Otherwise{canaryFailed, -float64(n), fmt.Sprintf("with %s of the canary that failed "+
				"fewer, nothing in the errors would have spoken against it", requests(n))})
		}
		good := w.seen().Canary
		if n, ok := least(good.Requests-good.Bad, func(n int) bool { return w.canary(-n).convicted() }); ok {
			all = append(all, Otherwise{canaryFailed, float64(n),
				fmt.Sprintf("with %s of the canary that failed more, it would have been taken back", requests(n))})
		}
	}
	return append(all, w.longer()...)
}

// longer tells how much more time a verdict would have taken, if requests had gone on as they were in the stage.
func (w weighed) longer() []Otherwise {
	rules := w.rules
	w.rules.Deadline = math.MaxInt64
	pair, slow, cells := w.inStage()
	if cells == 0 {
		return nil
	}
	w = w.changed(same, same) // a copy, which grows
	var weigher sequential.Weigher
	for n := 1; n <= mostLonger; n++ {
		w.Until += w.Grid
		w.add(sequential.Cell{Pair: pair, Length: w.Grid, Known: w.Until}, slow)
		decision, _ := w.rules.Decide(w.standing(weigher.Weigh(w.Evidence, w.rules)))
		if decision == verdict.Wait {
			continue
		}
		more := time.Duration(n) * w.Grid
		text := fmt.Sprintf("after about %s more at this rate it would have passed", more)
		if decision == verdict.Fail {
			text = fmt.Sprintf("after about %s more at this rate it would have been taken back", more)
		}
		if since := w.Until - w.Stages[len(w.Stages)-1].At; since > rules.Deadline {
			text += fmt.Sprintf(": beyond the deadline of %s", rules.Deadline)
		}
		return []Otherwise{{moreTime, more.Seconds(), text}}
	}
	return nil
}

// inStage is what an interval of the last stage has counted on average.
func (w weighed) inStage() (mean sequential.Pair, slow []sequential.Pair, cells int) {
	slow = make([]sequential.Pair, len(w.Slow))
	begin, length := time.Duration(0), time.Duration(0)
	for k, c := range w.Cells {
		if begin >= w.Stages[len(w.Stages)-1].At {
			cells, length, mean = cells+1, length+c.Length, mean.Plus(c.Pair)
			for i := range slow {
				slow[i] = slow[i].Plus(w.Slow[i][k])
			}
		}
		begin += c.Length
	}
	if cells == 0 {
		return mean, slow, 0
	}
	part := w.Grid.Seconds() / length.Seconds()
	for i := range slow {
		slow[i] = times(slow[i], part)
	}
	return times(mean, part), slow, cells
}

func times(p sequential.Pair, factor float64) sequential.Pair {
	of := func(c sequential.Counts) sequential.Counts {
		return sequential.Counts{Requests: c.Requests * factor, Bad: c.Bad * factor}
	}
	return sequential.Pair{Canary: of(p.Canary), Primary: of(p.Primary)}
}

// held tells how many of the primary's requests may have failed in the last minute.
func (w weighed) held() []Otherwise {
	f := w.weigh()
	allowed := sequential.HoldLimit(f.Errors.Before) * f.Recent.Requests
	n := math.Ceil(f.Recent.Bad - allowed)
	if n <= 0 {
		return nil
	}
	return []Otherwise{{primaryFailed, -n, fmt.Sprintf("with %s of the primary that failed fewer in the last minute, "+
		"it would not have held the stage up", requests(int(n)))}}
}

// hardly tells how many of the canary's requests had to succeed for no hard failure.
func hardly(h verdict.Hard) []Otherwise {
	pair := sequential.Pair{Canary: counts(h.Canary), Primary: counts(h.Primary)}
	var all []Otherwise
	if n, ok := least(pair.Canary.Bad, func(n int) bool {
		p := pair
		p.Canary.Bad -= float64(n)
		return !sequential.Hard(p)
	}); ok {
		all = append(all, Otherwise{canaryFailed, -float64(n), fmt.Sprintf("with %s of the canary that failed fewer "+
			"in that interval, it would have been no hard failure: the pots would have gone on", requests(n))})
	}
	if n, ok := least(pair.Primary.Requests-pair.Primary.Bad, func(n int) bool {
		p := pair
		p.Primary.Bad += float64(n)
		return !sequential.Hard(p)
	}); ok {
		all = append(all, Otherwise{primaryFailed, float64(n), fmt.Sprintf("with %s of the primary that failed more "+
			"in that interval, neither", requests(n))})
	}
	return all
}

// limited tells how many of the canary's requests a limit allows.
func limited(limits []verdict.Limit) (all []Otherwise) {
	for _, l := range limits {
		allowed := math.Floor(l.Most * l.Canary[1])
		if n := math.Ceil(l.Canary[0] - allowed); n > 0 && l.Primary[0] <= l.Most*l.Primary[1] {
			what, kind := "failed", canaryFailed
			if l.LeMs != nil {
				what, kind = fmt.Sprintf("took over %s ms", short(*l.LeMs)), canarySlow
			}
			all = append(all, Otherwise{kind, -n, fmt.Sprintf("with %s of the canary that %s fewer, it would have "+
				"been within the limit", requests(int(n)), what)})
		}
	}
	return all
}

// unshifted tells which shares of the requests would have obeyed a weight.
func unshifted(v verdict.Verdict) []Otherwise {
	low, high := sequential.Shares(float64(v.Stage.Weight) / 100)
	bound := low
	if *v.Share.Seen > 100*low {
		bound = high
	}
	return []Otherwise{{shareSeen, 100*bound - *v.Share.Seen, fmt.Sprintf("with %s to %s of the requests, instead of "+
		"%s %%, the canary would have had its share", percent(low), percent(high), short(*v.Share.Seen))}}
}

func requests(n int) string {
	if n == 1 {
		return "1 request"
	}
	return fmt.Sprintf("%d requests", n)
}
