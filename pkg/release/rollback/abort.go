package rollback

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/release"
	"github.com/serin-cd/serin/pkg/release/weight"
	"github.com/serin-cd/serin/pkg/task/failure"
	"github.com/serin-cd/serin/pkg/task/parameter"
	"github.com/serin-cd/serin/pkg/task/run"
)

// Aborted is what an abort found and did.
type Aborted struct {
	App     string           `json:"app"`
	Run     string           `json:"run,omitempty"`   // namespace/name/uid; empty where there was none
	Phase   run.Phase        `json:"phase,omitempty"` // that it was found in
	Weight  parameter.Weight `json:"weight"`          // of the canary when it was found, in percent
	Ended   bool             `json:"ended"`           // whether it was this that ended the run
	Outcome run.Outcome      `json:"outcome,omitempty"`
	Reason  string           `json:"reason,omitempty"`
	Settled bool             `json:"settled"` // the canary has no traffic and no pods
}

// ErrLeft is the drain's of one who leaves the canary's pods to the run's finally, the janitor or the next run.
var ErrLeft = errors.New("the canary's pods are left to who settles")

// Abort ends an application's run, even one that is alive, and settles what it leaves. Its own steps then find the
// record closed, and stop. All traffic is the primary's when the drain begins.
func Abort(ctx context.Context, cluster *kube.Cluster, app application.Application, reason string,
	deadline time.Duration, drain func(*release.Release) error) (Aborted, error) {
	done := Aborted{App: app.String()}
	routes, err := weight.List(ctx, cluster.VirtualServices(app.Namespace), app.Namespace)
	if err != nil {
		return done, err
	}
	var state weight.State
	first := routes.First(app)
	gone := first == nil
	if !gone {
		if state, err = weight.Observe(first, app, routes.Selection(app)); err != nil {
			return done, err
		}
	}
	done.Weight = state.Weight()
	if !gone && state.Record == nil && state.Broken == nil && done.Weight == 0 {
		done.Settled = true
		return done, nil
	}
	r, err := Owner(ctx, cluster, app, state)
	if gone && errors.Is(err, failure.ErrConfig) { // no route, and nobody's target
		done.Settled = true
		return done, nil
	}
	if err != nil {
		return done, err
	}
	if err := r.Select(routes.Selection(app)); err != nil {
		return done, err
	}
	done.Run = r.ID.String()
	if state.Record != nil {
		done.Phase = state.Record.Phase
	}
	if err := drain(r); err != nil {
		return done, err
	}
	ended, err := Run(ctx, r, r.ID, reason, deadline)
	if ended != nil && !ended.Open() {
		done.Outcome, done.Reason = ended.Outcome, ended.Reason
		done.Ended = (state.Record == nil || state.Record.Open()) && ended.Outcome != run.Promoted
		if done.Ended && ended.Outcome == run.Unfinished {
			done.Outcome = run.RolledBack
		}
	}
	if errors.Is(err, ErrLeft) {
		return done, nil
	}
	if err != nil {
		return done, fmt.Errorf("aborting the release of %s: %w", app, err)
	}
	done.Settled = true
	return done, nil
}

// Print says it in sentences.
func (a Aborted) Print(w io.Writer) {
	switch {
	case a.Run == "":
		fmt.Fprintf(w, "%s: there is no run\n", a.App)
	case a.Ended:
		fmt.Fprintf(w, "%s: run %s was %s, canary weight %d\n%s: all traffic to the primary, run ended: %s\n", a.App,
			a.Run, a.Phase, a.Weight, a.App, a.Reason)
	case a.Phase == run.Closed:
		fmt.Fprintf(w, "%s: run %s had ended as %s: %s\n", a.App, a.Run, orUnfinished(a.Outcome), a.Reason)
	case a.Outcome != "":
		fmt.Fprintf(w, "%s: run %s was %s, and ended as %s meanwhile: %s\n", a.App, a.Run, a.Phase, a.Outcome, a.Reason)
	default:
		fmt.Fprintf(w, "%s: run %s is %s, canary weight %d, and was not ended\n", a.App, a.Run, a.Phase, a.Weight)
	}
	switch {
	case a.Run == "" || a.Outcome == run.Unfinished:
	case a.Settled:
		fmt.Fprintf(w, "%s: the canary is at rest\n", a.App)
	case a.Ended || a.Phase == run.Closed:
		fmt.Fprintf(w, "%s: the canary's pods go when nobody sends to them: the run's finally, the janitor or the "+
			"next run sees to it\n", a.App)
	}
}

func orUnfinished(o run.Outcome) string {
	if o == run.Unfinished {
		return "unfinished"
	}
	return string(o)
}
