package faults

import (
	"context"
	"fmt"
	"maps"
	"strings"

	"github.com/serin-cd/serin/pkg/task/parameter"
	"github.com/serin-cd/serin/pkg/task/run"
)

// kind is what a run is doing at a moment.
type kind string

// The kinds of moments, in the order of a release.
const (
	preparing kind = "preparing"               // the canary's pods start
	prepared  kind = "prepared, between tasks" // they are ready; no step runs
	shifting  kind = "shifting"                // the weight is on its way to the API server
	shifted   kind = "between steps"           // it is written, and judging has not begun
	analysing kind = "analysing"
	passed    kind = "passed, between tasks" // no step runs
	begun     kind = "promoting, primary unchanged"
	changed   kind = "promoting, primary changed" // its new pods start
	draining  kind = "draining"                   // all traffic is the primary's again, the canary still has pods
)

// Moment is a point in a release at which something breaks.
type Moment struct {
	kind  kind
	stage int // weight of the stage, in percent; 0 where it is none's
	shape shape
}

// Moments are all of them, in order.
func Moments() []Moment {
	all := []Moment{{kind: preparing}, {kind: prepared}}
	for _, weight := range []int{20, 40, 60} {
		for _, k := range []kind{shifting, shifted, analysing, passed} {
			all = append(all, Moment{kind: k, stage: weight})
		}
	}
	all = append(all, Moment{kind: begun}, Moment{kind: changed}, Moment{kind: draining})
	return append(all, shaped()...)
}

// String is the moment as tables name it.
func (m Moment) String() string {
	text := string(m.kind)
	if m.stage > 0 {
		text = fmt.Sprintf("%d %%: %s", m.stage, m.kind)
	}
	if m.shape != plain {
		text += ", " + string(m.shape)
	}
	return text
}

// slug is the moment as part of a namespace's name.
func (m Moment) slug() string {
	short := map[kind]string{preparing: "preparing", prepared: "prepared", shifting: "shifting", shifted: "shifted",
		analysing: "analysing",
		passed:    "passed", begun: "begun", changed: "changed", draining: "draining"}[m.kind]
	if m.shape != plain {
		short += "-" + strings.Fields(string(m.shape))[0]
	}
	if m.stage == 0 {
		return short
	}
	return fmt.Sprintf("%s-%d", short, m.stage)
}

// task is the Pipeline's task whose pod is kept from being scheduled until the moment is wanted; empty for a moment in
// the first.
func (m Moment) task() string {
	following := map[int]string{0: "stage-20", 20: "stage-40", 40: "stage-60", 60: "promote"}
	switch m.kind {
	case preparing:
		return ""
	case prepared, passed:
		return following[m.stage]
	case shifting, shifted, analysing:
		return fmt.Sprintf("stage-%d", m.stage)
	}
	return "promote"
}

// step is the program that runs at the moment; empty where none does.
func (m Moment) step() string {
	switch m.kind {
	case preparing:
		return "prepare-canary"
	case shifting:
		return "shift-weight"
	case analysing:
		return "analyze-metrics"
	case begun, changed, draining:
		return "promote-primary"
	}
	return ""
}

// slowly says whether the version's pods take long to become ready, which makes the moment last.
func (m Moment) slowly() bool { return m.kind == preparing || m.kind == changed }

// params make the moment last long enough to be met.
func (m Moment) params() map[string]string {
	// a window shorter than two scrapes has no values, and a busy machine scrapes late
	params := map[string]string{"judge": "classic", "interval": "12s", "settle": "1s", "request-duration": "10000",
		"progress-deadline": progressDeadline.String()}
	maps.Copy(params, m.shape.params())
	switch m.kind {
	case analysing:
		params["interval"] = lasting.String()
	case draining:
		params["drain"] = lasting.String()
	}
	return params
}

// arrange is called before the run comes to the moment.
func (c *cell) arrange() {
	switch c.moment.kind {
	case shifting, shifted:
		c.held = c.round.gate.hold(c.app.Namespace, fmt.Sprintf("weight %d", c.moment.stage))
	case begun:
		c.held = c.round.gate.hold(c.app.Namespace, "primary")
	}
}

// reach returns when the run is at its moment.
func (c *cell) reach(ctx context.Context) error {
	switch m := c.moment; m.kind {
	case preparing:
		return c.until(ctx, "the canary's pods start", func(ctx context.Context, s standing) (bool, error) {
			return s.record.Phase == run.Preparing && s.replicas > 0, nil
		})
	case prepared, passed:
		return nil // it waits there, because its next task has no node
	case shifting, begun:
		return c.held.wait(ctx)
	case shifted:
		return c.freeze(ctx)
	case analysing:
		return c.until(ctx, "the stage is judged", func(ctx context.Context, s standing) (bool, error) {
			pid, err := c.process("/ko-app/analyze-metrics")
			return s.record.Weight() == parameter.Weight(m.stage) && pid > 0, err
		})
	case changed:
		return c.until(ctx, "the primary has changed", func(ctx context.Context, s standing) (bool, error) {
			primary, err := c.app.Deployment(ctx, c.app.Name+"-primary")
			return err == nil && primary.Annotations["serin.dev/revision"] == s.record.Revision, err
		})
	default:
		return c.until(ctx, "the canary is drained", func(ctx context.Context, s standing) (bool, error) {
			return s.record.Outcome == run.Promoted && s.replicas > 0, nil
		})
	}
}

// freeze stops what waits to judge, while the weight is held, and then lets the weight through: a pod between two
// steps.
func (c *cell) freeze(ctx context.Context) error {
	if err := c.held.wait(ctx); err != nil {
		return err
	}
	// its container starts after the other
	err := c.until(ctx, "a process waits to run analyze-metrics", func(context.Context, standing) (bool, error) {
		pid, err := c.process("/tekton/bin/entrypoint", "/ko-app/analyze-metrics")
		if err != nil || pid == 0 {
			return false, err
		}
		return true, c.stop(pid)
	})
	if err != nil {
		return err
	}
	c.held.release()
	return c.until(ctx, "the weight is written", func(ctx context.Context, s standing) (bool, error) {
		pid, err := c.process("/ko-app/shift-weight")
		return s.record.Weight() == parameter.Weight(c.moment.stage) && pid == 0, err
	})
}
