package demo

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/serin-cd/serin/e2e/load"
	"github.com/serin-cd/serin/e2e/trial"
)

// traffic is what clients got, second by second.
type traffic struct {
	mu      sync.Mutex
	seconds []load.Second
}

func (t *traffic) add(s load.Second) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.seconds = append(t.seconds, s)
}

// since returns the seconds that began at or after a time.
func (t *traffic) since(at time.Time) []load.Second {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, s := range t.seconds {
		if !s.From.Before(at) {
			return append([]load.Second{}, t.seconds[i:]...)
		}
	}
	return nil
}

// longest is the time that one act may take, which at an interval of a minute is seven.
const longest = 20 * time.Minute

// scene is one act while it is played.
type scene struct {
	app     *trial.App
	act     act
	view    *view
	traffic *traffic
	name    string
	routed  func() // called once, when there is a route; may be nil

	interval string // the Pipeline's parameter

	events int
	widest int64
}

func (s *scene) play(ctx context.Context) (ending, error) {
	begin := time.Now()
	if err := s.app.Push(ctx, s.act.version); err != nil {
		return ending{}, err
	}
	run, err := s.app.Start(ctx, "canary", s.name, map[string]string{"interval": s.interval})
	if err != nil {
		return ending{}, err
	}
	watched, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan struct{})
	go func() { defer close(done); s.watch(watched, run, begin) }()
	result, err := run.Wait(ctx, longest)
	stop()
	<-done
	s.step(ctx, run, begin) // what came last
	if err != nil {
		return ending{}, err
	}
	e := ending{act: s.act, result: result, took: time.Since(begin), widest: s.widest, lost: map[string]int{}}
	for _, second := range s.traffic.since(begin) {
		e.requests += second.Requests
		for version, c := range second.Versions {
			e.lost[version] += c.Failed
		}
	}
	state, err := s.app.State(ctx)
	if err != nil {
		return e, err
	}
	e.problem = e.check(state, s.app.Image(e.serves))
	return e, s.reached(ctx)
}

// reached fails where the gateway does not answer for the application after its release.
func (s *scene) reached(ctx context.Context) error {
	if s.routed == nil {
		return nil
	}
	gateway := s.app.Sandbox.Gateway
	err := s.app.Eventually(ctx, time.Minute, fmt.Sprintf("the gateway at %s answers for host %s", gateway, s.app.Host),
		func(ctx context.Context) (bool, error) {
			return s.app.Reached(ctx), nil
		})
	if err != nil {
		return fmt.Errorf("%w; it must lead to the pods with the labels %v: see GATEWAY_URL, GATEWAY_SELECTOR", err,
			s.app.Sandbox.GatewaySelector)
	}
	s.routed()
	s.routed = nil
	return nil
}

func (s *scene) watch(ctx context.Context, run *trial.Run, begin time.Time) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.step(ctx, run, begin)
		}
	}
}

// step shows what is new: events, verdicts, and the traffic of the last second. What cannot be read is
// shown the next time.
func (s *scene) step(ctx context.Context, run *trial.Run, begin time.Time) {
	state, err := s.app.State(ctx)
	if err != nil {
		return
	}
	if s.routed != nil && s.app.Reached(ctx) {
		s.routed()
		s.routed = nil
	}
	s.widest = max(s.widest, state.Weight)
	if events, err := s.app.Events(ctx); err == nil {
		if s.events == 0 {
			s.events = s.view.seen
		}
		for _, e := range events[min(s.events, len(events)):] {
			s.view.event(e)
		}
		s.events = len(events)
		s.view.seen = s.events
	}
	if tasks, err := run.Tasks(ctx); err == nil {
		s.verdicts(tasks)
	}
	s.view.status(state, s.traffic.since(time.Now().Add(-3*time.Second)), time.Since(begin))
}

// verdicts shows those of stages that have ended since the last time, in the order of their weights.
func (s *scene) verdicts(tasks map[string]trial.Task) {
	for _, stage := range []string{"stage-20", "stage-40", "stage-60"} {
		t, ok := tasks[stage]
		if !ok || t.Results["verdict"] == "" || s.view.shown[s.name+stage] {
			continue
		}
		s.view.shown[s.name+stage] = true
		s.view.verdict(strings.TrimPrefix(stage, "stage-"), t.Results["verdict"], t.Results["reason"])
	}
}
