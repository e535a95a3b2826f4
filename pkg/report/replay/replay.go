package replay

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/serin-cd/serin/pkg/judge"
	"github.com/serin-cd/serin/pkg/judge/sequential"
	"github.com/serin-cd/serin/pkg/judge/verdict"
	"github.com/serin-cd/serin/pkg/task/failure"
	"github.com/serin-cd/serin/pkg/task/run"
)

// judges are in the order in which they are shown.
var judges = []string{verdict.Sequential, verdict.Classic}

const (
	proves  = "prove"
	timeBox = "time-box"
)

// Rollout is what happened, and to what.
type Rollout struct {
	Target judge.Target
	Stages []run.Stage // in which the canary had traffic
	Ending
}

// Ending is how the run ended in fact, as far as that is known.
type Ending struct {
	Outcome string    `json:"outcome"`
	Reason  string    `json:"reason"`
	Ended   time.Time `json:"ended,omitzero"`
}

// config is that of a judge at one stage. An empty gate is that of a pipeline: time-box in every stage but the last,
// which has to prove.
func (r Rollout) config(c judge.Config, j string, stage int) judge.Config {
	c.Judge, c.Mode, c.AsOf = j, "enforce", ""
	if c.Sequential.Gate == "" {
		c.Sequential.Gate = proves
		if stage < len(r.Stages)-1 {
			c.Sequential.Gate = timeBox
		}
	}
	return c
}

// judge is one at one stage.
func (r Rollout) judge(c judge.Config, j string, stage int) (*judge.Judge, error) {
	return judge.New(r.config(c, j, stage), r.Target)
}

// Until is the end of what can have mattered to a rollout: its own end, or where that is not known the time
// by which both judges must have come to a verdict.
func (r Rollout) Until(config judge.Config) (time.Time, error) {
	if !r.Ended.IsZero() {
		return r.Ended, nil
	}
	var latest time.Time
	for _, name := range judges {
		j, err := r.judge(config, name, len(r.Stages)-1)
		if err != nil {
			return latest, err
		}
		if until := j.Until(r.Stages); until.After(latest) {
			latest = until
		}
	}
	return latest, nil
}

// judged lets a judge loose on a rollout, one stage after the other, as analyze-metrics would have run.
func judged(ctx context.Context, p *Past, r Rollout, config judge.Config, j string) (Judging, error) {
	found := Judging{Judge: j}
	for i := range r.Stages {
		if j == verdict.Sequential && i > 0 && r.Stages[i].Weight == 100 {
			break // nobody is left to compare with: what it said before stands
		}
		s, err := said(ctx, p, r, r.config(config, j, i), i)
		if err != nil {
			return found, err
		}
		found.Stages = append(found.Stages, s)
		if s.Ends {
			break
		}
	}
	return found.concluded(r.Stages[0].At), nil
}

// said is what a judge would have said at one stage.
func said(ctx context.Context, p *Past, r Rollout, config judge.Config, index int) (Said, error) {
	stages := r.Stages[:index+1]
	end := p.until
	if index+1 < len(r.Stages) && r.Stages[index+1].At.Before(end) {
		end = r.Stages[index+1].At
	}
	if begin := stages[index].At; begin.After(end) {
		return Said{}, failure.Configf("replaying %s: phase %d begins at %s, after %s, the end of what is replayed: "+
			"want a later one", r.Target.Canary, index+1, clockTime(begin), clockTime(end))
	}
	v, err := live(ctx, p, config, r.Target, stages, end)
	if err == nil {
		return saidOf(v, true), nil
	}
	if !isOver(err) {
		return Said{}, err
	}
	config.AsOf = end.Format(time.RFC3339Nano)
	v, err = live(ctx, p, config, r.Target, stages, end)
	return saidOf(v, err == nil && v.Code != sequential.Undecided), err
}

// live judges as a step does that begins with the last of the stages.
func live(ctx context.Context, p *Past, config judge.Config, target judge.Target,
	stages []run.Stage, end time.Time) (verdict.Verdict, error) {
	j, err := judge.New(config, target)
	if err != nil {
		return verdict.Verdict{}, err
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	c := &clock{Past: p, now: stages[len(stages)-1].At, end: end, stop: stop}
	if config.AsOf != "" {
		c.now = end
	}
	return j.Judge(ctx, c, hand{c}, stages, nil)
}

// traffic leaves out what came before the canary had traffic, and what came after it had none any more.
func (r Rollout) traffic() Rollout {
	first := slices.IndexFunc(r.Stages, func(s run.Stage) bool { return s.Weight > 0 })
	if first < 0 {
		r.Stages = nil
		return r
	}
	stages := r.Stages[first:]
	if last := slices.IndexFunc(stages, func(s run.Stage) bool { return s.Weight == 0 }); last > 0 {
		if r.Ended.IsZero() || stages[last].At.Before(r.Ended) {
			r.Ended = stages[last].At
		}
		stages = stages[:last]
	}
	r.Stages = stages
	return r
}

// Check refuses a rollout in which nothing was to judge.
func (r Rollout) Check() (Rollout, error) {
	if err := judge.CheckStages(r.Stages); err != nil {
		return r, err
	}
	r = r.traffic()
	if len(r.Stages) == 0 {
		return r, failure.Configf("replaying %s: the canary had no traffic in any phase, want a weight above 0",
			r.Target.Canary)
	}
	if r.Stages[0].Weight == 100 {
		return r, failure.Configf("replaying %s: weight 100 leaves no primary to compare with, "+
			"want a first weight of 1 to 99", r.Target.Canary)
	}
	return r, nil
}

// Both lets both judges loose on a rollout.
func Both(ctx context.Context, p *Past, r Rollout, config judge.Config) (Result, error) {
	result := Result{Version: 1, Until: p.until.UTC(), Stages: r.Stages, Rollout: r}
	if r.Outcome != "" {
		result.Run = &r.Ending
	}
	for _, name := range judges {
		j, err := judged(ctx, p, r, config, name)
		if err != nil {
			return result, fmt.Errorf("replaying with judge %s: %w", name, err)
		}
		result.Judges = append(result.Judges, j)
	}
	result.Rows = result.rows(time.Duration(config.Settle))
	return result, result.count(ctx, p, config)
}

// String is the rollout in a line.
func (r Rollout) String() string {
	text := r.Target.Canary + "." + r.Target.Namespace + " from " + clockTime(r.Stages[0].At)
	for i, s := range r.Stages {
		separator := ", "
		if i == 0 {
			separator = ": "
		}
		text += fmt.Sprintf("%s%d %% at %s", separator, s.Weight, timeOfDay(s.At))
	}
	return text
}
