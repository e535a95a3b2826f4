package replay

import (
	"encoding/json"
	"io"
	"time"

	"github.com/serin-cd/serin/pkg/judge/sequential"
	"github.com/serin-cd/serin/pkg/report"
	"github.com/serin-cd/serin/pkg/task/parameter"
)

// Output is a result for programs, in version 1 of its form: fields may be added, and these keep name and type.
type Output struct {
	Version int            `json:"version"`
	Until   time.Time      `json:"until"`
	Run     *Ran           `json:"run,omitempty"` // absent where it is not known
	Phases  []report.Phase `json:"phases"`
	Judges  []Verdicts     `json:"judges"`
	Rows    []Row          `json:"rows"`
}

// Ran is how the run ended in fact.
type Ran struct {
	Outcome string    `json:"outcome"`
	Reason  string    `json:"reason"`
	Ended   time.Time `json:"ended,omitzero"`
}

// Verdicts of one judge.
type Verdicts struct {
	Judge    string           `json:"judge"`
	Verdict  string           `json:"verdict"`
	Reason   string           `json:"reason"` // a code
	Text     string           `json:"text"`
	At       time.Time        `json:"at"`
	After    float64          `json:"after"` // seconds after the start
	Weight   parameter.Weight `json:"weight"`
	Answered report.Ratio     `json:"canary"` // bad requests, and all, that the canary had answered by then
	Stages   []Said           `json:"stages"`
	Report   report.Report    `json:"report"` // as the step would have written it
}

// Said is the verdict of one stage.
type Said struct {
	Phase   int              `json:"phase"`
	Weight  parameter.Weight `json:"weight"`
	Verdict string           `json:"verdict"`
	Reason  string           `json:"reason"`
	At      time.Time        `json:"at"`
}

// Row is how things stood at the time when something could be known.
type Row struct {
	At         time.Time        `json:"at"`
	Weight     parameter.Weight `json:"weight"`
	Sequential *Cell            `json:"sequential,omitempty"`
	Classic    *Check           `json:"classic,omitempty"`
	Verdicts   *Pair            `json:"verdicts,omitempty"`
}

// Cell is one that has closed.
type Cell struct {
	Canary  report.Ratio `json:"canary"`
	Primary report.Ratio `json:"primary"`
	State   string       `json:"state"`
	Blame   float64      `json:"blame"`  // the most, of errors and latency
	Acquit  float64      `json:"acquit"` // the least
}

// Check is one that was done.
type Check struct {
	Outcome string `json:"outcome"`
	Failed  int    `json:"failed"` // checks so far
}

// Pair is what the judges said, in two words.
type Pair struct {
	Sequential string `json:"sequential,omitempty"`
	Classic    string `json:"classic,omitempty"`
}

// JSON writes a result for programs.
func (r Result) JSON(w io.Writer) error {
	out := Output{Version: 1, Until: r.Until.UTC(), Phases: []report.Phase{}, Rows: []Row{}}
	if r.Rollout.Outcome != "" {
		out.Run = &Ran{r.Rollout.Outcome, r.Rollout.Reason, r.Rollout.Ended}
	}
	for _, p := range r.Rollout.Phases {
		out.Phases = append(out.Phases, report.Phase(p))
	}
	for i, j := range r.Judgings {
		out.Judges = append(out.Judges, r.verdicts(j, r.Answered[i]))
	}
	for _, row := range r.rows() {
		out.Rows = append(out.Rows, row.output())
	}
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(out)
}

func (r Result) verdicts(j Judging, answered sequential.Counts) Verdicts {
	v := j.last().Verdict
	all := Verdicts{
		Judge: j.Judge, Verdict: string(v.Outcome), Reason: v.Code, Text: v.Text, At: v.At.UTC(), After: v.At.Sub(r.start()).Seconds(),
		Weight: v.Weight(), Answered: ratio(answered), Report: report.New(v),
	}
	for _, s := range j.Stages {
		all.Stages = append(all.Stages, Said{s.Phase, s.Verdict.Weight(), string(s.Verdict.Outcome), s.Verdict.Code, s.Verdict.At.UTC()})
	}
	return all
}

func (r row) output() Row {
	out := Row{At: r.at.UTC(), Weight: r.weight}
	if m := r.cell; m != nil {
		out.Sequential = &Cell{ratio(m.Cell.Canary), ratio(m.Cell.Primary), r.state, blame(*m), acquit(*m)}
	}
	if c := r.check; c != nil {
		out.Classic = &Check{string(c.State), c.Failures}
	}
	if r.verdicts != [2]string{} {
		out.Verdicts = &Pair{r.verdicts[0], r.verdicts[1]}
	}
	return out
}

func ratio(c sequential.Counts) report.Ratio { return report.Ratio{c.Bad, c.Requests} }
