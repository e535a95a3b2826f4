package release_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/serin-cd/serin/internal/apitest"
	"github.com/serin-cd/serin/internal/releasetest"
	"github.com/serin-cd/serin/pkg/release"
	"github.com/serin-cd/serin/pkg/release/janitor"
	"github.com/serin-cd/serin/pkg/release/prepare"
	"github.com/serin-cd/serin/pkg/release/promote"
	"github.com/serin-cd/serin/pkg/release/record"
	"github.com/serin-cd/serin/pkg/release/rollback"
	"github.com/serin-cd/serin/pkg/release/stage"
	"github.com/serin-cd/serin/pkg/task/failure"
	"github.com/serin-cd/serin/pkg/task/parameter"
	"github.com/serin-cd/serin/pkg/task/run"
)

// skip prepares a run that goes without analysis, to a revision if that is not empty.
func skip(t *testing.T, a *releasetest.App, name, to string) (*release.Release, run.Outcome, error) {
	t.Helper()
	r := a.Run(name)
	p := releasetest.Preparation()
	p.SkipAnalysis, p.ToRevision = "ann: checkout is broken", to
	outcome, _, err := prepare.Run(t.Context(), r, p)
	return r, outcome, err
}

// wentTo plays a run that goes back, and wants the primary at a version.
func wentTo(t *testing.T, a *releasetest.App, name, to, version string) {
	t.Helper()
	r, outcome, err := skip(t, a, name, to)
	must(t, err)
	if outcome != prepare.Promote {
		t.Fatalf("going back to %s: outcome %q, want %q", to, outcome, prepare.Promote)
	}
	for range 2 {
		_, err = promote.Run(t.Context(), r, time.Minute)
		must(t, err)
		a.Want(releasetest.State{Phase: run.Closed, Outcome: run.Promoted, Primary: releasetest.Image(version)})
	}
	rec, err := rollback.Run(t.Context(), r, r.ID, "none", time.Minute)
	must(t, err)
	if rec.Reason != "released without analysis by ann: checkout is broken" || rec.Verdict != "" {
		t.Errorf("reason %q, verdict %q, want who released it and no verdict", rec.Reason, rec.Verdict)
	}
}

// released plays a release that passes its only stage.
func released(t *testing.T, a *releasetest.App, name, version string) {
	t.Helper()
	a.Push(version)
	r := a.Run(name)
	_, err := a.Prepare(r)
	must(t, err)
	must(t, stage.Shift(t.Context(), r, 50, time.Minute))
	_, err = promote.Run(t.Context(), r, time.Minute)
	must(t, err)
}

// TestGoingBack goes to the release before, not to a canary that failed, and to the one that was gone from when asked
// again; and to any that a ReplicaSet has.
func TestGoingBack(t *testing.T) {
	a := releasetest.New(t)
	a.First()
	released(t, a, "second", "2")
	second := a.Deployment("podinfo-primary").Annotations["serin.dev/revision"]
	a.Push("3")
	bad := a.Run("bad")
	_, err := a.Prepare(bad)
	must(t, err)
	_, err = rollback.Run(t.Context(), bad, bad.ID, "bad", time.Minute)
	must(t, err)

	wentTo(t, a, "back", prepare.Previous, "1")
	wentTo(t, a, "forth", prepare.Previous, "2")
	released(t, a, "fourth", "4")
	wentTo(t, a, "named", second[:8], "2")
	a.WantEvents("Going back to revision "+second[:12], "Releasing podinfo.",
		"without analysis: ann: checkout is broken")
}

func TestGoingBackToTheRevisionThatServes(t *testing.T) {
	a := releasetest.New(t)
	a.First()
	serving := a.Deployment("podinfo-primary").Annotations["serin.dev/revision"]
	a.Push("2")
	_, outcome, err := skip(t, a, "back", serving[:6])
	must(t, err)
	if outcome != run.Unchanged {
		t.Errorf("outcome %q, want %q", outcome, run.Unchanged)
	}
	a.Want(releasetest.State{Phase: run.Closed, Outcome: run.Initialized, Primary: releasetest.Image("1")})
	if got := a.Deployment("podinfo").Spec.Template.Spec.Containers[0].Image; got != releasetest.Image("1") {
		t.Errorf("the target has %s, want version 1: it was gone back to", got)
	}
}

func TestRevisionsThatCannotBeGoneBackTo(t *testing.T) {
	a := releasetest.New(t)
	if _, _, err := skip(t, a, "first", prepare.Previous); !errors.Is(err, failure.ErrConfig) ||
		!strings.Contains(err.Error(), "was never released") {
		t.Errorf("before the first release: %v, want a refusal", err)
	}
	a.First()
	for to, want := range map[string]string{
		prepare.Previous: "Deployment podinfo-primary does not tell which revision it ran before",
		"abc":            `reading to-revision: "abc", want previous, or at least 6 hex digits`,
		"nothex":         `reading to-revision: "nothex", want previous, or at least 6 hex digits`,
		"000000":         "0 revisions begin with 000000, want 1; there are ",
	} {
		before := a.Deployment("podinfo").Generation
		_, _, err := skip(t, a, "back", to)
		if !errors.Is(err, failure.ErrConfig) || !strings.Contains(err.Error(), want) {
			t.Errorf("to %s: %v, want %q", to, err, want)
		}
		if a.Deployment("podinfo").Generation != before {
			t.Errorf("to %s: the target was changed", to)
		}
	}
	p := releasetest.Preparation()
	p.ToRevision, p.Image = prepare.Previous, parameter.Image(releasetest.Image("2"))
	if _, _, err := prepare.Run(t.Context(), a.Run("both"), p); !errors.Is(err, failure.ErrConfig) {
		t.Errorf("with an image and a revision: %v, want a refusal", err)
	}
}

// TestUrgentFix wants a canary that needs no verdict promoted without one, and never sent to: nobody waits for a drain.
func TestUrgentFix(t *testing.T) {
	a := releasetest.New(t)
	a.First()
	a.Push("2")
	r, outcome, err := skip(t, a, "urgent", "")
	must(t, err)
	if outcome != prepare.Promote {
		t.Fatalf("outcome %q, want %q", outcome, prepare.Promote)
	}
	if err := stage.Shift(t.Context(), r, 20, time.Minute); !errors.Is(err, record.ErrFenced) {
		t.Errorf("traffic for a canary that nobody judges: %v, want it fenced", err)
	}
	r.Drain = func(context.Context) error { return errors.New("drained") }
	_, err = promote.Run(t.Context(), r, time.Minute)
	must(t, err)
	a.Want(releasetest.State{Phase: run.Closed, Outcome: run.Promoted, Primary: releasetest.Image("2")})
}

// TestUrgentFixThatDoesNotStart leaves the primary as it was.
func TestUrgentFixThatDoesNotStart(t *testing.T) {
	a := releasetest.New(t)
	a.First()
	a.Node.Image(releasetest.Image("2"), apitest.Unready)
	a.Push("2")
	r := a.Run("urgent")
	p := releasetest.Preparation()
	p.SkipAnalysis, p.Deadline = "ann: urgent", time.Second
	if _, _, err := prepare.Run(t.Context(), r, p); !errors.Is(err, failure.ErrRejected) {
		t.Errorf("a fix that does not start: %v, want it rejected", err)
	}
	_, err := rollback.Run(t.Context(), r, r.ID, "none", time.Minute)
	must(t, err)
	a.Want(releasetest.State{Phase: run.Closed, Outcome: run.RolledBack, Primary: releasetest.Image("1")})
}

// TestJudgedRunIsNotPromotedBeforeAStage: only a run that was begun without analysis may leave the stages out.
func TestJudgedRunIsNotPromotedBeforeAStage(t *testing.T) {
	a := releasetest.New(t)
	r := a.Second()
	if _, err := promote.Run(t.Context(), r, time.Minute); !errors.Is(err, record.ErrFenced) {
		t.Errorf("promoted without a stage: %v, want it fenced", err)
	}
}

// TestFailedCanaryIsKept wants the pods of a canary that failed up for as long as somebody wants to look at them, and
// the janitor to end that.
func TestFailedCanaryIsKept(t *testing.T) {
	a := releasetest.New(t)
	a.First()
	a.Push("2")
	r := a.PipelineRun("bad")
	_, err := a.Prepare(r)
	must(t, err)
	must(t, stage.Shift(t.Context(), r, 20, time.Minute))
	r.Keep = time.Hour
	want := state(run.Closed, 0, 2, 1)
	want.Outcome = run.RolledBack
	for range 2 {
		_, err = rollback.Run(t.Context(), r, r.ID, "bad", time.Minute)
		must(t, err)
		must(t, rollback.Settled(t.Context(), r))
		a.Want(want)
	}
	a.Finish("bad")
	j := janitor.Janitor{Cluster: a.Cluster, Namespace: a.Namespace, Deadline: time.Minute,
		Drain: func(r *release.Release) error {
			r.Drain = func(context.Context) error { return nil }
			return nil
		}}
	must(t, j.Sweep(t.Context()))
	a.Want(want)

	a.Patch("podinfo", "clock", fmt.Sprintf(`[{"op":"replace","path":"/metadata/annotations/serin.dev~1keep-until",`+
		`"value":%q}]`, time.Now().Add(-time.Second).UTC().Format(time.RFC3339)))
	must(t, j.Sweep(t.Context()))
	want.Target = 0
	a.Want(want)
	if kept, there := a.Deployment("podinfo").Annotations["serin.dev/keep-until"]; there {
		t.Errorf("pods are at rest, and to be kept until %s", kept)
	}
	a.WantEvents("Canary failed! Keeping the pods of podinfo.")
}

// TestNextRunDoesNotKeepWhatWasKept wants the pods of the run after it gone as its own parameters say.
func TestNextRunDoesNotKeepWhatWasKept(t *testing.T) {
	a := releasetest.New(t)
	r := a.Second()
	r.Keep = time.Hour
	_, err := rollback.Run(t.Context(), r, r.ID, "bad", time.Minute)
	must(t, err)
	released(t, a, "third", "3")
	a.Want(releasetest.State{Phase: run.Closed, Outcome: run.Promoted, Primary: releasetest.Image("3"), Stages: 1})
}
