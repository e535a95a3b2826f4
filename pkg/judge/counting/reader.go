package counting

import (
	"cmp"
	"slices"
	"time"

	"github.com/prometheus/common/model"

	"github.com/serin-cd/serin/pkg/judge/sequential"
)

const (
	// Lookback is how far before a window the sample may lie that its first increment is counted from.
	Lookback = 5 * time.Minute
	// HistorySpan is how long before the rollout its history begins.
	HistorySpan = 10 * time.Minute

	bigBirth  = 1000 // requests that a new series may begin with, however little traffic there is
	mostRoom  = 1 << 16
	birthPeak = 10 // times the primary's busiest interval, that it may begin with
)

// The warnings.
const (
	DuplicateSeries  = "duplicate-series"
	ImplausibleBirth = "implausible-birth"
)

// Reader counts what the samples of a selection say.
type Reader struct {
	Selection     Selection
	Bad           func(model.Metric) bool
	ReplicaLabels []string // more labels in which series may differ that count the same requests
}

// Window is what is counted: after its start and up to its end, in cells.
type Window struct {
	Start, End   time.Time
	Grid, Settle time.Duration
	Busiest      float64 // requests of the primary in its busiest interval before the rollout, 0 where nobody knows
}

func (w Window) since(at model.Time) time.Duration {
	return time.Duration(int64(at)*int64(time.Millisecond) - w.Start.UnixNano())
}

// moment is the last millisecond that is not after a time.
func moment(t time.Time) model.Time { return model.TimeFromUnixNano(t.UnixNano()) }

// answer is what was read of one selector.
type answer struct {
	Window
	list     []*series
	single   []*series
	copied   [][]*series
	met      map[string]model.Time // when each proxy was first seen
	leads    map[string]lead       // of the proxies that several replicas scrape
	warnings []string
}

func (r Reader) answer(m model.Matrix, w Window) (*answer, error) {
	list, err := r.seriesOf(m, moment(w.Start.Add(-Lookback)), moment(w.End))
	if err != nil {
		return nil, err
	}
	a := &answer{Window: w, list: list, met: map[string]model.Time{}}
	if voided(list) {
		a.warn(DuplicateSeries)
	}
	a.findLeads()
	a.group()
	for _, s := range list {
		if at, ok := a.met[s.proxy]; !ok || s.first() < at {
			a.met[s.proxy] = s.first()
		}
	}
	return a, nil
}

func (a *answer) warn(warning string) {
	for _, w := range a.warnings {
		if w == warning {
			return
		}
	}
	a.warnings = append(a.warnings, warning)
}

// increments gives each sample inside the window with what was counted since the one before.
func (a *answer) increments(s *series, each func(at model.Time, n float64)) {
	start := moment(a.Start)
	first := 0
	for first < len(s.samples) && s.samples[first].Timestamp <= start {
		first++
	}
	if first == len(s.samples) {
		return
	}
	before := a.base(s, first)
	for _, sample := range s.samples[first:] {
		v := float64(sample.Value)
		n := v - before
		if n < 0 {
			n = v // the counter began anew
		}
		each(sample.Timestamp, n)
		before = v
	}
}

// base is the value that a series' first increment is counted from.
func (a *answer) base(s *series, first int) float64 {
	if first > 0 {
		return float64(s.samples[first-1].Value)
	}
	v := float64(s.samples[0].Value)
	if s.arm == primary && a.met[s.proxy] >= s.first() {
		return v // Prometheus has only just met a proxy that may be old
	}
	if a.Busiest > 0 && v > bigBirth && v > birthPeak*a.Busiest {
		a.warn(ImplausibleBirth)
		return v
	}
	return 0
}

// Counted is what both arms have counted.
type Counted struct {
	Layout
	Cells    []sequential.Cell    // the closed ones
	Early    *sequential.Cell     // the next one, in which each proxy has been read
	Instants []sequential.Instant // in order, up to the end
	Warnings []string
}

// PrimaryIn is how many requests the primary got in the first n cells of the grid, but for those that are counted
// together with a later one.
func (c Counted) PrimaryIn(n int) float64 {
	sum := 0.0
	for i, cell := range c.Cells {
		if c.cells[i].last < n {
			sum += cell.Primary.Requests
		}
	}
	return sum
}

// Latest counts requests in a window that is the end of a longer one, and lays out the cells of that, as far as the
// same samples tell.
func (r Reader) Latest(m model.Matrix, w Window, start time.Time) ([]sequential.Instant, Layout, error) {
	a, err := r.answer(m, w)
	if err != nil {
		return nil, Layout{}, err
	}
	instants := a.requests(r.Bad).Instants
	a.Start = start
	return instants, a.layout(), nil
}

// Requests counts requests.
func (r Reader) Requests(m model.Matrix, w Window) (Counted, error) {
	a, err := r.answer(m, w)
	if err != nil {
		return Counted{}, err
	}
	return a.requests(r.Bad), nil
}

func (a *answer) requests(isBad func(model.Metric) bool) Counted {
	c := Counted{Layout: a.layout()}
	cells := make([]sequential.Cell, len(c.cells))
	for i, cell := range c.cells {
		cells[i].Length, cells[i].Known = time.Duration(cell.last+1-cell.first)*a.Grid, cell.closed
	}
	instants := a.instants()
	for _, s := range a.single {
		bad, isCanary := isBad(s.metric), s.arm == canary
		a.increments(s, func(at model.Time, n float64) {
			if i := c.at(a.since(at), a.Grid); i >= 0 {
				add(&cells[i].Pair, isCanary, bad, n)
			}
			instants.add(at, isCanary, bad, n)
		})
	}
	for _, group := range a.copied {
		bad, isCanary := isBad(group[0].metric), group[0].arm == canary
		all := a.counters(group)
		a.cells(all, c.Layout, func(i int, n float64) { add(&cells[i].Pair, isCanary, bad, n) })
		all.instants(a, func(at model.Time, n float64) { instants.add(at, isCanary, bad, n) })
	}
	if c.Cells = cells; c.early {
		c.Cells, c.Early = cells[:len(cells)-1], &cells[len(cells)-1]
	}
	c.Instants, c.Warnings = instants.sorted(), a.warnings
	return c
}

func add(p *sequential.Pair, isCanary, bad bool, n float64) {
	side := &p.Primary
	if isCanary {
		side = &p.Canary
	}
	side.Requests += n
	if bad {
		side.Bad += n
	}
}

func (i *instants) add(at model.Time, isCanary, bad bool, n float64) {
	instant := i.at(at)
	instant.Sampled = instant.Sampled || isCanary
	add(&instant.Pair, isCanary, bad, n)
}

// instants finds the instant of a sample: mostly the one after that of the last sample, as all series of a
// proxy are scraped together.
type instants struct {
	window Window
	list   []sequential.Instant
	times  []model.Time
	index  map[model.Time]int
	next   int
}

// instants has room for every proxy's scrapes.
func (a *answer) instants() *instants {
	longest := 0
	for _, s := range a.list {
		longest = max(longest, len(s.samples))
	}
	room := min(longest*len(a.met), mostRoom)
	return &instants{
		window: a.Window, list: make([]sequential.Instant, 0, room),
		times: make([]model.Time, 0, room), index: make(map[model.Time]int, room),
	}
}

func (i *instants) at(at model.Time) *sequential.Instant {
	if i.next >= len(i.times) || i.times[i.next] != at {
		found, ok := i.index[at]
		if !ok {
			found = len(i.list)
			i.index[at] = found
			i.times = append(i.times, at)
			i.list = append(i.list, sequential.Instant{At: i.window.since(at)})
		}
		i.next = found
	}
	i.next++
	return &i.list[i.next-1]
}

// sorted puts the instants in order. It sorts their places, which are smaller.
func (i *instants) sorted() []sequential.Instant {
	places := make([]int32, len(i.list))
	for k := range places {
		places[k] = int32(k)
	}
	slices.SortFunc(places, func(a, b int32) int { return cmp.Compare(i.times[a], i.times[b]) })
	ordered := make([]sequential.Instant, len(places))
	for k, place := range places {
		ordered[k] = i.list[place]
	}
	return ordered
}
