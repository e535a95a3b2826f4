package stage_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serin-cd/serin/internal/releasetest"
	"github.com/serin-cd/serin/pkg/judge/verdict"
	"github.com/serin-cd/serin/pkg/release/record"
	"github.com/serin-cd/serin/pkg/release/rollback"
	"github.com/serin-cd/serin/pkg/release/stage"
	"github.com/serin-cd/serin/pkg/task/failure"
	"github.com/serin-cd/serin/pkg/task/run"
)

// TestRouteDeletedWhileItIsJudged wants callers served again at once, by a route that has all that people had added.
func TestRouteDeletedWhileItIsJudged(t *testing.T) {
	a, r := at(t)
	a.Route("kubectl", `[{"op":"add","path":"/metadata/annotations/note","value":"hello"},{"op":"add","path":"/metadata/labels/team","value":"web"},
		{"op":"add","path":"/spec/http/0/timeout","value":"15s"},{"op":"add","path":"/spec/http/1","value":{"route":[{"destination":{"host":"docs"}}]}}]`)
	before := a.VirtualService()
	known, err := record.Parse(before.Annotations["serin.dev/run"])
	must(t, err)
	var deleted time.Time
	v, err := stage.Judge(t.Context(), r, endless(func() { deleted = time.Now(); a.DeleteRoute() }), time.Minute)
	after := a.VirtualService()
	t.Logf("made again, and said so, after %s", time.Since(deleted).Round(time.Millisecond))
	want := "route-changed: VirtualService podinfo was deleted, by whom is not known; it was made again, with all " +
		"traffic to the primary"
	if failure.Code(err) != failure.ExitInconclusive || v.Decision != verdict.Inconclusive || v.Reason() != want {
		t.Errorf("verdict %s %q, exit %d, want %q, exit %d", v.Decision, v.Reason(), failure.Code(err), want,
			failure.ExitInconclusive)
	}
	takenBack(t, a, want)
	rec, err := record.Parse(after.Annotations["serin.dev/run"])
	must(t, err)
	if diff := cmp.Diff(known, rec, cmpopts.IgnoreFields(record.Record{}, "Phase", "Outcome", "Reason", "Verdict",
		"Ended")); diff != "" {
		t.Errorf("record (-before +after):\n%s", diff)
	}
	for _, vs := range []*metav1.ObjectMeta{&before.ObjectMeta, &after.ObjectMeta} {
		delete(vs.Annotations, "serin.dev/run")
	}
	before.Spec.Http[0].Route[0].Weight, before.Spec.Http[0].Route[1].Weight = 100, 0
	if diff := cmp.Diff([]any{before.Labels, before.Annotations, spec(t, &before.Spec)},
		[]any{after.Labels, after.Annotations, spec(t, &after.Spec)}); diff != "" {
		t.Errorf("VirtualService (-before +after):\n%s", diff)
	}
	a.WantEvents("VirtualService podinfo was deleted, by whom is not known; it was made again")
	rec, err = rollback.Run(t.Context(), r, r.ID, "none", time.Second)
	must(t, err)
	if outcome, reason := rollback.Outcome(t.Context(), r, rec, true); outcome != run.RolledBack || reason != want {
		t.Errorf("finish says %s: %s, want rolled back: %s", outcome, reason, want)
	}
	a.Want(releasetest.State{Phase: run.Closed, Outcome: run.RolledBack, Stages: 1, Primary: releasetest.Image("1")})
}

func spec(t *testing.T, of json.Marshaler) string {
	t.Helper()
	text, err := of.MarshalJSON()
	must(t, err)
	var any any
	must(t, json.Unmarshal(text, &any))
	text, err = json.Marshal(any)
	must(t, err)
	return string(text)
}

// TestRouteOfOthersDeleted has a VirtualService that Serin did not make: it stays away, and everything else comes to
// rest.
func TestRouteOfOthersDeleted(t *testing.T) {
	a, r := at(t)
	a.Route("helm", `[{"op":"remove","path":"/metadata/labels/serin.dev~1app"}]`)
	v, err := stage.Judge(t.Context(), r, endless(a.DeleteRoute), time.Minute)
	want := "route-changed: VirtualService podinfo was deleted, by whom is not known; Serin had not made it: apply " +
		"it again"
	if failure.Code(err) != failure.ExitInconclusive || !strings.HasPrefix(v.Reason(), want) {
		t.Errorf("verdict %s %q, exit %d, want %q, exit %d", v.Decision, v.Reason(), failure.Code(err), want,
			failure.ExitInconclusive)
	}
	if err := stage.Shift(t.Context(), r, 40, time.Minute); failure.Code(err) != failure.ExitConfig ||
		!strings.Contains(err.Error(),
			"not found: start a run, whose prepare makes it, or apply it again where it is yours") {
		t.Errorf("the next stage: %v, want what to do, and exit %d", err, failure.ExitConfig)
	}
	for range 2 {
		rec, err := rollback.Run(t.Context(), r, r.ID, "the run ended before a verdict", time.Second)
		must(t, err)
		outcome, reason := rollback.Outcome(t.Context(), r, rec, true)
		if outcome != run.RolledBack || !strings.Contains(reason,
			"VirtualService podinfo is gone: start a run, whose prepare makes it, or apply it again") {
			t.Errorf("finish says %s: %s, want it rolled back, and what to do", outcome, reason)
		}
		if got := *a.Deployment("podinfo").Spec.Replicas; got != 0 {
			t.Errorf("the target has %d replicas, want 0", got)
		}
	}
	must(t, rollback.Settled(t.Context(), r))
}

// TestRecordSpoiledWhileItIsJudged wants the record closed with all that the stage knew.
func TestRecordSpoiledWhileItIsJudged(t *testing.T) {
	change := func(edit func(rec map[string]any)) func(a *releasetest.App) {
		return func(a *releasetest.App) {
			var rec map[string]any
			must(t, json.Unmarshal([]byte(a.VirtualService().Annotations["serin.dev/run"]), &rec))
			edit(rec)
			text, err := json.Marshal(rec)
			must(t, err)
			a.Record("kubectl-edit", string(text))
		}
	}
	cases := map[string]struct {
		spoil  func(*releasetest.App)
		reason string
	}{
		"not JSON": {func(a *releasetest.App) { a.Record("kubectl-edit", "?") },
			"route-changed: reading the record of a run: invalid character '?'"},
		"unknown phase": {change(func(r map[string]any) { r["phase"] = "flying" }),
			`route-changed: reading the record of a run: phase "flying"`},
		"weight of 900": {change(func(r map[string]any) {
			r["phases"] = []any{map[string]any{"weight": 900, "at": "2026-11-23T12:00:00Z"}}
		}),
			"route-changed: reading the record of a run: phase 1 weight 900, want 0 to 100"},
		"id of another run": {change(func(r map[string]any) { r["id"] = "shop/other/uid-other" }),
			"route-changed: the record names run shop/other/uid-other"},
		"phases removed": {change(func(r map[string]any) { delete(r, "phases") }),
			"route-changed: the route gives the canary 20 %, the run's record says 0"},
		"closed by hand": {change(func(r map[string]any) { r["phase"] = "closed" }),
			"phase closed, canary weight 0: kubectl-edit wrote it"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, r := at(t)
			known, err := record.Parse(a.VirtualService().Annotations["serin.dev/run"])
			must(t, err)
			v, err := stage.Judge(t.Context(), r, endless(func() { c.spoil(a) }), time.Minute)
			if failure.Code(err) != failure.ExitInconclusive || !strings.Contains(v.Reason(), c.reason) ||
				!strings.Contains(v.Reason(), "kubectl-edit wrote it") {
				t.Errorf("verdict %s %q, exit %d, want %q, who wrote it, and exit %d", v.Decision, v.Reason(),
					failure.Code(err), c.reason, failure.ExitInconclusive)
			}
			takenBack(t, a, c.reason)
			rec, err := record.Parse(a.VirtualService().Annotations["serin.dev/run"])
			must(t, err)
			if diff := cmp.Diff(known, rec, cmpopts.IgnoreFields(record.Record{}, "Phase", "Outcome", "Reason",
				"Verdict", "Ended")); diff != "" {
				t.Errorf("record (-before +after):\n%s", diff)
			}
			_, err = rollback.Run(t.Context(), r, r.ID, "none", time.Second)
			must(t, err)
			a.Want(releasetest.State{Phase: run.Closed, Outcome: run.RolledBack, Stages: 1,
				Primary: releasetest.Image("1")})
		})
	}
}
