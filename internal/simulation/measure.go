package simulation

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
)

// measured is what many runs of a world came to.
type measured struct {
	runs    int
	shares  [3]float64 // percent, by outcome
	second  [3]float64 // medians
	failed  float64
	reasons map[string]int // of the inconclusive ones
	first   float64        // second of the first promotion
}

// measure plays as many rollouts; each has a seed of its own, so that the figures are always the same.
func measure(w World, runs int, seed uint64, play func(*life) end) measured {
	ends := make([]end, runs)
	var group sync.WaitGroup
	workers := runtime.GOMAXPROCS(0)
	for worker := range workers {
		group.Go(func() {
			for i := worker; i < runs; i += workers {
				ends[i] = play(w.live(rand.New(rand.NewPCG(seed, uint64(i)))))
			}
		})
	}
	group.Wait()
	return summed(ends)
}

func summed(ends []end) measured {
	m := measured{runs: len(ends), reasons: map[string]int{}, first: math.Inf(1)}
	var seconds [3][]float64
	var failed []float64
	for _, e := range ends {
		seconds[e.outcome] = append(seconds[e.outcome], e.second)
		switch e.outcome {
		case rolledBack:
			failed = append(failed, e.failed)
		case inconclusive:
			m.reasons[e.reason]++
		case promoted:
			m.first = min(m.first, e.second)
		}
	}
	for o, s := range seconds {
		m.shares[o] = 100 * float64(len(s)) / float64(len(ends))
		m.second[o] = median(s)
	}
	m.failed = median(failed)
	return m
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	return values[len(values)/2]
}

// luck is how much a share, in percent, may differ by chance, and half a point more.
func (m measured) luck(percent float64) float64 {
	p := percent / 100
	return 100*3*math.Sqrt(p*(1-p)/float64(m.runs)) + 0.5
}

// misses says in what a row is worse than required.
func (r row) misses(m measured) []string {
	var list []string
	miss := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	most := func(what string, got, want float64) {
		if got > want+m.luck(want) {
			miss("%s %.2f %%, want at most %.2f %%", what, got, want)
		}
	}
	least := func(what string, got, want float64) {
		if got < want-m.luck(want) {
			miss("%s %.2f %%, want at least %.2f %%", what, got, want)
		}
	}
	switch r.kind {
	case bad:
		least("taken back", m.shares[rolledBack], r.want.rolledBack)
		most("promoted", m.shares[promoted], r.want.promoted)
	case healthy, limit:
		most("taken back", m.shares[rolledBack], r.want.rolledBack)
		least("promoted", m.shares[promoted], r.want.promoted)
	case neither:
		most("taken back", m.shares[rolledBack], r.want.rolledBack)
		most("promoted", m.shares[promoted], r.want.promoted)
	}
	if r.kind == healthy && m.shares[rolledBack] > 1 {
		miss("taken back %.2f %%, want at most 1 %% whatever the noise", m.shares[rolledBack])
	}
	r.missesBeside(m, miss)
	return list
}

// missesBeside are those beside the shares.
func (r row) missesBeside(m measured, miss func(format string, args ...any)) {
	end := promoted
	if r.kind == bad {
		end = rolledBack
	}
	interval := float64(r.world.read * binSeconds)
	if r.want.second > 0 && (m.second[end] > r.want.second+interval || m.shares[end] == 0) {
		miss("median %v s, want at most %v s", m.second[end], r.want.second)
	}
	if r.want.failed > 0 && m.failed > 1.15*r.want.failed+2 {
		miss("median of %v failed requests, want at most %v", m.failed, r.want.failed)
	}
	named := 100 * float64(m.reasons[r.want.reason]) / float64(m.runs)
	if r.want.reason != "" && named < 0.9*m.shares[inconclusive] {
		miss("reasons %v, want %s in nine of ten", m.reasons, r.want.reason)
	}
	if m.first <= r.want.notBefore {
		miss("promoted after %v s, want none before %v s", m.first, r.want.notBefore)
	}
}
