package stage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"k8s.io/utils/clock"

	"github.com/serin-cd/serin/pkg/cluster/mesh"
	"github.com/serin-cd/serin/pkg/judge"
	"github.com/serin-cd/serin/pkg/judge/prometheus"
	"github.com/serin-cd/serin/pkg/judge/verdict"
	"github.com/serin-cd/serin/pkg/release"
	"github.com/serin-cd/serin/pkg/task/failure"
	"github.com/serin-cd/serin/pkg/task/run"
	"github.com/serin-cd/serin/pkg/task/step"
)

// Config says how a stage is judged.
type Config struct {
	Run              run.ID `env:", prefix=RUN_"`
	release.Patience        // for pods of the canary that are missing
	Routes           mesh.Selection
	Target           judge.Target
	Prometheus       prometheus.Config
	Judge            judge.Config
}

// NewAnalysis checks a configuration. It asks nobody, and reports to nobody.
func NewAnalysis(c Config) (Analysis, error) {
	j, err := judge.New(c.Judge, c.Target)
	if err == nil {
		err = c.Routes.Validate()
	}
	if err != nil {
		return Analysis{}, err
	}
	client, err := prometheus.New(c.Prometheus)
	return Analysis{
		Run: c.Run, Routes: c.Routes, Judge: j, Prometheus: client, Rollout: c.Judge.Rollout,
		Series: int(c.Judge.SeriesLimit), Grace: c.Deadline(),
		Report: func(verdict.Verdict) error { return nil },
	}, err
}

// Analysis is what the judging of a stage needs.
type Analysis struct {
	Run        run.ID
	Routes     mesh.Selection
	Judge      *judge.Judge
	Prometheus *prometheus.Client
	Rollout    string                      // stages as JSON; empty reads the run's record and acts on the verdict
	Report     func(verdict.Verdict) error // writes the verdict for people
	Series     int                         // that an answer may hold
	Grace      time.Duration               // how long fewer pods than wanted may be available
}

// Analyze judges until there is a verdict and writes it to the results. A rollout that was given is
// judged and nothing else: no cluster is asked and nothing is taken back.
func Analyze(ctx context.Context, a Analysis, out *step.Results) error {
	if a.Rollout != "" {
		return a.replay(ctx, out)
	}
	target := a.Judge.Target()
	r, err := release.Config{Run: a.Run, App: target.Canary, Routes: a.Routes}.Connect()
	if err != nil {
		return err
	}
	if target.Namespace != r.App.Namespace || target.Primary != r.App.Primary() {
		return failure.Configf("judging %s: namespace %q and primary %q, want the run's namespace %q and %q",
			r.App, target.Namespace, target.Primary, r.App.Namespace, r.App.Primary())
	}
	go r.Lease.KeepOn(ctx)
	a.Judge.Forecast = func(ctx context.Context, text string) { r.Events.Warningf(ctx, "%s", text) }
	v, err := Judge(ctx, r, a.Live(r.Cluster), a.Grace)
	return a.written(v, err, out)
}

func (a Analysis) replay(ctx context.Context, out *step.Results) error {
	stages, err := judge.ParseRollout(a.Rollout)
	if err != nil {
		return err
	}
	wall := clock.RealClock{}
	v, err := a.Judge.Judge(ctx, a.asker(stages, wall), wall, stages, nil)
	if err == nil {
		err = v.Err()
	}
	return a.written(v, err, out)
}

// timer tells the API server's time.
type timer interface {
	Now() time.Time
	After(time.Duration) <-chan time.Time
}

// Live judges stages whose times are the API server's. Where Prometheus's clock shows another time, it judges by that,
// and says so.
func (a Analysis) Live(server timer) Judging {
	return func(ctx context.Context, stages []run.Stage, onCheck func(verdict.Check)) (verdict.Verdict, error) {
		asker := a.asker(stages, server)
		now, err := asker.Now(ctx)
		if err != nil {
			return verdict.Verdict{}, fmt.Errorf("judging %s: %w", a.Judge.Target().Canary, err)
		}
		skew := judge.SkewOf(now, server.Now())
		if skew != 0 {
			slog.WarnContext(ctx, "clock-skew: Prometheus's clock is not the API server's",
				"ahead", time.Duration(skew).String())
		}
		v, err := a.Judge.Judge(ctx, asker, skew.On(server), skew.Stages(stages), onCheck)
		v.Warnings = slices.Insert(v.Warnings, 0, skew.Warnings()...)
		return v, err
	}
}

// asker asks Prometheus with patience up to a time on the clock that the stages' times are from.
func (a Analysis) asker(stages []run.Stage, from timer) *prometheus.Retrying {
	return a.Prometheus.Limited(a.Series).Retrying(a.Judge.Until(stages), from)
}

// written sets the results of a verdict, if there is one, and reports it, whatever the step ends with.
func (a Analysis) written(v verdict.Verdict, err error, out *step.Results) error {
	if v.Decision == verdict.Wait {
		return err
	}
	failed := v.Write(out)
	if line, bad := v.Line(); bad == nil {
		slog.Info("report", "json", line)
	}
	failed = errors.Join(failed, a.Report(v))
	if failed == nil {
		return err
	}
	if err == nil {
		return failed
	}
	return fmt.Errorf("%w; %w", err, failed)
}
