package release_test

import (
	"context"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"

	"github.com/serin-cd/serin/internal/releasetest"
	"github.com/serin-cd/serin/pkg/release"
	"github.com/serin-cd/serin/pkg/release/prepare"
	"github.com/serin-cd/serin/pkg/release/promote"
	"github.com/serin-cd/serin/pkg/release/rollback"
	"github.com/serin-cd/serin/pkg/release/stage"
	"github.com/serin-cd/serin/pkg/task/parameter"
	"github.com/serin-cd/serin/pkg/task/run"
)

// beyond is more writes than any flow has; the tests find out how many it has.
const beyond = 40

func onePod(d *appsv1.Deployment) { *d.Spec.Replicas = 1 }

// everywhere runs a test for a process that dies after 0, 1, 2 … writes, until it gets through.
func everywhere(t *testing.T, test func(t *testing.T, writes int) (died bool)) {
	releasetest.Everywhere(t, beyond, test)
}

// TestFirstReleaseKilledAnywhere wants the application served after every single write, and the next run to complete.
func TestFirstReleaseKilledAnywhere(t *testing.T) { firstKilledAnywhere(t, false) }

// TestScaledFirstReleaseKilledAnywhere is the same of an application that KEDA scales.
func TestScaledFirstReleaseKilledAnywhere(t *testing.T) { firstKilledAnywhere(t, true) }

// newApplication has one pod, or as many as KEDA wants, and a Service.
func newApplication(t *testing.T, keda bool) *releasetest.App {
	a := releasetest.New(t, onePod)
	if keda {
		a.Apply(releasetest.ScaledObject)
		a.KEDA()
	}
	return a
}

// wantCopied wants KEDA to scale the primary and to leave the target, which is at rest, alone.
func wantCopied(t *testing.T, a *releasetest.App, keda bool) {
	t.Helper()
	if keda {
		wantAsleep(t, a, scaled)
		if got := a.Bounds(scaled, "podinfo-primary"); got != "2-5" {
			t.Errorf("the primary's bounds are %q, want 2-5", got)
		}
	}
}

func firstKilledAnywhere(t *testing.T, keda bool) {
	everywhere(t, func(t *testing.T, writes int) bool {
		a := newApplication(t, keda)
		a.ApexService()
		p := process(a, writes)
		_, err := a.Prepare(a.Run("killed", p.Through))
		if (err != nil) != p.Died() {
			t.Fatalf("died %v, but: %v", p.Died(), err)
		}
		must(t, a.Served(t.Context()))
		complete := err == nil || closed(t, a) == run.Initialized

		next := a.Run("next")
		outcome, err := a.Prepare(next)
		must(t, err)
		if want := map[bool]run.Outcome{true: run.Unchanged, false: run.Initialized}[complete]; outcome != want {
			t.Errorf("the next run's outcome %q, want %q", outcome, want)
		}
		must(t, a.Served(t.Context()))
		a.Want(releasetest.State{Phase: run.Closed, Outcome: run.Initialized, Primary: releasetest.Image("1")})
		wantCopied(t, a, keda)
		return p.Died()
	})
}

// process checks after each write that the application is served.
func process(a *releasetest.App, writes int) *releasetest.Process {
	return &releasetest.Process{Writes: writes, After: func() { a.MustBeServed() }}
}

// closed is the outcome of the last run, if it was closed.
func closed(t *testing.T, a *releasetest.App) run.Outcome {
	t.Helper()
	s, err := a.Run("observer").Fence.Read(t.Context())
	if err != nil || s.Record.Open() || s.Record == nil {
		return ""
	}
	return s.Record.Outcome
}

// whole releases version 2: prepare, 20, 40, promote.
func whole(ctx context.Context, r *release.Release) error {
	if _, _, err := prepare.Run(ctx, r, releasetest.Preparation()); err != nil {
		return err
	}
	for _, weight := range []parameter.Weight{20, 40} {
		if err := stage.Shift(ctx, r, weight, time.Minute); err != nil {
			return err
		}
	}
	_, err := promote.Run(ctx, r, time.Minute)
	return err
}

// TestReleaseKilledAnywhere has finish undo what the killed process left, and then another run release the same.
func TestReleaseKilledAnywhere(t *testing.T) { killedAnywhere(t, false) }

// TestScaledReleaseKilledAnywhere is the same of an application that KEDA scales.
func TestScaledReleaseKilledAnywhere(t *testing.T) { killedAnywhere(t, true) }

func killedAnywhere(t *testing.T, keda bool) {
	everywhere(t, func(t *testing.T, writes int) bool {
		a := newApplication(t, keda)
		a.First()
		a.Push("2")
		p := process(a, writes)
		err := whole(t.Context(), a.Run("killed", p.Through))
		if (err != nil) != p.Died() {
			t.Fatalf("died %v, but: %v", p.Died(), err)
		}
		must(t, a.Served(t.Context()))

		for range 2 { // finish is retried
			_, err = rollback.Run(t.Context(), a.Run("killed"), a.ID("killed"), "killed", time.Minute)
			must(t, err)
			wantRest(t, a, "killed")
			wantCopied(t, a, keda)
		}
		next := a.Run("next")
		if a.State().Primary == releasetest.Image("2") {
			outcome, err := a.Prepare(next)
			must(t, err)
			if outcome != run.Unchanged {
				t.Errorf("outcome %q after a promotion, want unchanged", outcome)
			}
			return p.Died()
		}
		must(t, whole(t.Context(), next))
		a.Want(releasetest.State{Phase: run.Closed, Outcome: run.Promoted, Stages: 2, Primary: releasetest.Image("2")})
		wantCopied(t, a, keda)
		return p.Died()
	})
}

// wantRest is what holds when a run has ended, wherever it was.
func wantRest(t *testing.T, a *releasetest.App, name string) {
	t.Helper()
	must(t, a.Served(t.Context()))
	s := a.State()
	// else the first release's record is still there
	mine := s.Stages > 0 || s.Outcome == run.RolledBack || s.Outcome == run.Promoted
	want := releasetest.State{Phase: run.Closed, Stages: s.Stages, Apex: "podinfo-primary", Outcome: run.Initialized,
		Primary: releasetest.Image("1"), Target: s.Target}
	switch {
	case s.Outcome == run.Promoted:
		want.Outcome, want.Primary = run.Promoted, releasetest.Image("2")
	case mine:
		want.Outcome = run.RolledBack
	}
	if s != want {
		t.Errorf("after run %s: %+v, want %+v", name, s, want)
	}
	if s.Target != 0 {
		t.Errorf("after run %s the target has %d replicas, want 0", name, s.Target)
	}
}

// TestNextRunTakesBackWhatWasKilled has no finish: the killed run's PipelineRun is gone, and so the next run is in its
// way.
func TestNextRunTakesBackWhatWasKilled(t *testing.T) {
	everywhere(t, func(t *testing.T, writes int) bool {
		a := releasetest.New(t, onePod)
		a.First()
		a.Push("2")
		p := process(a, writes)
		err := whole(t.Context(), a.Run("killed", p.Through))
		if (err != nil) != p.Died() {
			t.Fatalf("died %v, but: %v", p.Died(), err)
		}
		a.Push("3")
		must(t, whole(t.Context(), a.Run("next")))
		a.Want(releasetest.State{Phase: run.Closed, Outcome: run.Promoted, Stages: 2, Primary: releasetest.Image("3")})
		return p.Died()
	})
}

// TestAnswersLostEverywhere loses the answer to every write of a whole release.
func TestAnswersLostEverywhere(t *testing.T) {
	a := releasetest.New(t)
	if _, err := a.Prepare(a.Run("first", releasetest.Losing())); err != nil {
		t.Fatalf("first release: %v", err)
	}
	a.Push("2")
	must(t, whole(t.Context(), a.Run("second", releasetest.Losing())))
	a.Want(releasetest.State{Phase: run.Closed, Outcome: run.Promoted, Stages: 2, Primary: releasetest.Image("2")})
	if n := len(a.ReplicaSets("podinfo-primary")); n != 2 {
		t.Errorf("the primary has %d ReplicaSets, want 2", n)
	}
}
