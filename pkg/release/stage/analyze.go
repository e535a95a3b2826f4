package stage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"k8s.io/utils/clock"

	"github.com/serin-cd/serin/pkg/judge"
	"github.com/serin-cd/serin/pkg/judge/prometheus"
	"github.com/serin-cd/serin/pkg/task/failure"
	"github.com/serin-cd/serin/pkg/task/run"
	"github.com/serin-cd/serin/pkg/task/step"

	"github.com/serin-cd/serin/pkg/release"
	"github.com/serin-cd/serin/pkg/report"
)

// Analysis is what the judging of a stage needs.
type Analysis struct {
	Run        run.ID
	Judge      *judge.Judge
	Prometheus *prometheus.Client
	Rollout    string        // phases as JSON; empty reads the run's record and acts on the verdict
	Report     string        // path of the report, empty for none
	Series     int           // that an answer may hold
	Grace      time.Duration // how long fewer pods than wanted may be available
}

// Analyze judges until there is a verdict and writes it to the results. A rollout that was given is
// judged and nothing else: no cluster is asked and nothing is taken back.
func Analyze(ctx context.Context, a Analysis, out *step.Results) error {
	if a.Rollout != "" {
		return a.replay(ctx, out)
	}
	target := a.Judge.Target()
	r, err := release.Config{Run: a.Run, App: target.Canary}.Connect()
	if err != nil {
		return err
	}
	if target.Namespace != r.App.Namespace || target.Primary != r.App.Primary() {
		return failure.Configf("judging %s: namespace %q and primary %q, want the run's namespace %q and %q",
			r.App, target.Namespace, target.Primary, r.App.Namespace, r.App.Primary())
	}
	go r.Lease.KeepOn(ctx)
	verdict, err := Judge(ctx, r, a.Live(r.Cluster), a.Grace)
	return a.written(verdict, err, out)
}

func (a Analysis) replay(ctx context.Context, out *step.Results) error {
	phases, err := judge.ParseRollout(a.Rollout)
	if err != nil {
		return err
	}
	wall := clock.RealClock{}
	verdict, err := a.Judge.Judge(ctx, a.asker(phases, wall), wall, phases, nil)
	if err == nil {
		err = verdict.Err()
	}
	return a.written(verdict, err, out)
}

// timer tells the API server's time.
type timer interface {
	Now() time.Time
	After(time.Duration) <-chan time.Time
}

// Live judges phases whose times are the API server's. Where Prometheus's clock shows another time, it judges by that, and says so.
func (a Analysis) Live(server timer) Judging {
	return func(ctx context.Context, phases []run.Stage, onCheck func(judge.Check)) (judge.Verdict, error) {
		asker := a.asker(phases, server)
		now, err := asker.Now(ctx)
		if err != nil {
			return judge.Verdict{}, fmt.Errorf("judging %s: %w", a.Judge.Target().Canary, err)
		}
		skew := judge.SkewOf(now, server.Now())
		if skew != 0 {
			slog.WarnContext(ctx, "clock-skew: Prometheus's clock is not the API server's", "ahead", time.Duration(skew).String())
		}
		verdict, err := a.Judge.Judge(ctx, asker, skew.On(server), skew.Phases(phases), onCheck)
		verdict.Warnings = append(skew.Warnings(), verdict.Warnings...)
		return verdict, err
	}
}

// asker asks Prometheus with patience up to a time on the clock that the phases' times are from.
func (a Analysis) asker(phases []run.Stage, from timer) *prometheus.Retrying {
	return a.Prometheus.Limited(a.Series).Retrying(a.Judge.Until(phases), from)
}

// written sets the results of a verdict, if there is one, and reports it, whatever the step ends with.
func (a Analysis) written(verdict judge.Verdict, err error, out *step.Results) error {
	if verdict.Outcome == "" {
		return err
	}
	failed := verdict.Write(out)
	judging := report.New(verdict)
	if line, bad := judging.Line(); bad == nil {
		slog.Info("report", "json", line)
	}
	failed = errors.Join(failed, judging.WriteFile(a.Report))
	if failed == nil {
		return err
	}
	if err == nil {
		return failed
	}
	return fmt.Errorf("%w; %w", err, failed)
}
