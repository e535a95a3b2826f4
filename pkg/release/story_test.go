package release_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/serin-cd/serin/internal/apitest"
	"github.com/serin-cd/serin/internal/releasetest"
	"github.com/serin-cd/serin/pkg/judge/verdict"
	"github.com/serin-cd/serin/pkg/release/promote"
	"github.com/serin-cd/serin/pkg/release/record"
	"github.com/serin-cd/serin/pkg/release/rollback"
	"github.com/serin-cd/serin/pkg/release/stage"
	"github.com/serin-cd/serin/pkg/task/failure"
	"github.com/serin-cd/serin/pkg/task/parameter"
	"github.com/serin-cd/serin/pkg/task/run"
)

func TestMain(m *testing.M) { apitest.Main(m, apitest.Controllers) }

// state is the state of version 1 with a run on.
func state(phase run.Phase, weight parameter.Weight, target int32, stages int) releasetest.State {
	return releasetest.State{Phase: phase, Weight: weight, Target: target, Stages: stages,
		Primary: releasetest.Image("1")}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestFirstReleaseThenPromotion(t *testing.T) {
	a := releasetest.New(t)
	a.First()
	outcome, err := a.Prepare(a.Run("again"))
	must(t, err)
	if outcome != run.Unchanged {
		t.Errorf("the same revision again: outcome %q, want unchanged", outcome)
	}

	a.Push("2")
	r := a.Run("second")
	_, err = a.Prepare(r)
	must(t, err)
	a.Want(state(run.Preparing, 0, 2, 0))
	for i, weight := range []parameter.Weight{20, 40, 60} {
		must(t, stage.Shift(t.Context(), r, weight, time.Minute))
		must(t, stage.Shift(t.Context(), r, weight, time.Minute)) // twice is once
		a.Want(state(run.Shifting, weight, 2, i+1))
	}
	for range 2 {
		_, err = promote.Run(t.Context(), r, 10*time.Second)
		must(t, err)
		a.Want(releasetest.State{Phase: run.Closed, Outcome: run.Promoted, Primary: releasetest.Image("2"), Stages: 3})
	}
	rec, err := rollback.Run(t.Context(), r, r.ID, "none", 10*time.Second)
	must(t, err)
	if rec.Outcome != run.Promoted {
		t.Errorf("finish after a promotion: outcome %q, want promoted", rec.Outcome)
	}
	if err := stage.Shift(t.Context(), r, 20, time.Minute); !errors.Is(err, record.ErrFenced) {
		t.Errorf("a late shift: %v, want it fenced", err)
	}
	a.WantEvents(
		"Initialization done! podinfo.", "New revision detected! Scaling up podinfo.",
		"Starting canary analysis for podinfo.",
		"Advance podinfo.", "canary weight 20", "canary weight 40", "canary weight 60", "Copying podinfo.",
		"Routing all traffic to primary", "Promotion completed! Scaling down podinfo.")
}

func TestBadRevisionIsTakenBack(t *testing.T) {
	a := releasetest.New(t)
	r := a.Second()
	must(t, stage.Shift(t.Context(), r, 20, time.Minute))
	_, err := stage.Judge(t.Context(), r, func(_ context.Context, stages []run.Stage,
		_ func(verdict.Check)) (verdict.Verdict, error) {
		return verdict.Verdict{Decision: verdict.Fail, Code: "threshold", Text: "5 of 5 checks failed", Stages: stages},
			nil
	}, time.Minute)
	if !errors.Is(err, failure.ErrRejected) {
		t.Errorf("judged as failed: %v, want it rejected", err)
	}
	want := state(run.Closed, 0, 2, 1)
	want.Outcome = run.RolledBack
	a.Want(want)
	want.Target = 0
	for range 2 {
		record, err := rollback.Run(t.Context(), r, r.ID, "none", 10*time.Second)
		must(t, err)
		if record.Reason != "threshold: 5 of 5 checks failed" {
			t.Errorf("reason %q, want the verdict's", record.Reason)
		}
		a.Want(want)
	}
}
