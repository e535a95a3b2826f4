package stage_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/serin-cd/serin/internal/apitest"
	"github.com/serin-cd/serin/internal/releasetest"
	"github.com/serin-cd/serin/pkg/judge/verdict"
	"github.com/serin-cd/serin/pkg/release"
	"github.com/serin-cd/serin/pkg/release/record"
	"github.com/serin-cd/serin/pkg/release/stage"
	"github.com/serin-cd/serin/pkg/task/failure"
	"github.com/serin-cd/serin/pkg/task/parameter"
	"github.com/serin-cd/serin/pkg/task/run"
)

func TestMain(m *testing.M) { apitest.Main(m, apitest.Controllers) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// at is a release of version 2 with 20 % of the traffic.
func at(t *testing.T) (*releasetest.App, *release.Release) {
	t.Helper()
	a := releasetest.New(t)
	r := a.Second()
	must(t, stage.Shift(t.Context(), r, 20, time.Minute))
	return a, r
}

// takenBack wants the traffic at the primary and the run closed for a reason.
func takenBack(t *testing.T, a *releasetest.App, reason string) {
	t.Helper()
	s, err := a.Run("observer").Fence.Read(t.Context())
	must(t, err)
	if s.Weight() != 0 || s.Record.Phase != run.Closed || s.Record.Outcome != run.RolledBack {
		t.Errorf("weight %d, phase %s, outcome %q, want 0, closed, rolled-back", s.Weight(), s.Record.Phase,
			s.Record.Outcome)
	}
	if !strings.Contains(s.Record.Reason, reason) {
		t.Errorf("reason %q, want %q in it", s.Record.Reason, reason)
	}
}

// endless judges until it is stopped; begun is called when it has begun.
func endless(begun func()) func(context.Context, []run.Stage, func(verdict.Check)) (verdict.Verdict, error) {
	return func(ctx context.Context, _ []run.Stage, _ func(verdict.Check)) (verdict.Verdict, error) {
		begun()
		<-ctx.Done()
		return verdict.Verdict{}, ctx.Err()
	}
}

func TestShiftRefusesAndTakesBack(t *testing.T) {
	cases := map[string]struct {
		spoil  func(a *releasetest.App)
		code   int
		reason string
	}{
		"another revision": {func(a *releasetest.App) { a.Push("3") }, failure.ExitInconclusive,
			"the target is at revision "},
		"unready pods": {func(a *releasetest.App) {
			a.Node.Image(releasetest.Image("2"), apitest.Unready)
			a.Eventually("no pod is available",
				func() bool { return a.Deployment("podinfo").Status.AvailableReplicas == 0 })
		}, failure.ExitRejected, "no pod of the canary is available: 2 of 2 pods updated, 0 available"},
		"no pods": {func(a *releasetest.App) {
			a.Patch("podinfo", "kubectl", `[{"op":"replace","path":"/spec/replicas","value":0}]`)
			a.Eventually("no pod is left", func() bool { return a.Deployment("podinfo").Status.Replicas == 0 })
		}, failure.ExitRejected, "no pod of the canary is available: 0 of 0 pods updated"},
		"no target": {func(a *releasetest.App) { a.Delete("podinfo") }, failure.ExitConfig,
			"there is none in namespace"},
		"route edited": {func(a *releasetest.App) {
			a.Route("argocd",
				`[{"op":"replace","path":"/spec/http/0/route/0/weight","value":50},{"op":"add","path":"/spec/http/0/route/1/weight","value":50}]`)
		}, failure.ExitError, "the route gives the canary 50 %, the run's record says 20: argocd wrote it"},
		"weights that are no shares": {func(a *releasetest.App) {
			a.Route("argocd", `[{"op":"replace","path":"/spec/http/0/route/0/weight","value":70}]`)
		}, failure.ExitConfig, "weights 70 (primary) and 20 (canary)"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, r := at(t)
			c.spoil(a)
			err := stage.Shift(t.Context(), r, 40, time.Minute)
			if failure.Code(err) != c.code || !strings.Contains(fmt.Sprint(err), c.reason) {
				t.Errorf("error %v (exit %d), want %q in it, and exit %d", err, failure.Code(err), c.reason, c.code)
			}
			takenBack(t, a, c.reason)
			if err := stage.Shift(t.Context(), r, 20, time.Minute); !errors.Is(err, record.ErrFenced) &&
				c.code != failure.ExitConfig {
				t.Errorf("a late shift: %v, want it fenced", err)
			}
			takenBack(t, a, c.reason)
		})
	}
}

func TestShiftOfAnothersRun(t *testing.T) {
	a, _ := at(t)
	for name, weight := range map[string]parameter.Weight{"up": 60, "down": 0} {
		err := stage.Shift(t.Context(), a.Run("other"), weight, time.Minute)
		if !errors.Is(err, record.ErrFenced) || failure.Code(err) != failure.ExitError {
			t.Errorf("%s: error %v, want it fenced", name, err)
		}
	}
	a.Want(releasetest.State{Weight: 20, Phase: run.Shifting, Target: 2, Stages: 1, Primary: releasetest.Image("1")})
}

func TestShiftWithoutRoute(t *testing.T) {
	a := releasetest.New(t)
	err := stage.Shift(t.Context(), a.Run("run"), 20, time.Minute)
	if failure.Code(err) != failure.ExitConfig || strings.Count(err.Error(), "reading VirtualService") != 1 {
		t.Errorf("error %v, want exit %d and the VirtualService named once", err, failure.ExitConfig)
	}
}

func TestJudgeNotices(t *testing.T) {
	cases := map[string]struct {
		spoil  func(a *releasetest.App)
		grace  time.Duration
		code   int
		result verdict.Decision
		reason string
	}{
		"another revision": {func(a *releasetest.App) { a.Push("3") }, time.Minute, failure.ExitInconclusive,
			verdict.Inconclusive, "(continuous-delivery wrote it): start a run for the new one"},
		"all pods unready": {func(a *releasetest.App) { a.Node.Image(releasetest.Image("2"), apitest.Unready) },
			time.Minute, failure.ExitRejected, verdict.Fail, "unavailable: no pod of the canary is available"},
		"one pod for too long": {func(a *releasetest.App) { a.Node.Name(a.Pod("2"), apitest.Unready) },
			300 * time.Millisecond, failure.ExitRejected, verdict.Fail,
			"unavailable: fewer pods than wanted for longer than 300ms: 2 of 2 pods updated, 1 available"},
		"target deleted": {func(a *releasetest.App) { a.Delete("podinfo") }, time.Minute, failure.ExitInconclusive,
			verdict.Inconclusive, "target-changed: Deployment podinfo was deleted"},
		"weights edited": {func(a *releasetest.App) {
			a.Route("argocd",
				`[{"op":"replace","path":"/spec/http/0/route/0/weight","value":50},{"op":"add","path":"/spec/http/0/route/1/weight","value":50}]`)
		}, time.Minute, failure.ExitInconclusive, verdict.Inconclusive,
			"route-changed: the route gives the canary 50 %, the run's record says 20: argocd wrote it"},
		"third destination": {func(a *releasetest.App) {
			a.Route("kubectl-edit",
				`[{"op":"replace","path":"/spec/http/0/route","value":[{"destination":{"host":"podinfo-primary"},"weight":100}]}]`)
		}, time.Minute, failure.ExitInconclusive, verdict.Inconclusive, "route-changed"},
		"record overwritten": {func(a *releasetest.App) {
			a.Route("kubectl-annotate",
				`[{"op":"replace","path":"/metadata/annotations/serin.dev~1run","value":"nonsense"}]`)
		}, time.Minute, failure.ExitInconclusive, verdict.Inconclusive, "(kubectl-annotate wrote it)"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, r := at(t)
			var spoiled time.Time
			v, err := stage.Judge(t.Context(), r, endless(func() { spoiled = time.Now(); c.spoil(a) }), c.grace)
			if failure.Code(err) != c.code || v.Decision != c.result || !strings.Contains(v.Reason(), c.reason) {
				t.Errorf("verdict %s %q, exit %d, want %s %q, exit %d", v.Decision, v.Reason(), failure.Code(err),
					c.result, c.reason, c.code)
			}
			if v.Weight() != 20 {
				t.Errorf("the verdict is on weight %d, want 20", v.Weight())
			}
			t.Logf("noticed and undone after %s", time.Since(spoiled).Round(time.Millisecond))
			if name == "third destination" {
				return // there is no route with both any more, and so nothing to take back
			}
			takenBack(t, a, c.reason)
		})
	}
}

// TestJudgeCountsRestarts restarts one of two pods from when it was first seen: the third time is too often.
func TestJudgeCountsRestarts(t *testing.T) {
	a, r := at(t)
	pod := a.Pod("2")
	v, err := stage.Judge(t.Context(), r, func(ctx context.Context, _ []run.Stage,
		_ func(verdict.Check)) (verdict.Verdict, error) {
		for restarts := int32(3); ctx.Err() == nil; restarts += 3 {
			a.Node.Name(pod, apitest.Condition{Restarts: restarts, Waiting: "CrashLoopBackOff"})
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond): // the watch of the pods may not have begun
			}
		}
		return verdict.Verdict{}, ctx.Err()
	}, time.Minute)
	want := "restarts: container podinfo of pod " + pod + " restarted "
	if failure.Code(err) != failure.ExitRejected || v.Decision != verdict.Fail || !strings.HasPrefix(v.Reason(), want) {
		t.Errorf("verdict %s %q, exit %d, want fail %q", v.Decision, v.Reason(), failure.Code(err), want)
	}
	takenBack(t, a, want)
}

func TestJudgeIsNotDisturbedByTheRest(t *testing.T) {
	a, r := at(t)
	v, err := stage.Judge(t.Context(), r, func(ctx context.Context, stages []run.Stage,
		_ func(verdict.Check)) (verdict.Verdict, error) {
		a.Route("kubectl", `[{"op":"add","path":"/metadata/annotations/note","value":"hello"}]`)
		a.Route("kubectl",
			`[{"op":"add","path":"/spec/http/0/timeout","value":"15s"},{"op":"add","path":"/spec/http/1","value":{"route":[{"destination":{"host":"docs"}}]}}]`)
		a.Route("kubectl", `[{"op":"add","path":"/metadata/labels/team","value":"web"}]`)
		a.Patch("podinfo", "kubectl", `[{"op":"add","path":"/metadata/annotations/note","value":"hello"}]`)
		a.Patch("podinfo", "keda", `[{"op":"replace","path":"/spec/replicas","value":3}]`)
		a.Node.Name(a.Pod("2"), apitest.Condition{Ready: true, Restarts: 2})
		a.Eventually("the third pod is there",
			func() bool { return a.Deployment("podinfo").Status.AvailableReplicas == 3 })
		return verdict.Verdict{Decision: verdict.Pass, Code: "healthy", Stages: stages}, ctx.Err()
	}, time.Minute)
	if err != nil || v.Decision != verdict.Pass {
		t.Errorf("verdict %s %q (%v), want a pass", v.Decision, v.Reason(), err)
	}
	a.Want(releasetest.State{Weight: 20, Phase: run.Shifting, Target: 3, Stages: 1, Primary: releasetest.Image("1")})
}

// TestJudgeBeginsWithTheRouteAsItIs has the weights edited before the watch began: GitOps does it within a second.
func TestJudgeBeginsWithTheRouteAsItIs(t *testing.T) {
	a, r := at(t)
	a.Route("argocd",
		`[{"op":"replace","path":"/spec/http/0/route/0/weight","value":100},{"op":"add","path":"/spec/http/0/route/1/weight","value":0}]`)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	v, err := stage.Judge(ctx, r, endless(func() {}), time.Minute)
	if failure.Code(err) != failure.ExitInconclusive ||
		!strings.Contains(v.Reason(),
			"route-changed: the route gives the canary 0 %, the run's record says 20: argocd wrote it") {
		t.Errorf("verdict %s %q (%v), want route-changed", v.Decision, v.Reason(), err)
	}
	takenBack(t, a, "route-changed")
}

// TestJudgeBeginsWithoutTarget has the target deleted before the watch began, which shows nothing then.
func TestJudgeBeginsWithoutTarget(t *testing.T) {
	a, r := at(t)
	a.Delete("podinfo")
	v, err := stage.Judge(t.Context(), r, endless(func() {}), time.Minute)
	if failure.Code(err) != failure.ExitInconclusive ||
		!strings.Contains(v.Reason(), "target-changed: reading Deployment podinfo") {
		t.Errorf("verdict %s %q (%v), want target-changed", v.Decision, v.Reason(), err)
	}
	takenBack(t, a, "target-changed")
}

func TestJudgeStopped(t *testing.T) {
	a, r := at(t)
	ctx, stop := context.WithCancelCause(t.Context())
	begin := time.Now()
	_, err := stage.Judge(ctx, r,
		endless(func() { begin = time.Now(); stop(errors.New("terminated signal received")) }), time.Minute)
	if failure.Code(err) != failure.ExitError {
		t.Errorf("error %v, want exit %d", err, failure.ExitError)
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("taken back after %s, want at most 5 s", took)
	}
	takenBack(t, a, "the step was stopped: terminated signal received")
}

// TestTakingBackDoesNotWaitForEvents has an API server that hangs on events.
func TestTakingBackDoesNotWaitForEvents(t *testing.T) {
	a, _ := at(t)
	var mu sync.Mutex
	var order []string
	r := a.Run("second", releasetest.Before(func(request *http.Request) error {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case strings.HasSuffix(request.URL.Path, "/events"):
			order = append(order, "event")
		case releasetest.Writes(request):
			order = append(order, "route")
		}
		return nil
	}))
	must(t, r.Close(t.Context(), "bad", "bad"))
	if got := strings.Join(order, " "); got != "route event" {
		t.Errorf("order %q, want the traffic first", got)
	}
}

// TestTakingBackReadsNothingThatIsWatched counts calls beside the watches.
func TestTakingBackReadsNothingThatIsWatched(t *testing.T) {
	a, _ := at(t)
	var mu sync.Mutex
	var calls []string
	r := a.Run("second", releasetest.Before(func(request *http.Request) error {
		mu.Lock()
		defer mu.Unlock()
		if !request.URL.Query().Has("watch") {
			calls = append(calls, request.Method+" "+path.Base(request.URL.Path))
		}
		return nil
	}))
	_, err := stage.Judge(t.Context(), r, func(_ context.Context, stages []run.Stage,
		_ func(verdict.Check)) (verdict.Verdict, error) {
		return verdict.Verdict{Decision: verdict.Fail, Code: "worse", Text: "bad", Stages: stages}, nil
	}, time.Minute)
	if failure.Code(err) != failure.ExitRejected {
		t.Errorf("error %v, want exit %d", err, failure.ExitRejected)
	}
	takenBack(t, a, "worse: bad")
	mu.Lock()
	defer mu.Unlock()
	if diff := cmp.Diff([]string{"PATCH podinfo", "POST events"}, calls); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

func TestJudgeOfWhatIsNotShifted(t *testing.T) {
	cases := map[string]func(a *releasetest.App) *release.Release{
		"preparing": func(a *releasetest.App) *release.Release { return a.Second() },
		"another's": func(a *releasetest.App) *release.Release { a.Second(); return a.Run("other") },
		"closed":    func(a *releasetest.App) *release.Release { a.First(); return a.Run("first") },
	}
	for name, arrange := range cases {
		t.Run(name, func(t *testing.T) {
			a := releasetest.New(t)
			r := arrange(a)
			before := a.State()
			_, err := stage.Judge(t.Context(), r, endless(func() { t.Error("it was judged") }), time.Minute)
			if failure.Code(err) != failure.ExitConfig ||
				!strings.Contains(err.Error(), "the run has shifted no traffic") ||
				!strings.Contains(err.Error(), "run shift-weight first") {
				t.Errorf("error %v, want exit %d", err, failure.ExitConfig)
			}
			if after := a.State(); after != before {
				t.Errorf("state %+v, want it as before: %+v", after, before)
			}
		})
	}
}

// TestJudgeEndedByAnother has finish close the run while it is judged.
func TestJudgeEndedByAnother(t *testing.T) {
	_, r := at(t)
	v, err := stage.Judge(t.Context(), r, endless(func() {
		_, err := r.Fence.Close(t.Context(), r.ID, run.Superseded, "a newer run", r.Cluster)
		must(t, err)
	}), time.Minute)
	if failure.Code(err) != failure.ExitInconclusive || !strings.HasPrefix(v.Reason(), "closed: ") {
		t.Errorf("verdict %s %q, exit %d, want closed and exit %d", v.Decision, v.Reason(), failure.Code(err),
			failure.ExitInconclusive)
	}
	s, err := r.Fence.Read(t.Context())
	must(t, err)
	if s.Record.Outcome != run.Superseded || s.Record.Reason != "a newer run" {
		t.Errorf("record %s, want it as it was closed", s.Record)
	}
}

// TestShiftWaitsForTheWholeCanary while a pod of it is being replaced.
func TestShiftWaitsForTheWholeCanary(t *testing.T) {
	a, r := at(t)
	pod := a.Pod("2")
	a.Node.Name(pod, apitest.Unready)
	a.Eventually("one pod is available", func() bool { return a.Deployment("podinfo").Status.AvailableReplicas == 1 })
	time.AfterFunc(2*time.Second, func() { a.Node.Name(pod, apitest.Ready) })
	must(t, stage.Shift(t.Context(), r, 40, time.Minute))
	if s := a.State(); s.Weight != 40 {
		t.Errorf("state %+v, want the canary at 40 %%", s)
	}
}

// TestShiftOfHalfACanary takes the traffic back at the deadline, and says what is missing.
func TestShiftOfHalfACanary(t *testing.T) {
	a, r := at(t)
	a.Node.Name(a.Pod("2"), apitest.Unready)
	a.Eventually("one pod is available", func() bool { return a.Deployment("podinfo").Status.AvailableReplicas == 1 })
	err := stage.Shift(t.Context(), r, 40, time.Second)
	if failure.Code(err) != failure.ExitRejected || !strings.Contains(err.Error(), "is not ready after 1s") {
		t.Errorf("error %v (exit %d), want exit %d", err, failure.Code(err), failure.ExitRejected)
	}
	if s := a.State(); s.Weight != 0 {
		t.Errorf("state %+v, want the traffic taken back", s)
	}
}
