package simulation

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/sethvargo/go-envconfig"

	"github.com/serin-cd/serin/pkg/judge"
	"github.com/serin-cd/serin/pkg/judge/sequential"
	"github.com/serin-cd/serin/pkg/task/parameter"
	"github.com/serin-cd/serin/pkg/task/run"
)

// What is released.
const (
	namespace   = "shop"
	application = "reviews"
)

// outcome is how a rollout ended.
type outcome int

const (
	promoted outcome = iota
	rolledBack
	inconclusive
	outcomes
)

// end is a rollout's end.
type end struct {
	outcome outcome
	reason  string
	second  float64 // of the decision
	failed  float64 // requests of the canary that failed until its weight was 0
}

func (l *life) ended(o outcome, reason string) end {
	second := float64(l.now)
	l.passes(feltSeconds)
	return end{o, reason, second, l.failed()}
}

// place is where runs of a world happen, one after the other.
type place struct {
	World
	store *store
	judges
}

// judges are those of the weights before the last, and of the last.
type judges struct{ early, last *judge.Judge }

func (w World) place(ctx context.Context) (*place, error) {
	early := maps.Clone(w.judge)
	maps.Copy(early, w.early)
	p := &place{World: w, store: newStore(w)}
	var err error
	if p.judges.early, err = early.set("GATE", "time-box").newJudge(ctx); err != nil {
		return nil, err
	}
	p.judges.last, err = w.judge.set("GATE", "prove").newJudge(ctx)
	return p, err
}

// newJudge takes defaults from where the step does.
func (s settings) newJudge(ctx context.Context) (*judge.Judge, error) {
	var config judge.Config
	if err := envconfig.ProcessWith(ctx, &envconfig.Config{Target: &config,
		Lookuper: envconfig.MapLookuper(s)}); err != nil {
		return nil, err
	}
	return judge.New(config, judge.Target{Namespace: namespace, Canary: application, Primary: application + "-primary"})
}

// judged plays a rollout with the sequential judge.
func (l *life) judged(ctx context.Context) (end, error) {
	l.remember()
	clock := clock{l, make(chan time.Time, 1)}
	var stages []run.Stage
	for i, weight := range l.weights {
		stages = append(stages, run.Stage{Weight: parameter.Weight(weight), At: l.time()})
		l.raise(weight)
		asked := l.judges.early
		if i == len(l.weights)-1 {
			asked = l.judges.last
		}
		v, err := asked.Judge(ctx, prometheus{l}, clock, stages, nil)
		if err != nil {
			return end{}, fmt.Errorf("%d s after the start: %w", l.now, err)
		}
		switch v.Decision {
		case sequential.Fail:
			return l.ended(rolledBack, v.Code), nil
		case sequential.Inconclusive:
			return l.ended(inconclusive, v.Code), nil
		}
	}
	return l.ended(promoted, ""), nil
}
