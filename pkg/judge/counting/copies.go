package counting

import (
	"cmp"
	"slices"
	"sort"

	"github.com/prometheus/common/model"
)

// counter is what a series counted inside a window, added up.
type counter struct {
	*series
	times []model.Time
	sums  []float64
	lead  []model.Time // the scrapes of the replica that leads at its proxy, nil where it is of that
}

func (a *answer) counter(s *series) counter {
	c := counter{series: s}
	if lead := a.leads[s.proxy]; lead.replica != s.replica {
		c.lead = lead.times
	}
	sum := 0.0
	a.increments(s, func(at model.Time, n float64) {
		sum += n
		c.times, c.sums = append(c.times, at), append(c.sums, sum)
	})
	return c
}

// upTo is what was counted up to a time.
func (c counter) upTo(at model.Time) float64 {
	if i := sort.Search(len(c.times), func(i int) bool { return c.times[i] > at }); i > 0 {
		return c.sums[i-1]
	}
	return 0
}

// last is the time of the last sample up to a time.
func (c counter) last(upTo model.Time) model.Time {
	i := sort.Search(len(c.samples), func(i int) bool { return c.samples[i].Timestamp > upTo })
	return c.samples[max(i-1, 0)].Timestamp
}

// value is that of the last sample up to a time, which there must be.
func (c counter) value(at model.Time) float64 {
	i := sort.Search(len(c.samples), func(i int) bool { return c.samples[i].Timestamp > at })
	return float64(c.samples[max(i-1, 0)].Value)
}

// lead is the replica that met a proxy first. What another one meets before it, such as the first error, is counted at
// its scrapes, as is all else that the proxy counts.
type lead struct {
	replica string
	times   []model.Time
}

// findLeads finds those of proxies that are scraped by several.
func (a *answer) findLeads() {
	first := map[string]*series{}
	several := map[string]bool{}
	for _, s := range a.list {
		known := first[s.proxy]
		several[s.proxy] = several[s.proxy] || known != nil && known.replica != s.replica
		if known == nil || s.first() < known.first() {
			first[s.proxy] = s
		}
	}
	a.leads = map[string]lead{}
	for _, s := range a.list {
		if !several[s.proxy] || first[s.proxy].replica != s.replica {
			continue
		}
		l := a.leads[s.proxy]
		l.replica, l.times = s.replica, append(l.times, s.blank...)
		for _, sample := range s.samples {
			l.times = append(l.times, sample.Timestamp)
		}
		a.leads[s.proxy] = l
	}
	for proxy, l := range a.leads {
		slices.Sort(l.times)
		a.leads[proxy] = lead{l.replica, slices.Compact(l.times)}
	}
}

// told is the time up to which a series counts, of a time, as far as is known at another: that of the last scrape of
// the lead, unless it is overdue.
func (c counter) told(end, asOf, grid model.Time) model.Time {
	known := sort.Search(len(c.lead), func(i int) bool { return c.lead[i] > asOf })
	if known == 0 || asOf-c.lead[known-1] > grid+grid/2 {
		return end
	}
	i := sort.Search(known, func(i int) bool { return c.lead[i] > end })
	return c.lead[max(i-1, 0)]
}

// counted is when a sample counts, as far as is known at a time: with the next scrape of the lead, unless that is
// overdue.
func (c counter) counted(at, asOf, grid model.Time) model.Time {
	i := sort.Search(len(c.lead), func(i int) bool { return c.lead[i] >= at })
	switch {
	case i < len(c.lead):
		return c.lead[i]
	case i == 0 || asOf-c.lead[i-1] > grid+grid/2:
		return at
	}
	return never
}

// copies are series of which some count what another counts, such as those of a pair of Prometheus, in the order in
// which they began.
type copies []counter

// group tells series that may count the same requests from the others.
func (a *answer) group() {
	groups := map[string][]*series{}
	for _, s := range a.list {
		groups[s.same] = append(groups[s.same], s)
	}
	for _, s := range a.list {
		group := groups[s.same]
		delete(groups, s.same)
		switch len(group) {
		case 0: // done with its first
			continue
		case 1:
			if lead, several := a.leads[s.proxy]; !several || lead.replica == s.replica {
				a.single = append(a.single, s)
				continue
			}
		}
		slices.SortStableFunc(group, func(a, b *series) int { return cmp.Compare(a.first(), b.first()) })
		a.copied = append(a.copied, group)
	}
}

// counters are those of series that may count the same requests.
func (a *answer) counters(group []*series) copies {
	var all copies
	for _, s := range group {
		all = append(all, a.counter(s))
	}
	return all
}

// role is what one of copies is, as far as is known at a time.
type role struct {
	of      int  // which one it copies, its own index for none
	overlap bool // that one was seen after this one began; else it is only late, and may be
	alone   bool // that one is overdue: this one goes on in its place
	from    model.Time
}

// roles tells who copies whom, as far as is known at a time: of two that overlap the one that began earlier counts.
// Until the older one's next sample is overdue by half an interval, a newborn one is taken for its copy.
func (c copies) roles(asOf model.Time, grid model.Time) []role {
	var all []role
	for i, s := range c {
		if s.first() > asOf {
			break
		}
		r := role{of: i}
		for j, older := range c[:i] {
			if all[j].of != j {
				continue
			}
			last := older.last(asOf)
			late := asOf-last > grid+grid/2
			if overlap := older.seenFrom(s.first()) <= asOf; overlap || !late {
				r = role{of: j, overlap: overlap, alone: overlap && late, from: last}
				break
			}
		}
		all = append(all, r)
	}
	return all
}

// upTo is what all of them counted up to a time, each request once, as far as is known at another.
func (c copies) upTo(end, asOf, grid model.Time) float64 {
	totals := make([]float64, len(c))
	for i, r := range c.roles(asOf, grid) {
		own := c[i].upTo(end)
		switch {
		case r.of == i:
			totals[i] = c[i].upTo(c[i].told(end, asOf, grid))
		case r.alone:
			totals[r.of] = max(totals[r.of], c[r.of].upTo(end)+max(0, own-c[i].upTo(r.from)))
		case !r.overlap && c[i].first() <= end:
			ahead := max(0, c[i].value(end)-c[r.of].value(end))
			totals[r.of] = max(totals[r.of], c[r.of].upTo(end)+ahead)
		}
	}
	sum := 0.0
	for _, n := range totals {
		sum += n
	}
	return sum
}

// cells gives each cell of a layout what was counted in it. What is known of copies is what was known when the cell
// closed; nothing is counted again that an earlier cell has.
func (a *answer) cells(c copies, l Layout, each func(cell int, n float64)) {
	grid, start, counted := model.Time(a.Grid.Milliseconds()), moment(a.Start), 0.0
	for i, cell := range l.cells {
		end := start + model.Time(cell.last+1)*grid
		asOf := moment(a.Start.Add(cell.closed))
		if l.early && i == len(l.cells)-1 {
			asOf = moment(a.End)
		}
		if now := c.upTo(end, asOf, grid); now > counted {
			each(i, now-counted)
			counted = now
		}
	}
}

// instants gives each sample what was counted since the one before, as far as is known at the end of the window.
func (c copies) instants(a *answer, each func(at model.Time, n float64)) {
	asOf, grid := moment(a.End), model.Time(a.Grid.Milliseconds())
	for i, r := range c.roles(asOf, grid) {
		s := c[i]
		told, most := s.upTo, 0.0
		switch {
		case r.of == i:
		case r.alone:
			most = s.upTo(r.from)
		case !r.overlap:
			told, most = s.value, c[r.of].value(asOf)
		default:
			continue
		}
		for _, at := range s.times {
			n, when := told(at)-most, at
			if r.of == i {
				when = s.counted(at, asOf, grid)
			}
			if when <= asOf && (n > 0 || r.of == i) {
				each(when, n)
				most = told(at)
			}
		}
	}
}
