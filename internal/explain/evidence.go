package explain

import (
	"fmt"
	"math"
	"time"

	"github.com/serin-cd/serin/pkg/judge/sequential"
	"github.com/serin-cd/serin/pkg/judge/verdict"
)

// weighed is the evidence of a verdict, as its report has it, ready to be weighed again.
type weighed struct {
	sequential.Evidence
	rules sequential.Rules
	start time.Time
}

// accuracy is how far evidence that is weighed again may be from what the report says, as a share of it.
const accuracy = 1e-6

// evidenceOf rebuilds what a verdict rests on. It is an error if the report lacks a part, or if weighing it again does
// not lead to the report's own numbers.
func evidenceOf(v verdict.Verdict) (weighed, error) {
	switch {
	case v.Weighed == nil || len(v.Stages) == 0 || len(v.Metrics) == 0:
		return weighed{}, fmt.Errorf("the report has no intervals")
	case len(v.Cells) < v.Grid.Cells:
		return weighed{}, fmt.Errorf("the report has the last %d of %d intervals", len(v.Cells), v.Grid.Cells)
	case v.Rules == verdict.Rules{}:
		return weighed{}, fmt.Errorf("the report is of a version that did not keep the judge's rules")
	}
	w := weighed{start: v.Stages[0].At, rules: rulesOf(v)}
	w.Evidence = sequential.Evidence{
		Until: v.At.Sub(w.start), Grid: seconds(v.Grid.Seconds), Together: v.Rules.Together, Basis: basisOf(v),
		History: counts(v.Metrics[0].History),
	}
	for _, s := range v.Stages {
		w.Stages = append(w.Stages, sequential.Stage{At: s.At.Sub(w.start), Weight: float64(s.Weight) / 100})
	}
	for _, m := range v.Metrics[1:] {
		w.Bounds = append(w.Bounds, sequential.Bound{Le: *m.LeMs, History: counts(m.History)})
	}
	w.cells(v)
	return w, w.check(v)
}

func seconds(s float64) time.Duration { return time.Duration(math.Round(s * float64(time.Second))) }

func counts(r verdict.Ratio) sequential.Counts { return sequential.Counts{Requests: r[1], Bad: r[0]} }

func rulesOf(v verdict.Verdict) sequential.Rules {
	return sequential.Rules{
		Gate: sequential.Gate(v.Stage.Gate), MinDwell: seconds(v.Rules.MinDwell), TimeBox: seconds(v.Rules.TimeBox),
		Deadline: seconds(v.Stage.Deadline), Alpha: 1 / v.Metrics[0].BlameLimit, Beta: 1 / v.Metrics[0].AcquitLimit,
	}
}

func basisOf(v verdict.Verdict) sequential.Basis {
	errors := v.Metrics[0]
	b := sequential.Basis{
		Rule:   sequential.Rule{Tolerance: errors.Tolerance, Margin: errors.Margin},
		Design: v.History.Clumps, Clumps: v.Rules.SlowClumps, Alpha: 1 / errors.BlameLimit,
		WarmUp: seconds(v.Rules.WarmUp), Warm: seconds(v.Rules.LongestWarmUp),
	}
	for _, l := range v.Limits {
		if l.LeMs == nil {
			b.Most = l.Most
		}
	}
	return b
}

// cells takes over the intervals. What was counted since the last one had closed is not in the report.
func (w *weighed) cells(v verdict.Verdict) {
	w.Slow = make([][]sequential.Pair, len(w.Bounds))
	last := 0.0
	for _, c := range v.Cells {
		cell := sequential.Cell{Length: seconds(c.End) - seconds(last), Known: seconds(c.Known),
			Pair: sequential.Pair{Canary: counts(c.Canary), Primary: counts(c.Primary)}}
		last = c.End
		slow := make([]sequential.Pair, len(w.Bounds))
		for i := range slow {
			if c.Latency != nil && i < len(c.Latency.Canary) {
				slow[i] = sequential.Pair{Canary: counts(c.Latency.Canary[i]), Primary: counts(c.Latency.Primary[i])}
			}
		}
		w.add(cell, slow)
	}
}

// add adds an interval, whose requests are taken to have come at its end.
func (w *weighed) add(cell sequential.Cell, slow []sequential.Pair) {
	end := cell.Length
	if n := len(w.Instants); n > 0 {
		end += w.Instants[n-1].At
	}
	w.Cells = append(w.Cells, cell)
	w.Instants = append(w.Instants, sequential.Instant{At: end, Sampled: true, Pair: cell.Pair})
	for i := range w.Slow {
		w.Slow[i] = append(w.Slow[i], slow[i])
	}
}

// check weighs again, and compares that with the report.
func (w weighed) check(v verdict.Verdict) error {
	found := w.weigh()
	for i, m := range append([]sequential.Judged{found.Errors}, found.Bounds...) {
		want := v.Metrics[i]
		if far(m.Blame(), want.Blame) || far(m.Acquit(), want.Acquit) || far(m.BlameMax(), want.BlameMax) {
			return fmt.Errorf("weighed again, the report's intervals lead to a blame of %s and an acquit of %s, "+
				"not to %s and %s as it says", short(m.Blame()), short(m.Acquit()), short(want.Blame),
				short(want.Acquit))
		}
	}
	return nil
}

func far(a, b float64) bool { return math.Abs(a-b) > accuracy*max(math.Abs(a), math.Abs(b)) }

func (w weighed) weigh() sequential.Findings { return sequential.Weigh(w.Evidence, w.rules) }

// decide is what the evidence amounts to. Whether the canary fails hard, keeps silent or gets its share is not asked:
// that is told by requests one by one, which the report does not have.
func (w weighed) decide() (verdict.Decision, string) { return w.rules.Decide(w.standing(w.weigh())) }

func (w weighed) standing(f sequential.Findings) sequential.Standing {
	s := f.Standing
	s.Hard, s.Silent, s.Obeyed = false, false, true
	return s
}

// upTo is the evidence as the judge had it at a time, when the stage of an index was judged.
func (w weighed) upTo(at time.Time, stage int) weighed {
	until := at.Sub(w.start)
	cut := weighed{Evidence: w.Evidence, rules: w.rules, start: w.start}
	cut.Until, cut.Stages = until, w.Stages[:stage+1]
	n := 0
	for n < len(w.Cells) && w.Cells[n].Known <= until {
		n++
	}
	cut.Cells, cut.Instants, cut.Slow = w.Cells[:n], w.Instants[:n], nil
	for _, s := range w.Slow {
		cut.Slow = append(cut.Slow, s[:n])
	}
	return cut
}
