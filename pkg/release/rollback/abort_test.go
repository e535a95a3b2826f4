package rollback_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/serin-cd/serin/internal/apitest"
	"github.com/serin-cd/serin/internal/releasetest"
	"github.com/serin-cd/serin/pkg/judge/verdict"
	"github.com/serin-cd/serin/pkg/release"
	"github.com/serin-cd/serin/pkg/release/promote"
	"github.com/serin-cd/serin/pkg/release/record"
	"github.com/serin-cd/serin/pkg/release/rollback"
	"github.com/serin-cd/serin/pkg/release/stage"
	"github.com/serin-cd/serin/pkg/task/failure"
	"github.com/serin-cd/serin/pkg/task/run"
)

func TestMain(m *testing.M) { apitest.Main(m, apitest.Controllers) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// taken is version 2 taken back.
func taken(stages int) releasetest.State {
	return releasetest.State{Phase: run.Closed, Outcome: run.RolledBack, Stages: stages,
		Primary: releasetest.Image("1")}
}

func abort(t *testing.T, a *releasetest.App) (rollback.Aborted, string) {
	t.Helper()
	quiet := a.Run("observer").Drain
	done, err := rollback.Abort(t.Context(), a.Cluster, a.Run("observer").App, "aborted: for a test", time.Minute,
		func(r *release.Release) error {
			r.Drain = quiet
			return nil
		})
	must(t, err)
	var text bytes.Buffer
	done.Print(&text)
	return done, strings.ReplaceAll(text.String(), a.Namespace, "shop")
}

func TestAbortedWhileItIsJudged(t *testing.T) {
	a := releasetest.New(t)
	r := a.Second()
	must(t, stage.Shift(t.Context(), r, 40, time.Minute))
	judging, judged := make(chan struct{}), make(chan error)
	go func() {
		_, err := stage.Judge(t.Context(), r,
			func(ctx context.Context, _ []run.Stage, _ func(verdict.Check)) (verdict.Verdict, error) {
				close(judging)
				<-ctx.Done()
				return verdict.Verdict{}, context.Cause(ctx)
			}, time.Minute)
		judged <- err
	}()
	<-judging
	done, text := abort(t, a)
	want := rollback.Aborted{App: "podinfo." + a.Namespace, Run: r.ID.String(), Phase: run.Shifting, Weight: 40,
		Ended: true, Outcome: run.RolledBack, Reason: "aborted: for a test", Settled: true}
	if diff := cmp.Diff(want, done); diff != "" {
		t.Errorf("abort (-want +got):\n%s", diff)
	}
	if want := `podinfo.shop: run shop/second/uid-second was shifting, canary weight 40
podinfo.shop: all traffic to the primary, run ended: aborted: for a test
podinfo.shop: the canary is at rest
`; text != want {
		t.Errorf("printed\n%swant\n%s", text, want)
	}
	if err := <-judged; !errors.Is(err, failure.ErrInconclusive) ||
		!strings.Contains(err.Error(), "aborted: for a test") {
		t.Errorf("the stage ended with %v, want it inconclusive, with the reason", err)
	}
	a.Want(taken(1))
	if err := stage.Shift(t.Context(), r, 60, time.Minute); !errors.Is(err, record.ErrFenced) {
		t.Errorf("the next stage: %v, want it fenced", err)
	}
	if _, err := promote.Run(t.Context(), r, time.Second); !errors.Is(err, record.ErrFenced) {
		t.Errorf("the promotion: %v, want it fenced", err)
	}
	rec, err := rollback.Run(t.Context(), r, r.ID, "none", time.Second)
	must(t, err)
	if outcome, reason := rollback.Outcome(t.Context(), r, rec, true); outcome != run.RolledBack ||
		reason != "aborted: for a test" {
		t.Errorf("finish says %s: %s, want it rolled back, for the abort's reason", outcome, reason)
	}
	if _, text = abort(t,
		a); text != "podinfo.shop: run shop/second/uid-second had ended as rolled-back: aborted: for a "+
		"test\npodinfo.shop: the canary is at rest\n" {
		t.Errorf("again it printed %q", text)
	}
	a.Want(taken(1))
}

// TestAbortedBeforeEachWriteOfAPromotion wants a promotion that was undone not to end well.
func TestAbortedBeforeEachWriteOfAPromotion(t *testing.T) {
	for _, path := range []string{"first virtualservices/podinfo", "deployments/podinfo-primary",
		"virtualservices/podinfo"} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			a := releasetest.New(t)
			must(t, stage.Shift(t.Context(), a.Second(), 60, time.Minute))
			var once sync.Once
			var written atomic.Bool
			r := a.Run("second", releasetest.Before(func(q *http.Request) error {
				if q.Method == http.MethodPatch && strings.Contains(q.URL.Path, strings.TrimPrefix(path, "first ")) &&
					(written.Load() || path != "virtualservices/podinfo") {
					once.Do(func() { abort(t, a) })
				}
				if q.Method == http.MethodPatch && strings.Contains(q.URL.Path, "deployments/podinfo-primary") {
					written.Store(true)
				}
				return nil
			}))
			if _, err := promote.Run(t.Context(), r, time.Minute); err == nil {
				t.Error("the promotion ended well, want an error: it was undone")
			}
			a.Want(taken(1))
			_, err := rollback.Run(t.Context(), r, r.ID, "none", time.Minute)
			must(t, err)
			a.Want(taken(1))
		})
	}
}

// TestPromotedWhileItIsTakenBack has a rollback that has read a run as shifting, and finds it promoting when it writes.
func TestPromotedWhileItIsTakenBack(t *testing.T) {
	a := releasetest.New(t)
	must(t, stage.Shift(t.Context(), a.Second(), 60, time.Minute))
	var once sync.Once
	late := a.Run("second", releasetest.Before(func(q *http.Request) error {
		if q.Method == http.MethodPatch && strings.Contains(q.URL.Path, "virtualservices/") {
			once.Do(func() {
				killed := &releasetest.Process{Writes: 2} // the record is promoting, the primary is at version 2
				_, err := promote.Run(t.Context(), a.Run("second", killed.Through), time.Minute)
				if err == nil || a.State().Primary != releasetest.Image("2") {
					t.Errorf("promoting ended with %v, primary at %s, want it killed at version 2", err,
						a.State().Primary)
				}
			})
		}
		return nil
	}))
	_, err := rollback.Run(t.Context(), late, late.ID, "abandoned", time.Minute)
	must(t, err)
	a.Want(taken(1))
}

func TestAbortWithoutARun(t *testing.T) {
	a := releasetest.New(t)
	if done, text := abort(t, a); !done.Settled || text != "podinfo.shop: there is no run\n" {
		t.Errorf("printed %q, want that there is no run", text)
	}
}

// TestAbortWithoutRoute finds the run by the target's stamp.
func TestAbortWithoutRoute(t *testing.T) {
	a := releasetest.New(t)
	r := a.Second()
	must(t, stage.Shift(t.Context(), r, 40, time.Minute))
	a.DeleteRoute()
	done, _ := abort(t, a)
	if done.Run != r.ID.String() || done.Outcome != run.RolledBack || !done.Settled ||
		!strings.Contains(done.Reason, "VirtualService podinfo is gone") {
		t.Errorf("done %+v, want run %s rolled back, and the VirtualService named", done, r.ID)
	}
	if d := a.Deployment("podinfo"); *d.Spec.Replicas != 0 {
		t.Errorf("the target has %d replicas, want 0", *d.Spec.Replicas)
	}
	a.WantEvents("VirtualService podinfo.", "is gone: bringing run second to its end")
}

// TestAbortThatDoesNotWait gives the traffic back at once and leaves the canary's pods to the next who settles.
func TestAbortThatDoesNotWait(t *testing.T) {
	a := releasetest.New(t)
	r := a.Second()
	must(t, stage.Shift(t.Context(), r, 40, time.Minute))
	began := time.Now()
	done, err := rollback.Abort(t.Context(), a.Cluster, r.App, "aborted: for a test", time.Minute,
		func(r *release.Release) error {
			r.Drain = func(context.Context) error { return rollback.ErrLeft }
			return nil
		})
	must(t, err)
	if took := time.Since(began); took > time.Second || !done.Ended || done.Settled {
		t.Errorf("%+v after %s, want it ended within a second, and not settled", done, took)
	}
	left := taken(1)
	left.Target = 2
	a.Want(left)
	if _, err := rollback.Run(t.Context(), r, r.ID, "none", time.Minute); err != nil {
		t.Fatal(err)
	}
	a.Want(taken(1))
}
