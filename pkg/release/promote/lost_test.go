package promote_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serin-cd/serin/internal/apitest"
	"github.com/serin-cd/serin/internal/releasetest"
	"github.com/serin-cd/serin/pkg/release/promote"
	"github.com/serin-cd/serin/pkg/release/record"
	"github.com/serin-cd/serin/pkg/release/rollback"
	"github.com/serin-cd/serin/pkg/task/failure"
	"github.com/serin-cd/serin/pkg/task/run"
)

// promoting is a promotion whose primary is changed, and not ready yet.
func promoting(t *testing.T, before ...func(*releasetest.App)) (a *releasetest.App, ended <-chan error) {
	t.Helper()
	a, r := at(t)
	for _, arrange := range before {
		arrange(a)
	}
	a.Node.Label("app=podinfo-primary", apitest.Unready)
	done := make(chan error, 1)
	go func() {
		_, err := promote.Run(t.Context(), r, time.Minute)
		done <- err
	}()
	a.Eventually("the primary is changed", func() bool {
		return a.Deployment("podinfo-primary").Spec.Template.Spec.Containers[0].Image == releasetest.Image("2")
	})
	return a, done
}

// TestRouteDeletedWhilePromoting wants callers served at once, and the promotion completed.
func TestRouteDeletedWhilePromoting(t *testing.T) {
	a, ended := promoting(t)
	a.DeleteRoute()
	begin := time.Now()
	a.Eventually("there is a route, with the run as it was", func() bool {
		s, err := a.Run("observer").Fence.Read(t.Context())
		return err == nil && s.Weight() == 0 && s.Record != nil && s.Record.Phase == run.Promoting
	})
	t.Logf("made again after %s", time.Since(begin).Round(time.Millisecond))
	a.Node.Label("app=podinfo-primary", apitest.Ready)
	must(t, <-ended)
	want := promoted
	want.Stages = 2
	a.Want(want)
}

// TestRouteDeletedBeforeAPromotionIsClosed has nobody watch the route any more.
func TestRouteDeletedBeforeAPromotionIsClosed(t *testing.T) {
	a, _ := at(t)
	patches := 0
	r := a.Run("second", releasetest.Before(func(q *http.Request) error {
		if q.Method == http.MethodPatch && strings.HasSuffix(q.URL.Path, "/virtualservices/podinfo") {
			if patches++; patches == 2 { // the first one said that it is promoting
				a.DeleteRoute()
			}
		}
		return nil
	}))
	_, err := promote.Run(t.Context(), r, time.Minute)
	must(t, err)
	a.Want(promoted)
	if s, err := r.Fence.Read(t.Context()); err != nil ||
		!strings.HasPrefix(s.Record.Reason, "every stage passed; VirtualService podinfo was deleted") ||
		s.Record.Previous == "" {
		t.Errorf("record %v (%v), want it whole, and what had happened", s.Record, err)
	}
}

// TestRouteOfOthersDeletedWhilePromoting leaves the primary at what was judged, and says so.
func TestRouteOfOthersDeletedWhilePromoting(t *testing.T) {
	a, ended := promoting(t, func(a *releasetest.App) {
		a.Route("helm", `[{"op":"remove","path":"/metadata/labels/serin.dev~1app"}]`)
	})
	a.DeleteRoute()
	a.Node.Label("app=podinfo-primary", apitest.Ready)
	if err := <-ended; failure.Code(err) != failure.ExitConfig ||
		!strings.Contains(err.Error(),
			"ready, but VirtualService podinfo was deleted, by whom is not known; Serin had not made it: apply it "+
				"again") {
		t.Errorf("error %v, want what is, what is missing, and what to do", err)
	}
	r := a.Run("second")
	for range 2 {
		rec, err := rollback.Run(t.Context(), r, r.ID, "the promotion failed", time.Minute)
		must(t, err)
		if outcome, reason := rollback.Outcome(t.Context(), r, rec, true); outcome != run.Promoted ||
			!strings.Contains(reason, "VirtualService podinfo is gone") {
			t.Errorf("finish says %s: %s, want promoted, and that the VirtualService is gone", outcome, reason)
		}
		if replicas := *a.Deployment("podinfo").Spec.Replicas; replicas != 0 || !primaryRuns(a, "2") {
			t.Errorf("the target has %d replicas, want 0, and the primary at version 2, ready", replicas)
		}
	}
	outcome, err := a.Prepare(a.Run("next"))
	must(t, err)
	if outcome != run.Unchanged {
		t.Errorf("the next run: %s, want unchanged", outcome)
	}
	a.Want(releasetest.State{Primary: releasetest.Image("2")})
}

// TestPromotionLeftWithoutARecord has the step die while the primary is half changed, and the record, or all of the
// route, lost.
func TestPromotionLeftWithoutARecord(t *testing.T) {
	cases := map[string]struct {
		lose   func(*releasetest.App)
		ready  bool // the primary, before anybody comes
		reason string
		want   releasetest.State
	}{
		"record broken": {func(a *releasetest.App) { a.Record("kubectl-edit", "?") }, false,
			"the promotion failed; reading the record of a run: invalid character '?' looking for beginning of " +
				"value (kubectl-edit wrote it)", releasetest.State{Phase: run.Closed, Outcome: run.RolledBack,
				Primary: releasetest.Image("1")}},
		"record broken, complete": {func(a *releasetest.App) { a.Record("kubectl-edit", "?") }, true,
			"the primary runs the revision; reading the record of a run: invalid character",
			releasetest.State{Phase: run.Closed, Outcome: run.Promoted, Primary: releasetest.Image("2")}},
		"id of another": {func(a *releasetest.App) {
			a.Record("kubectl-edit",
				`{"id":"shop/other/uid","phase":"shifting","phases":[{"weight":40,"at":"2026-11-23T12:00:00Z"}]}`)
		}, false, "the record names run shop/other/uid, phase shifting, canary weight 40: kubectl-edit wrote it",
			releasetest.State{Phase: run.Closed, Outcome: run.RolledBack, Primary: releasetest.Image("1")}},
		"route deleted": {func(a *releasetest.App) { a.DeleteRoute() }, false,
			"the promotion failed; VirtualService podinfo is gone: start a run",
			releasetest.State{Outcome: run.RolledBack, Primary: releasetest.Image("1")}},
		"route deleted, complete": {func(a *releasetest.App) { a.DeleteRoute() }, true,
			"the primary runs the revision; VirtualService podinfo is gone",
			releasetest.State{Outcome: run.Promoted, Primary: releasetest.Image("2")}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, r := at(t)
			a.UnreadyPrimary("2")
			killed := &releasetest.Process{Writes: 2} // the record is promoting, the primary is at version 2
			if _, err := promote.Run(t.Context(), a.Run("second", killed.Through), time.Second); err == nil {
				t.Fatal("promoted, want it killed")
			}
			c.lose(a)
			if c.ready {
				a.Node.Image(releasetest.Image("2"), apitest.Ready)
				a.Eventually("the primary is at version 2",
					func() bool { return primaryRuns(a, "2") && a.Deployment("podinfo-primary").Status.Replicas == 2 })
			}
			for range 2 { // finish is retried
				rec, err := rollback.Run(t.Context(), r, r.ID, "the promotion failed", time.Minute)
				must(t, err)
				if outcome, reason := rollback.Outcome(t.Context(), r, rec, true); outcome != c.want.Outcome ||
					!strings.Contains(reason, c.reason) {
					t.Errorf("finish says %s: %s, want %s: %s", outcome, reason, c.want.Outcome, c.reason)
				}
			}
			if version := strings.TrimPrefix(c.want.Primary, releasetest.Image("")); !primaryRuns(a, version) {
				t.Errorf("the primary is %+v, want version %s, ready", a.Deployment("podinfo-primary").Status, version)
			}
			if replicas := *a.Deployment("podinfo").Spec.Replicas; replicas != 0 {
				t.Errorf("the target has %d replicas, want 0", replicas)
			}
			if _, err := a.Cluster.VirtualServices(a.Namespace).Get(t.Context(), "podinfo",
				metav1.GetOptions{}); c.want.Phase == "" != apierrors.IsNotFound(err) {
				t.Errorf("reading the VirtualService: %v", err)
			}
			if c.want.Phase != "" {
				a.Want(c.want)
			}
			a.Push("3")
			next := a.Run("next")
			outcome, err := a.Prepare(next)
			must(t, err)
			if outcome != "proceed" {
				t.Errorf("the next run: %s, want it to proceed", outcome)
			}
		})
	}
}

// TestRecordSpoiledWhilePromoting wants the promotion completed, and the record whole.
func TestRecordSpoiledWhilePromoting(t *testing.T) {
	a, ended := promoting(t)
	known, err := record.Parse(a.VirtualService().Annotations["serin.dev/run"])
	must(t, err)
	a.Record("kubectl-edit", `{"phase":"flying"}`)
	a.Node.Label("app=podinfo-primary", apitest.Ready)
	must(t, <-ended)
	a.Want(promoted)
	rec, err := record.Parse(a.VirtualService().Annotations["serin.dev/run"])
	must(t, err)
	if rec.Previous != known.Previous || rec.Revision != known.Revision || !rec.Created.Equal(known.Created) ||
		!strings.Contains(rec.Reason, `every stage passed; reading the record of a run: phase "flying"`) ||
		!strings.Contains(rec.Reason, "(kubectl-edit wrote it)") {
		t.Errorf("record %s, want that of before, closed, and what was wrong with it", rec)
	}
}
