package replay

import (
	"cmp"
	"context"
	"encoding/json"
	"io"
	"math"
	"time"

	"github.com/serin-cd/serin/pkg/judge"
	"github.com/serin-cd/serin/pkg/judge/counting"
	"github.com/serin-cd/serin/pkg/judge/prometheus"
	"github.com/serin-cd/serin/pkg/judge/sequential"
	"github.com/serin-cd/serin/pkg/judge/verdict"
	"github.com/serin-cd/serin/pkg/task/parameter"
	"github.com/serin-cd/serin/pkg/task/run"
)

// Result is what both judges would have made of a rollout, in version 1 of its JSON form: fields may be added there,
// and these keep name and type.
type Result struct {
	Version int         `json:"version"`
	Until   time.Time   `json:"until"`
	Run     *Ending     `json:"run,omitempty"` // absent where it is not known
	Stages  []run.Stage `json:"phases"`
	Judges  []Judging   `json:"judges"` // the sequential one, and the classic one
	Rows    []Row       `json:"rows"`

	Rollout Rollout `json:"-"`
}

// Judging is what a judge would have made of a rollout.
type Judging struct {
	Judge    string           `json:"judge"`
	Decision verdict.Decision `json:"verdict"`
	Code     string           `json:"reason"`
	Text     string           `json:"text"`
	At       time.Time        `json:"at"`
	After    float64          `json:"after"` // seconds after the start
	Weight   parameter.Weight `json:"weight"`
	Answered verdict.Ratio    `json:"canary"` // bad requests, and all, that the canary had answered by then
	Stages   []Said           `json:"stages"`
	Verdict  verdict.Verdict  `json:"report"` // as the step would have written it
}

// Said is what a judge would have said at one stage.
type Said struct {
	Stage    int              `json:"phase"` // from 1
	Weight   parameter.Weight `json:"weight"`
	Decision verdict.Decision `json:"verdict"`
	Code     string           `json:"reason"`
	At       time.Time        `json:"at"`

	Verdict verdict.Verdict `json:"-"`
	Ends    bool            `json:"-"` // the verdict would have ended the rollout
}

// saidOf is a verdict that came before the weight changed and the past ended, or that is the best that can be said.
func saidOf(v verdict.Verdict, inTime bool) Said {
	return Said{Stage: v.Stage.Number, Weight: v.Weight(), Decision: v.Decision, Code: v.Code, At: v.At,
		Verdict: v, Ends: inTime && v.Err() != nil}
}

// short is a verdict in two words.
func (s Said) short() string {
	if s.Code == sequential.Undecided {
		return s.Code
	}
	return string(s.Decision) + " " + s.Code
}

// last is the stage that a judge came to: where it would have ended the rollout, or the last one.
func (j Judging) last() Said { return j.Stages[len(j.Stages)-1] }

// concluded is a judging with the last of what was said.
func (j Judging) concluded(start time.Time) Judging {
	v := j.last().Verdict
	j.Decision, j.Code, j.Text, j.At, j.After = v.Decision, v.Code, v.Text, v.At, v.At.Sub(start).Seconds()
	j.Weight, j.Verdict = v.Weight(), v
	return j
}

// JSON writes a result for programs.
func (r Result) JSON(w io.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(r)
}

// count counts the canary's requests up to each judge's end, as the sequential judge counts them.
func (r *Result) count(ctx context.Context, p *Past, config judge.Config) error {
	weighed := r.Judges[0].Verdict
	reader, err := readerOf(r.Rollout, config, weighed.Target)
	if err != nil {
		return err
	}
	requests := reader.Selection.Requests()
	start, grid, settle := weighed.Stages[0].At, seconds(weighed.Grid.Seconds), time.Duration(config.Settle)
	past, _, err := prometheus.Samples(ctx, p, requests, start.Add(-counting.HistorySpan-counting.Lookback), start)
	if err != nil {
		return err
	}
	history, err := reader.History(past, start, grid)
	if err != nil {
		return err
	}
	for i, j := range r.Judges {
		w := counting.Window{Start: start, End: j.At, Grid: grid, Settle: settle, Busiest: history.Busiest}
		m, _, err := prometheus.Samples(ctx, p, requests, w.Start.Add(-counting.Lookback), w.End)
		if err != nil {
			return err
		}
		counted, err := reader.Requests(m, w)
		if err != nil {
			return err
		}
		var answered sequential.Counts
		for _, instant := range counted.Instants {
			answered = answered.Plus(instant.Canary)
		}
		r.Judges[i].Answered = verdict.RatioOf(answered)
	}
	return nil
}

// readerOf counts as the sequential judge has counted a target.
func readerOf(r Rollout, config judge.Config, counted verdict.Target) (counting.Reader, error) {
	j, err := r.judge(config, verdict.Sequential, len(r.Stages)-1)
	if err != nil {
		return counting.Reader{}, err
	}
	codes, err := counting.Codes(config.Sequential.ErrorCodes)
	if err != nil {
		return counting.Reader{}, err
	}
	reporter := cmp.Or(counted.Reporter, string(counting.Source))
	if counted.Reporter == "" && config.Reporter != "auto" {
		reporter = config.Reporter
	}
	return counting.Reader{
		Selection: j.Target().Selection(counting.Reporter(reporter), counting.Split(counted.Split)),
		Bad:       counting.Bad(codes), ReplicaLabels: config.Sequential.ReplicaLabels,
	}, nil
}

// seconds is a time that is told in seconds.
func seconds(s float64) time.Duration { return time.Duration(math.Round(s * float64(time.Second))) }
