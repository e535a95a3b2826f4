package simulation

import (
	"math"
	"math/rand/v2"
)

// tally is what an arm has done.
type tally struct {
	requests, bad float64
	cells         []float64 // requests by duration
}

func (t tally) minus(before tally) tally {
	since := tally{requests: t.requests - before.requests, bad: t.bad - before.bad}
	for i, n := range t.cells {
		since.cells = append(since.cells, n-before.cells[i])
	}
	return since
}

func (t tally) copied() tally {
	t.cells = append([]float64(nil), t.cells...)
	return t
}

// life is one run of a world.
type life struct {
	*place
	random *rand.Rand
	factor float64     // on the canary's error rate
	phase  float64     // seconds by which error rates begin earlier
	now    int         // seconds after the start
	share  float64     // of the requests that reach the canary
	next   float64     // the share that is set
	felt   int         // second in which the next share is felt
	raised int         // second in which the present share was first felt
	done   [arms]tally // since the start

	watched bool // proxies are scraped
	proxies []*proxy
	counted [arms][]*proxy // which proxies count an arm
	newest  int            // name of the newest proxy
}

// live begins a run at its start, without what was before.
func (p *place) live(r *rand.Rand) *life {
	p.store.clear()
	l := &life{place: p, random: r, factor: 1}
	if p.spread > 0 {
		l.factor = math.Exp(p.spread * r.NormFloat64())
	}
	if p.adrift {
		l.phase = float64(r.IntN(60))
	}
	if p.durations != nil {
		for arm := range l.done {
			l.done[arm].cells = make([]float64, len(p.durations.bounds)+1)
		}
	}
	l.begin()
	return l
}

// remember lets the time pass in which the judge looks for what is usual.
func (l *life) remember() {
	l.watched = true
	l.now = -historySeconds - lookbackSeconds - l.scrapes.every
	for l.now < 0 {
		l.pass()
	}
}

// raise sets a weight in percent; the first is felt at once.
func (l *life) raise(weight float64) {
	l.next, l.felt = weight/100, l.now
	if l.share > 0 {
		l.felt += feltSeconds
	}
}

// passes lets some seconds pass.
func (l *life) passes(seconds int) {
	for range seconds {
		l.pass()
	}
}

// pass lets a second pass.
func (l *life) pass() {
	if l.next != l.share && l.now >= l.felt {
		l.share, l.raised = l.next, l.felt
	}
	m := moment{second: float64(l.now), raised: float64(l.now - l.raised)}
	l.now++
	l.come()
	for arm, share := range [arms]float64{l.share, 1 - l.share} {
		if expected := l.rps * share; expected > 0 {
			l.serve(arm, expected, m)
		}
	}
	if l.clumps.every > 0 {
		for range int(poisson(l.random, 1/l.clumps.every)) {
			l.burst(m)
		}
	}
	if l.watched {
		l.scrape()
	}
}

// serve has an arm serve so many requests, all proxies that count it alike.
func (l *life) serve(arm int, expected float64, m moment) {
	bad := l.bad[arm](m.second + l.phase)
	if arm == canary {
		bad = min(bad*l.factor, 1)
	}
	mix := l.mixtureAt(arm, m)
	expected /= float64(len(l.counted[arm]))
	for _, p := range l.counted[arm] {
		l.happen(p, arm, good, expected*(1-bad), mix)
		l.happen(p, arm, failing, expected*bad, mix)
	}
}

func (l *life) mixtureAt(arm int, m moment) *mixture {
	switch {
	case l.durations == nil:
		return nil
	case m.second < 0:
		return l.durations.usual
	}
	return l.durations.at[arm](m)
}

// few requests are given durations one by one.
const few = 20

// happen draws requests where so many are expected.
func (l *life) happen(p *proxy, arm, code int, expected float64, mix *mixture) {
	if mix == nil || expected < few {
		l.add(p, arm, code, poisson(l.random, expected), mix)
		return
	}
	all := 0.0
	for cell, share := range mix.shares {
		n := poisson(l.random, expected*share)
		p.counters[arm][code].cells[cell] += n
		if l.now > 0 {
			l.done[arm].cells[cell] += n
		}
		all += n
	}
	l.add(p, arm, code, all, nil)
}

// add counts requests, and how long each took if that is not known yet.
func (l *life) add(p *proxy, arm, code int, n float64, mix *mixture) {
	counter := &p.counters[arm][code]
	counter.requests += n
	if l.now > 0 {
		l.done[arm].requests += n
		if code == failing {
			l.done[arm].bad += n
		}
	}
	if mix == nil {
		return
	}
	for range int(n) {
		cell := mix.cell(l.random.Float64())
		counter.cells[cell]++
		if l.now > 0 {
			l.done[arm].cells[cell]++
		}
	}
}

// burst has errors come at once.
func (l *life) burst(m moment) {
	var n [arms]float64
	if l.clumps.apart {
		n[canary] = binomial(l.random, clump, l.share)
	} else if l.random.Float64() < l.share {
		n[canary] = clump
	}
	n[primary] = clump - n[canary]
	for arm, n := range n {
		of := l.counted[arm]
		l.add(of[l.random.IntN(len(of))], arm, failing, n, l.mixtureAt(arm, m))
	}
}

// failed is how many of the canary's requests failed, or were slow.
func (l *life) failed() float64 {
	if !l.slow {
		return l.done[canary].bad
	}
	n := 0.0
	for _, beyond := range l.done[canary].cells[l.durations.slow:] {
		n += beyond
	}
	return n
}
