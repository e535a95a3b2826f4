package promote_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/serin-cd/serin/internal/apitest"
	"github.com/serin-cd/serin/internal/releasetest"
	"github.com/serin-cd/serin/pkg/release"
	"github.com/serin-cd/serin/pkg/release/promote"
	"github.com/serin-cd/serin/pkg/release/record"
	"github.com/serin-cd/serin/pkg/release/rollback"
	"github.com/serin-cd/serin/pkg/release/stage"
	"github.com/serin-cd/serin/pkg/task/failure"
	"github.com/serin-cd/serin/pkg/task/run"
)

func TestMain(m *testing.M) {
	*promote.Reconnect = 8 * time.Second
	apitest.Main(m, apitest.Controllers)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// at is a release of version 2 whose stages have passed.
func at(t *testing.T) (*releasetest.App, *release.Release) {
	t.Helper()
	a := releasetest.New(t)
	r := a.Second()
	must(t, stage.Shift(t.Context(), r, 40, time.Minute))
	return a, r
}

var promoted = releasetest.State{Phase: run.Closed, Outcome: run.Promoted, Stages: 1, Primary: releasetest.Image("2")}

func TestPromotion(t *testing.T) {
	a, r := at(t)
	revision := a.Deployment("podinfo-primary").Annotations["serin.dev/revision"]
	for range 2 {
		got, err := promote.Run(t.Context(), r, time.Minute)
		must(t, err)
		a.Want(promoted)
		primary := a.Deployment("podinfo-primary")
		if now := primary.Annotations["serin.dev/revision"]; now != got || now == revision {
			t.Errorf("revision %s on the primary, %s returned, want both the new one, not %s", now, got, revision)
		}
		for _, name := range []string{"podinfo", "podinfo-primary"} {
			if stamp := a.Deployment(name).Annotations["serin.dev/run"]; stamp != r.ID.String() {
				t.Errorf("stamp %q on %s, want %q", stamp, name, r.ID)
			}
		}
	}
	a.WantEvents("Copying podinfo.", "template spec to podinfo-primary.", "Routing all traffic to primary",
		"Promotion completed! Scaling down podinfo.")
}

// TestPromotionReadsTheTargetOnce counts what a release costs the API server.
func TestPromotionReadsTheTargetOnce(t *testing.T) {
	a, _ := at(t)
	reads := 0
	r := a.Run("second", releasetest.Before(func(r *http.Request) error {
		if r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/deployments/podinfo") {
			reads++
		}
		return nil
	}))
	_, err := promote.Run(t.Context(), r, time.Minute)
	must(t, err)
	a.Want(promoted)
	if reads != 1 {
		t.Errorf("the target was read %d times, want once", reads)
	}
}

func TestPrimaryNeverReadyIsRejectedAndUndone(t *testing.T) {
	a, r := at(t)
	a.Node.Label("app=podinfo-primary", apitest.Unready)
	_, err := promote.Run(t.Context(), r, time.Second)
	if failure.Code(err) != failure.ExitRejected ||
		!strings.Contains(err.Error(), "Deployment podinfo-primary is not ready after 1s") {
		t.Errorf("error %v (exit %d), want the primary named and exit %d", err, failure.Code(err), failure.ExitRejected)
	}
	a.Want(releasetest.State{Weight: 40, Phase: run.Promoting, Target: 2, Stages: 1, Primary: releasetest.Image("2")})

	if _, err := rollback.Run(t.Context(), r, r.ID, "the promotion failed", time.Second); err == nil {
		t.Error("rolled back although the restored primary is not ready, want an error")
	}
	// being undone
	a.Want(releasetest.State{Weight: 40, Phase: run.Promoting, Outcome: run.RolledBack, Target: 2, Stages: 1,
		Primary: releasetest.Image("1")})

	a.Node.Label("app=podinfo-primary", apitest.Ready)
	for range 2 {
		rec, err := rollback.Run(t.Context(), r, r.ID, "the promotion failed", time.Minute)
		must(t, err)
		if rec.Outcome != run.RolledBack || rec.Reason != "the promotion failed" {
			t.Errorf("record %s, want it rolled back for that reason", rec)
		}
		a.Want(releasetest.State{Phase: run.Closed, Outcome: run.RolledBack, Stages: 1,
			Primary: releasetest.Image("1")})
	}
	primary := a.Deployment("podinfo-primary")
	if got := primary.Annotations["serin.dev/revision"]; !primaryRuns(a, "1") ||
		got == a.Deployment("podinfo").Annotations["serin.dev/revision"] {
		t.Errorf("primary's revision %q, want the one of version 1", got)
	}
	if err := rollback.Settled(t.Context(), r); err != nil {
		t.Errorf("settled: %v, want it so", err)
	}
}

// primaryRuns says whether all of the primary's pods are ready and of a version.
func primaryRuns(a *releasetest.App, version string) bool {
	d := a.Deployment("podinfo-primary")
	return d.Status.ObservedGeneration >= d.Generation && d.Status.UpdatedReplicas == 2 &&
		d.Status.AvailableReplicas == 2 &&
		d.Spec.Template.Spec.Containers[0].Image == releasetest.Image(version)
}

func TestPromotionRefusesAndTakesBack(t *testing.T) {
	cases := map[string]struct {
		spoil func(*releasetest.App)
		code  int
		text  string
	}{
		"target changed": {func(a *releasetest.App) { a.Push("3") }, failure.ExitInconclusive,
			"the run releases "},
		"no pod of the canary": {func(a *releasetest.App) {
			a.Node.Image(releasetest.Image("2"), apitest.Unready)
			a.Eventually("no pod is available",
				func() bool { return a.Deployment("podinfo").Status.AvailableReplicas == 0 })
		}, failure.ExitRejected, "promoting podinfo."},
		"target deleted": {func(a *releasetest.App) { a.Delete("podinfo") }, failure.ExitConfig,
			"there is none in namespace"},
		"route edited": {func(a *releasetest.App) {
			a.Route("argocd",
				`[{"op":"replace","path":"/spec/http/0/route/0/weight","value":50},{"op":"add","path":"/spec/http/0/route/1/weight","value":50}]`)
		}, failure.ExitError, "argocd wrote it"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, r := at(t)
			c.spoil(a)
			_, err := promote.Run(t.Context(), r, time.Minute)
			if failure.Code(err) != c.code || !strings.Contains(err.Error(), c.text) {
				t.Errorf("error %v (exit %d), want %q in it and exit %d", err, failure.Code(err), c.text, c.code)
			}
			s, err := r.Fence.Read(t.Context())
			must(t, err)
			if s.Weight() != 0 || s.Record.Phase != run.Closed || s.Record.Outcome != run.RolledBack ||
				!primaryRuns(a, "1") {
				t.Errorf("weight %d, record %s, want 0 and closed, the primary as it was", s.Weight(), s.Record)
			}
		})
	}
}

func TestPromotionOfAnothersRun(t *testing.T) {
	a, _ := at(t)
	if _, err := promote.Run(t.Context(), a.Run("other"), time.Second); !errors.Is(err, record.ErrFenced) {
		t.Errorf("error %v, want it fenced", err)
	}
	a.Want(releasetest.State{Weight: 40, Phase: run.Shifting, Target: 2, Stages: 1, Primary: releasetest.Image("1")})
}

// TestTargetChangesWhilePromoting loses its traffic at once; what was judged is promoted.
func TestTargetChangesWhilePromoting(t *testing.T) {
	cases := map[string]func(*releasetest.App){
		"another revision": func(a *releasetest.App) { a.Push("3") },
		"pods gone":        func(a *releasetest.App) { a.Node.Label("app=podinfo", apitest.Unready) },
	}
	for name, spoil := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, r := at(t)
			a.Node.Label("app=podinfo-primary", apitest.Unready)
			done := make(chan error)
			go func() {
				_, err := promote.Run(t.Context(), r, time.Minute)
				done <- err
			}()
			a.Eventually("the primary is changed", func() bool {
				return a.Deployment("podinfo-primary").Spec.Template.Spec.Containers[0].Image == releasetest.Image("2")
			})
			spoil(a)
			a.Eventually("the canary has no traffic",
				func() bool { s := a.State(); return s.Weight == 0 && s.Phase == run.Promoting })
			a.Node.Label("app=podinfo-primary", apitest.Ready)
			must(t, <-done)
			want := promoted
			want.Stages = 2
			a.Want(want)
		})
	}
}

// TestPromotionInterrupted is stopped while the primary rolls out: it stays promoting, and its second try completes.
func TestPromotionInterrupted(t *testing.T) {
	a, r := at(t)
	a.Node.Label("app=podinfo-primary", apitest.Unready)
	ctx, stop := context.WithCancel(t.Context())
	late := a.Run("second", releasetest.OnWrite("/deployments/podinfo-primary",
		func() { time.AfterFunc(300*time.Millisecond, stop) }))
	if _, err := promote.Run(ctx, late, time.Minute); failure.Code(err) != failure.ExitError ||
		!errors.Is(err, context.Canceled) {
		t.Errorf("error %v (exit %d), want %v", err, failure.Code(err), context.Canceled)
	}
	a.Want(releasetest.State{Weight: 40, Phase: run.Promoting, Target: 2, Stages: 1, Primary: releasetest.Image("2")})
	a.Node.Label("app=podinfo-primary", apitest.Ready)
	_, err := promote.Run(t.Context(), r, time.Minute)
	must(t, err)
	a.Want(promoted)
}

// TestPromotionInterruptedInFlight is stopped while the change of the primary is on its way, and does not wait for
// somebody to undo it.
func TestPromotionInterruptedInFlight(t *testing.T) {
	cases := map[string]func(stop func()) func(http.RoundTripper) http.RoundTripper{
		"not arrived": func(stop func()) func(http.RoundTripper) http.RoundTripper {
			return releasetest.OnWrite("/deployments/podinfo-primary", stop)
		},
		"arrived": func(stop func()) func(http.RoundTripper) http.RoundTripper {
			return func(next http.RoundTripper) http.RoundTripper { return unanswered{next, stop} }
		},
	}
	for name, wrap := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, _ := at(t)
			ctx, stop := context.WithCancel(t.Context())
			stopped := a.Run("second", wrap(stop))
			if _, err := promote.Run(ctx, stopped, time.Minute); failure.Code(err) != failure.ExitError ||
				!errors.Is(err, context.Canceled) {
				t.Errorf("error %v (exit %d), want %v", err, failure.Code(err), context.Canceled)
			}
			a.Want(releasetest.State{Phase: run.Closed, Outcome: run.RolledBack, Target: 2, Stages: 1,
				Primary: releasetest.Image("1")})
		})
	}
}

// unanswered is a step that is stopped before it gets the answer to its first change of the primary.
type unanswered struct {
	next http.RoundTripper
	stop func()
}

func (u unanswered) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := u.next.RoundTrip(r)
	if r.Context().Err() == nil && releasetest.Writes(r) &&
		strings.HasSuffix(r.URL.Path, "/deployments/podinfo-primary") && err == nil {
		u.stop()
		if err := r.Context().Err(); err != nil { // a later one has a context of its own
			answer.Body.Close()
			return nil, err
		}
	}
	return answer, err
}

// TestSecondTryOverAnEditedRoute must not call a run rolled back whose primary has changed.
func TestSecondTryOverAnEditedRoute(t *testing.T) {
	a, r := at(t)
	a.Node.Label("app=podinfo-primary", apitest.Unready)
	_, err := promote.Run(t.Context(), r, 300*time.Millisecond)
	if failure.Code(err) != failure.ExitRejected {
		t.Fatal(err)
	}
	a.Route("argocd",
		`[{"op":"replace","path":"/spec/http/0/route/0/weight","value":50},{"op":"add","path":"/spec/http/0/route/1/weight","value":50}]`)
	if _, err := promote.Run(t.Context(), r, 300*time.Millisecond); err == nil {
		t.Error("promoted over a route that somebody edited, want an error")
	}
	if s := a.State(); s.Phase != run.Promoting {
		t.Errorf("state %+v, want it promoting still: rollback restores the primary first", s)
	}
	a.Node.Label("app=podinfo-primary", apitest.Ready)
	_, err = rollback.Run(t.Context(), r, r.ID, "the promotion failed", time.Minute)
	must(t, err)
	a.Want(releasetest.State{Phase: run.Closed, Outcome: run.RolledBack, Stages: 1, Primary: releasetest.Image("1")})
}

// TestRolledBackWhilePromoting has another process undo the promotion while this one waits for the primary.
func TestRolledBackWhilePromoting(t *testing.T) {
	a, r := at(t)
	a.UnreadyPrimary("2")
	done := make(chan error)
	go func() {
		_, err := promote.Run(t.Context(), r, time.Minute)
		done <- err
	}()
	a.Eventually("the primary is changed", func() bool {
		return a.Deployment("podinfo-primary").Spec.Template.Spec.Containers[0].Image == releasetest.Image("2")
	})
	_, err := rollback.Run(t.Context(), a.Run("second"), r.ID, "aborted", time.Minute)
	must(t, err)
	if err := <-done; err == nil {
		t.Error("the promotion that was undone says that it promoted, want an error")
	}
	a.Want(releasetest.State{Phase: run.Closed, Outcome: run.RolledBack, Stages: 1, Primary: releasetest.Image("1")})
	for _, e := range a.Events() {
		if strings.HasPrefix(e, "Promotion completed!") {
			t.Errorf("event %q of a promotion that was undone", e)
		}
	}
}

// TestLatePromotionIsFenced has the rollback come between the promotion's read and its patch of the primary.
func TestLatePromotionIsFenced(t *testing.T) {
	a, r := at(t)
	late := a.Run("second", releasetest.OnWrite("/deployments/podinfo-primary", func() {
		_, err := rollback.Run(t.Context(), r, r.ID, "aborted", time.Minute)
		if err != nil {
			t.Error(err)
		}
	}))
	_, err := promote.Run(t.Context(), late, time.Minute)
	if err == nil {
		t.Error("promoted after it was rolled back, want an error")
	}
	a.Want(releasetest.State{Phase: run.Closed, Outcome: run.RolledBack, Stages: 1, Primary: releasetest.Image("1")})
}
