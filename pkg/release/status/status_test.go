package status_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/serin-cd/serin/internal/apitest"
	"github.com/serin-cd/serin/internal/releasetest"
	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/release"
	"github.com/serin-cd/serin/pkg/release/promote"
	"github.com/serin-cd/serin/pkg/release/stage"
	"github.com/serin-cd/serin/pkg/release/status"
	"github.com/serin-cd/serin/pkg/task/parameter"
	"github.com/serin-cd/serin/pkg/task/run"
)

func TestMain(m *testing.M) { apitest.Main(m, apitest.Controllers) }

// counting counts requests.
func counting(n *atomic.Int32) func(http.RoundTripper) http.RoundTripper {
	return func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			n.Add(1)
			return next.RoundTrip(r)
		})
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// second is a release of version 2 at weight 20.
func second(t *testing.T, a *releasetest.App) *release.Release {
	t.Helper()
	a.First()
	a.Push("2")
	r := a.PipelineRun("second")
	if _, err := a.Prepare(r); err != nil {
		t.Fatal(err)
	}
	shift(t, r, 20)
	return r
}

func shift(t *testing.T, r *release.Release, weight parameter.Weight) {
	t.Helper()
	if err := stage.Shift(t.Context(), r, weight, time.Minute); err != nil {
		t.Fatal(err)
	}
}

func TestList(t *testing.T) {
	a := releasetest.New(t)
	var calls atomic.Int32
	cluster := a.Run("looking", counting(&calls)).Cluster
	if all, err := status.List(t.Context(), cluster, a.Namespace); err != nil || len(all) != 0 {
		t.Errorf("%v (%v) before the first release, want nothing", all, err)
	}
	r := second(t, a)
	calls.Store(0)
	all, err := status.List(t.Context(), cluster, a.Namespace)
	if err != nil || len(all) != 1 {
		t.Fatalf("%d applications (%v), want podinfo", len(all), err)
	}
	if n := calls.Load(); n != 2 {
		t.Errorf("%d requests, want 2", n)
	}
	got := all[0]
	if got.Serving.String() != "podinfo:1" || got.Canary == nil || got.Canary.String() != "podinfo:2" ||
		got.Weight != 20 || got.Phase != run.Shifting || got.Run != "second" || !got.Busy() || len(got.Weights) != 1 {
		t.Errorf("status %+v, want version 1 serving and version 2 at weight 20 by run second", got)
	}
	if _, err := promote.Run(t.Context(), r, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	if all, err = status.List(t.Context(), cluster, ""); err != nil {
		t.Fatal(err)
	}
	for _, got := range all {
		if got.Namespace == a.Namespace && (got.Serving.String() != "podinfo:2" || got.Canary != nil ||
			got.Outcome != run.Promoted || got.Busy()) {
			t.Errorf("status %+v, want version 2 serving", got)
		}
	}
}

// taskRun makes the TaskRun of a task of a run, with results as it ends.
func taskRun(t *testing.T, a *releasetest.App, of, task, ended string, results ...any) {
	t.Helper()
	made := &unstructured.Unstructured{Object: map[string]any{
		"spec": map[string]any{"taskRef": map[string]any{"name": "canary-stage"}, "timeout": "11m30s",
			"params": []any{map[string]any{"name": "weight", "value": strings.TrimPrefix(task, "stage-")}}},
	}}
	made.SetAPIVersion("tekton.dev/v1")
	made.SetKind("TaskRun")
	made.SetName(of + "-" + task)
	made.SetLabels(map[string]string{"tekton.dev/pipelineRun": of, "tekton.dev/pipelineTask": task})
	tasks := a.Cluster.Objects(kube.TaskRuns, a.Namespace)
	if _, err := tasks.Create(t.Context(), made, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	made.Object["status"] = map[string]any{
		"podName": "p", "startTime": "2026-11-29T12:00:00Z", "completionTime": ended, "results": results,
		"conditions": []any{map[string]any{"type": "Succeeded", "status": "True", "reason": "Succeeded"}},
	}
	patch, err := made.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tasks.Patch(t.Context(), made.GetName(), types.MergePatchType, patch, metav1.PatchOptions{},
		"status"); err != nil {
		t.Fatal(err)
	}
}

func result(name, value string) any {
	return map[string]any{"name": name, "type": "string", "value": value}
}

func TestTasks(t *testing.T) {
	a := releasetest.New(t)
	second(t, a)
	taskRun(t, a, "second", "stage-20", "2026-11-29T12:00:35Z", result("verdict", "pass"),
		result("reason", "healthy: "), result("evidence", `{"judge":"sequential","weight":20,"since":35,"canary":[1,339],"primary":[0,7471],"acquit":23}`))
	all, err := status.List(t.Context(), a.Cluster, a.Namespace)
	if err != nil || len(all) != 1 {
		t.Fatalf("%v (%v)", all, err)
	}
	plan := `{"status":{"pipelineSpec":{"tasks":[{"name":"stage-20"},{"name":"stage-40"}],"finally":[{"name":"finish"}]}}}`
	if _, err := a.Cluster.Objects(kube.PipelineRuns, a.Namespace).Patch(t.Context(), "second", types.MergePatchType,
		[]byte(plan), metav1.PatchOptions{}, "status"); err != nil {
		t.Fatal(err)
	}
	got, err := all[0].Tasks(t.Context(), a.Cluster)
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	want := []status.Task{{
		Name: "stage-20", Started: begin, Ended: begin.Add(35 * time.Second), State: "Succeeded", Verdict: "pass",
		Reason: "healthy: ", Weight: 20, Evidence: &status.Evidence{Weight: 20, Since: 35, Canary: [2]float64{1, 339},
			Primary: [2]float64{0, 7471}, Acquit: 23},
	}, {Name: "stage-40", State: "Waiting"}, {Name: "finish", State: "Waiting"}}
	for i := range got {
		got[i].Started, got[i].Ended = got[i].Started.UTC(), got[i].Ended.UTC()
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(status.Task{})); diff != "" {
		t.Errorf("tasks (-want +got):\n%s", diff)
	}
}

// TestFollowTellsThePastInOrder, of whatever kind it is.
func TestFollowTellsThePastInOrder(t *testing.T) {
	a := releasetest.New(t)
	r := second(t, a)
	taskRun(t, a, "second", "a", "2026-11-29T12:00:50Z")
	taskRun(t, a, "second", "b", "2026-11-29T12:00:10Z")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var told []time.Time
	_, err := status.Follow(ctx, a.Cluster, r.ID, func(c status.Change) {
		if told = append(told, c.At); c.Phase != "" {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) || len(told) != 6 || !slices.IsSortedFunc(told, time.Time.Compare) {
		t.Errorf("told of %v (%v), want two tasks that begin, two that end, a weight and a phase, in order", told, err)
	}
}

func TestFollow(t *testing.T) {
	a := releasetest.New(t)
	r := second(t, a)
	var calls atomic.Int32
	cluster := a.Run("looking", counting(&calls)).Cluster
	changes := make(chan status.Change, 100)
	type end struct {
		run status.Run
		err error
	}
	ended := make(chan end, 1)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	go func() {
		got, err := status.Follow(ctx, cluster, r.ID, func(c status.Change) { changes <- c })
		ended <- end{got, err}
	}()
	next := func(what string, is func(status.Change) bool) {
		t.Helper()
		late := time.After(10 * time.Second) // on a busy machine; `make bench` prints what a quiet one takes
		for {
			select {
			case c := <-changes:
				if is(c) {
					return
				}
			case <-late:
				t.Fatalf("not told within 10 seconds that %s", what)
			}
		}
	}
	next("the weight is 20", func(c status.Change) bool { return c.Weight != nil && c.Weight.Weight == 20 })
	next("the run shifts", func(c status.Change) bool { return c.Phase == run.Shifting })
	a.Eventually("it watches the run, its tasks and the routes, each after it has listed them", func() bool {
		return calls.Load() == 5
	})
	at := calls.Load()
	shift(t, r, 40)
	next("the weight is 40", func(c status.Change) bool { return c.Weight != nil && c.Weight.Weight == 40 })
	taskRun(t, a, "second", "stage-40", "2026-11-29T12:00:35Z", result("verdict", "fail"),
		result("reason", "worse: 1/2"))
	next("stage-40 has ended", func(c status.Change) bool { return c.Task != nil && c.Task.Verdict == "fail" })
	patch := `{"status":{"completionTime":"2026-11-29T12:00:40Z","results":[{"name":"outcome","type":"string",` +
		`"value":"rolled-back"}],"conditions":[{"type":"Succeeded","status":"False","reason":"Failed"}]}}`
	if _, err := a.Cluster.Objects(kube.PipelineRuns, a.Namespace).Patch(t.Context(), "second", types.MergePatchType,
		[]byte(patch), metav1.PatchOptions{}, "status"); err != nil {
		t.Fatal(err)
	}
	next("the run has ended", func(c status.Change) bool { return c.Ended != nil })
	got := <-ended
	if got.err != nil || got.run.Outcome != run.RolledBack || got.run.Verdict != "fail" {
		t.Errorf("ended %+v (%v), want rolled back by verdict fail", got.run, got.err)
	}
	if n := calls.Load(); n != at {
		t.Errorf("%d requests while it was followed, want none", n-at)
	}
}

func TestFollowDeletedRun(t *testing.T) {
	a := releasetest.New(t)
	r := a.PipelineRun("gone")
	ended := make(chan error, 1)
	begun := make(chan struct{}, 1)
	cluster := a.Run("looking", releasetest.Before(func(*http.Request) error {
		select {
		case begun <- struct{}{}:
		default:
		}
		return nil
	})).Cluster
	go func() {
		_, err := status.Follow(t.Context(), cluster, r.ID, func(status.Change) {})
		ended <- err
	}()
	<-begun
	if err := a.Cluster.Objects(kube.PipelineRuns, a.Namespace).Delete(t.Context(), "gone",
		metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err == nil {
			t.Error("no error of a run that was deleted")
		}
	case <-time.After(10 * time.Second):
		t.Error("still waiting for a run that was deleted")
	}
}

func TestRuns(t *testing.T) {
	a := releasetest.New(t)
	app := application.Application{Namespace: a.Namespace, Name: "podinfo"}
	a.PipelineRun("of-nobody")
	all, err := status.Runs(t.Context(), a.Cluster, a.Namespace)
	if _, ok := status.Newest(all, app); err != nil || ok || len(all) != 0 {
		t.Errorf("%v (%v), want none that releases an application", all, err)
	}
	for _, name := range []string{"first", "second"} {
		made := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{
			"pipelineRef": map[string]any{"name": "canary"},
			"params":      []any{map[string]any{"name": "app", "value": "podinfo"}},
		}}}
		made.SetAPIVersion("tekton.dev/v1")
		made.SetKind("PipelineRun")
		made.SetName(name)
		if _, err := a.Cluster.Objects(kube.PipelineRuns, a.Namespace).Create(t.Context(), made,
			metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if all, err = status.Runs(t.Context(), a.Cluster, a.Namespace); err != nil || len(all) != 2 {
		t.Fatalf("%v (%v), want two", all, err)
	}
	if got, ok := status.Newest(all, app); !ok || got.App != "podinfo" || got.Pipeline != "canary" {
		t.Errorf("%+v, want a run of podinfo", got)
	}
}

func TestHistory(t *testing.T) {
	a := releasetest.New(t)
	r := second(t, a)
	if _, err := promote.Run(t.Context(), r, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	if err := a.Cluster.Objects(kube.PipelineRuns, a.Namespace).Delete(t.Context(), "second",
		metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	all, err := status.History(t.Context(), a.Cluster, a.Namespace)
	if err != nil || len(all) != 1 {
		t.Fatalf("%v (%v), want the run that the record tells of", all, err)
	}
	if got := all[0]; got.ID != r.ID || got.App != "podinfo" || got.Outcome != run.Promoted || got.Ended.IsZero() {
		t.Errorf("%+v, want run second of podinfo, promoted", got)
	}
}
