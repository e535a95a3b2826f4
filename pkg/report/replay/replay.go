package replay

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/serin-cd/serin/pkg/judge"
	"github.com/serin-cd/serin/pkg/task/failure"
	"github.com/serin-cd/serin/pkg/task/run"
)

// The judges, in the order in which they are shown.
const (
	Sequential = "sequential"
	Classic    = "classic"
)

const (
	proves  = "prove"
	timeBox = "time-box"
)

// Rollout is what happened, and to what.
type Rollout struct {
	Target  judge.Target
	Phases  []run.Stage // in which the canary had traffic
	Ended   time.Time   // zero where it is not known
	Outcome string      // of the run, empty where it is not known
	Reason  string
}

// config is that of a judge at one stage. An empty gate is that of a pipeline: time-box in every stage but the last,
// which has to prove.
func (r Rollout) config(c judge.Config, j string, stage int) judge.Config {
	c.Judge, c.Mode, c.AsOf = j, "enforce", ""
	if c.Sequential.Gate == "" {
		c.Sequential.Gate = proves
		if stage < len(r.Phases)-1 {
			c.Sequential.Gate = timeBox
		}
	}
	return c
}

// Until is the end of what can have mattered to a rollout: its own end, or where that is not known the time
// by which both judges must have come to a verdict.
func (r Rollout) Until(config judge.Config) (time.Time, error) {
	if !r.Ended.IsZero() {
		return r.Ended, nil
	}
	var latest time.Time
	for _, name := range []string{Sequential, Classic} {
		j, err := judge.New(r.config(config, name, len(r.Phases)-1), r.Target)
		if err != nil {
			return latest, err
		}
		if until := j.Until(r.Phases); until.After(latest) {
			latest = until
		}
	}
	return latest, nil
}

// Judging is what a judge would have made of a rollout.
type Judging struct {
	Judge  string
	Stages []Stage
}

// Stage is what a judge would have said at one weight.
type Stage struct {
	Phase   int // from 1
	Verdict judge.Verdict
	Decided bool // before the weight changed, or the past ended
	Ends    bool // the verdict would have ended the rollout
}

// last is the stage that a judge came to: where it would have ended the rollout, or the last one.
func (j Judging) last() Stage { return j.Stages[len(j.Stages)-1] }

// Judge lets a judge loose on a rollout, one stage after the other, as analyze-metrics would have run.
func Judge(ctx context.Context, p *Past, r Rollout, config judge.Config, j string) (Judging, error) {
	found := Judging{Judge: j}
	for i := range r.Phases {
		if j == Sequential && i > 0 && r.Phases[i].Weight == 100 {
			break // nobody is left to compare with: what it said before stands
		}
		s, err := stage(ctx, p, r, r.config(config, j, i), i)
		if err != nil {
			return found, err
		}
		found.Stages = append(found.Stages, s)
		if s.Ends {
			break
		}
	}
	return found, nil
}

func stage(ctx context.Context, p *Past, r Rollout, config judge.Config, index int) (Stage, error) {
	phases := r.Phases[:index+1]
	end := p.until
	if index+1 < len(r.Phases) && r.Phases[index+1].At.Before(end) {
		end = r.Phases[index+1].At
	}
	if begin := phases[index].At; begin.After(end) {
		return Stage{}, failure.Configf("replaying %s: phase %d begins at %s, after %s, the end of what is replayed: want a later one",
			r.Target.Canary, index+1, clockTime(begin), clockTime(end))
	}
	verdict, err := live(ctx, p, config, r.Target, phases, end)
	if err == nil {
		return Stage{Phase: index + 1, Verdict: verdict, Decided: true, Ends: verdict.Err() != nil}, nil
	}
	if !isOver(err) {
		return Stage{}, err
	}
	config.AsOf = end.Format(time.RFC3339Nano)
	verdict, err = live(ctx, p, config, r.Target, phases, end)
	decided := err == nil && verdict.Code != undecided
	return Stage{Phase: index + 1, Verdict: verdict, Decided: decided, Ends: decided && verdict.Err() != nil}, err
}

const undecided = "undecided"

// live judges as a step does that begins with the last of the phases.
func live(ctx context.Context, p *Past, config judge.Config, target judge.Target, phases []run.Stage, end time.Time) (judge.Verdict, error) {
	j, err := judge.New(config, target)
	if err != nil {
		return judge.Verdict{}, err
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	c := &clock{Past: p, now: phases[len(phases)-1].At, end: end, stop: stop}
	if config.AsOf != "" {
		c.now = end
	}
	return j.Judge(ctx, c, hand{c}, phases, nil)
}

// traffic leaves out what came before the canary had traffic, and what came after it had none any more.
func (r Rollout) traffic() Rollout {
	first := slices.IndexFunc(r.Phases, func(p run.Stage) bool { return p.Weight > 0 })
	if first < 0 {
		r.Phases = nil
		return r
	}
	phases := r.Phases[first:]
	if last := slices.IndexFunc(phases, func(p run.Stage) bool { return p.Weight == 0 }); last > 0 {
		if r.Ended.IsZero() || phases[last].At.Before(r.Ended) {
			r.Ended = phases[last].At
		}
		phases = phases[:last]
	}
	r.Phases = phases
	return r
}

// Check refuses a rollout in which nothing was to judge.
func (r Rollout) Check() (Rollout, error) {
	if err := judge.CheckPhases(r.Phases); err != nil {
		return r, err
	}
	r = r.traffic()
	if len(r.Phases) == 0 {
		return r, failure.Configf("replaying %s: the canary had no traffic in any phase, want a weight above 0", r.Target.Canary)
	}
	if r.Phases[0].Weight == 100 {
		return r, failure.Configf("replaying %s: weight 100 leaves no primary to compare with, want a first weight of 1 to 99", r.Target.Canary)
	}
	return r, nil
}

// Both lets both judges loose on a rollout.
func Both(ctx context.Context, p *Past, r Rollout, config judge.Config) (Result, error) {
	result := Result{Rollout: r, Until: p.until, settle: time.Duration(config.Settle)}
	for _, name := range []string{Sequential, Classic} {
		j, err := Judge(ctx, p, r, config, name)
		if err != nil {
			return result, fmt.Errorf("replaying with judge %s: %w", name, err)
		}
		result.Judgings = append(result.Judgings, j)
	}
	return result, result.count(ctx, p, config)
}

// String is the rollout in a line.
func (r Rollout) String() string {
	text := r.Target.Canary + "." + r.Target.Namespace + " from " + clockTime(r.Phases[0].At)
	for i, p := range r.Phases {
		separator := ", "
		if i == 0 {
			separator = ": "
		}
		text += fmt.Sprintf("%s%d %% at %s", separator, p.Weight, timeOfDay(p.At))
	}
	return text
}
