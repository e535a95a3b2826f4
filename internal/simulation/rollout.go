package simulation

import (
	"time"

	"github.com/serin-cd/serin/pkg/judge/sequential"
)

// outcome is how a rollout ended.
type outcome int

const (
	promoted outcome = iota
	rolledBack
	inconclusive
)

// end is a rollout's end.
type end struct {
	outcome outcome
	reason  string
	second  float64 // of the decision
	failed  float64 // requests of the canary that failed
}

func (l *life) ended(o outcome, reason string, weight float64) end {
	second := float64(len(l.bins)) * binSeconds
	l.pass(weight)
	return end{o, reason, second, l.failed()}
}

// rules are the judge's defaults, with gate prove at the last weight.
func (w World) rules(stage int) sequential.Rules {
	r := sequential.Rules{Gate: sequential.TimeBox, MinDwell: 30 * time.Second, TimeBox: 120 * time.Second,
		Deadline: time.Duration(w.deadline) * time.Second, Alpha: 0.01, Beta: 0.05}
	if stage == len(w.weights)-1 {
		r.Gate, r.Deadline = sequential.Prove, 900*time.Second
	}
	return r
}

var errorsRule = sequential.Rule{Tolerance: 0.001, ToleranceRelative: 0.25, Margin: 0.01, MarginRelative: 0.5}

// judge plays a rollout with the sequential judge.
func (l *life) judge() end {
	history, judged := l.history()
	grid := time.Duration(l.read) * binSeconds * time.Second
	basis := sequential.Basis{Rule: errorsRule, Design: 1, WarmUp: time.Duration(l.warmUp * float64(time.Second))}
	p := sequential.NewProgress(basis, history, judged, grid)
	stage, at := 0, 0 // at is the bin when the weight was decided on
	share := l.weights[0]
	var settled sequential.Pair
	for {
		begin := len(l.bins)
		for range l.read {
			l.pass(share)
			share = l.weights[stage] // a decision is felt one bin later
		}
		cell := l.window(begin, len(l.bins))
		p.Add(cell, l.slow(judged, begin, len(l.bins)))
		if (begin-at)*binSeconds >= 30 {
			settled = settled.Plus(cell)
		}
		s := l.standing(p, cell, at, settled, stage)
		decision, reason := l.rules(stage).Decide(s)
		switch {
		case decision == sequential.Fail:
			return l.ended(rolledBack, reason, share)
		case decision == sequential.Inconclusive:
			return l.ended(inconclusive, reason, share)
		case decision == sequential.Pass && stage == len(l.weights)-1:
			return l.ended(promoted, reason, share)
		case decision == sequential.Pass:
			stage, at, settled = stage+1, len(l.bins), sequential.Pair{}
			p.NewStage()
		}
	}
}

func (l *life) standing(p *sequential.Progress, cell sequential.Pair,
	at int, settled sequential.Pair, stage int) sequential.Standing {
	s := p.Standing()
	s.Since = time.Duration(len(l.bins)-at) * binSeconds * time.Second
	s.Hard = sequential.Hard(cell)
	s.Obeyed = sequential.ShareOf(settled, l.weights[stage]).Kept
	since := l.window(at, len(l.bins))
	s.Canary, s.Primary = since.Canary.Requests, since.Primary.Requests
	if l.latency != nil { // alone
		s.Blame, s.BlameMax, s.Acquit = 0, 1, 1/0.05
	}
	return s
}

const (
	tickBins  = 12
	threshold = 5
)

// flagger plays the same rollout as Flagger judges it: each minute a look at the canary's last minute.
func (l *life) flagger() end {
	stage, failed := 0, 0
	share := l.weights[0]
	for {
		for range tickBins {
			l.pass(share)
			share = l.weights[stage]
		}
		if failed >= threshold {
			return l.ended(rolledBack, "threshold", share)
		}
		begin, end := len(l.bins)-tickBins, len(l.bins)
		minute := l.window(begin, end).Canary
		ok := minute.Requests > 0 && minute.Bad <= 0.01*minute.Requests
		if l.latency != nil {
			ok = minute.Requests > 0 && l.p99(begin, end) <= objective
		}
		switch {
		case !ok:
			failed++
		case stage == len(l.weights)-1:
			return l.ended(promoted, "healthy", share)
		default:
			stage++
		}
	}
}
