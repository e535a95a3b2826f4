package simulation

import (
	"slices"

	"github.com/prometheus/common/model"
)

// What a request comes to.
const (
	good = iota
	failing
	codes
)

// counter is one that a proxy keeps in its memory.
type counter struct {
	requests float64
	cells    []float64 // by duration
}

// proxy counts requests, as long as it lives.
type proxy struct {
	name     int
	counts   [arms]bool
	counters [arms][codes]counter
	eyes     []eye
}

// eye is how one replica of Prometheus sees a proxy.
type eye struct {
	offset int       // seconds
	milli  int       // milliseconds that a scrape takes
	turn   int       // scrapes so far
	first  [arms]int // its series in the store
}

// begin starts the proxies that live before the rollout does.
func (l *life) begin() {
	if !l.scrapes.called {
		l.start(canary, primary)
		return
	}
	for range max(l.scrapes.pods, 1) {
		l.start(canary)
		l.start(primary)
	}
}

// start has a proxy count some arms.
func (l *life) start(which ...int) {
	p := &proxy{name: l.newest}
	l.newest++
	for _, arm := range which {
		p.counts[arm] = true
		l.counted[arm] = append(l.counted[arm], p)
		if l.durations != nil {
			for code := range p.counters[arm] {
				p.counters[arm][code].cells = make([]float64, len(l.durations.bounds)+1)
			}
		}
	}
	for replica := range l.scrapes.replicas {
		e := eye{offset: l.scrapes.offset[which[0]]}
		if !l.scrapes.fixed {
			e.offset, e.milli = l.random.IntN(l.scrapes.every), l.random.IntN(1000)
		}
		for _, arm := range which {
			e.first[arm] = l.store.seriesOf(p.name, arm, replica)
		}
		p.eyes = append(p.eyes, e)
	}
	l.proxies = append(l.proxies, p)
}

// come has pods give way to others, and proxies restart, when their time has come.
func (l *life) come() {
	if n := l.scrapes.churn; n > 0 && l.now%n == 0 {
		for arm := range l.counted {
			l.end(l.counted[arm][0])
			l.start(arm)
		}
	}
	if n := l.scrapes.restarts; n > 0 && l.now%n == 0 {
		l.restart(l.proxies[l.random.IntN(len(l.proxies))])
	}
}

func (l *life) end(p *proxy) {
	is := func(other *proxy) bool { return other == p }
	l.proxies = slices.DeleteFunc(l.proxies, is)
	for arm := range l.counted {
		l.counted[arm] = slices.DeleteFunc(l.counted[arm], is)
	}
}

// restart has a proxy forget what it counted.
func (l *life) restart(p *proxy) {
	for arm := range p.counters {
		for code := range p.counters[arm] {
			p.counters[arm][code].requests = 0
			clear(p.counters[arm][code].cells)
		}
	}
}

// scrape reads the proxies whose time it is.
func (l *life) scrape() {
	for _, p := range l.proxies {
		for i := range p.eyes {
			e := &p.eyes[i]
			if (l.now-e.offset)%l.scrapes.every != 0 {
				continue
			}
			e.turn++
			if !l.loses(p, e) {
				l.read(p, e)
			}
		}
	}
}

// loses says whether a scrape does not arrive.
func (l *life) loses(p *proxy, e *eye) bool {
	for arm, kept := range l.scrapes.kept {
		if l.now > 0 && p.counts[arm] && kept > 1 && e.turn%kept != 0 {
			return true
		}
	}
	return l.scrapes.lost > 0 && l.random.Float64() < l.scrapes.lost
}

// read stores what a proxy shows: a series of each response code that it has met since it started.
func (l *life) read(p *proxy, e *eye) {
	at := l.store.epoch + model.Time(1000*l.now+e.milli)
	for arm, counts := range p.counts {
		if !counts {
			continue
		}
		next := e.first[arm]
		for code := range p.counters[arm] {
			c := &p.counters[arm][code]
			if c.requests > 0 {
				l.store.append(next, at, c.requests)
				l.readCells(c, arm, next+1, at)
			}
			next += 1 + l.store.buckets(arm)
		}
	}
}

func (l *life) readCells(c *counter, arm, next int, at model.Time) {
	if l.durations == nil {
		return
	}
	sum, cell := 0.0, 0
	for _, bound := range l.durations.told[arm] {
		for ; cell <= bound; cell++ {
			sum += c.cells[cell]
		}
		l.store.append(next, at, sum)
		next++
	}
	l.store.append(next, at, c.requests)
}
