package start_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	pipeline "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	tekton "github.com/tektoncd/pipeline/pkg/client/clientset/versioned/typed/pipeline/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"knative.dev/pkg/apis"
	duck "knative.dev/pkg/apis/duck/v1"

	"github.com/serin-cd/serin/internal/apitest"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/gitops/start"
	"github.com/serin-cd/serin/pkg/task/failure"
	"github.com/serin-cd/serin/pkg/task/parameter"
	"github.com/serin-cd/serin/pkg/task/run"
)

func TestMain(m *testing.M) { apitest.Main(m) }

// environment is a namespace with Serin's Pipeline. Its applications have no pods, and the test is Tekton.
type environment struct {
	t         *testing.T
	namespace string
	client    *kubernetes.Clientset
	tekton    tekton.TektonV1Interface
	cluster   *kube.Cluster
}

func newEnvironment(t *testing.T) *environment {
	t.Helper()
	t.Parallel()
	e := &environment{t: t, namespace: apitest.Namespace(t), client: apitest.Client(t)}
	var err error
	e.tekton, err = tekton.NewForConfig(apitest.Config(t))
	must(t, err)
	e.cluster, err = kube.New(apitest.Config(t))
	must(t, err)
	text, err := os.ReadFile("../../../pipelines/canary/canary.yaml")
	must(t, err)
	apitest.Apply(t, e.namespace, text)
	return e
}

// deploy makes a Deployment of an image, with labels and annotations in YAML.
func (e *environment) deploy(name, image, metadata string) {
	e.t.Helper()
	apitest.Apply(e.t, e.namespace, fmt.Appendf(nil, `
apiVersion: apps/v1
kind: Deployment
metadata:
  name: %[1]s
%[3]s
spec:
  selector: {matchLabels: {app: %[1]s}}
  template:
    metadata: {labels: {app: %[1]s}}
    spec: {containers: [{name: app, image: "example.test/app:%[2]s"}]}
`, name, image, metadata))
}

const canary = "  labels: {serin.dev/canary: 'true'}"

// push gives a Deployment another image.
func (e *environment) push(name, image string) {
	e.t.Helper()
	e.patch(name, fmt.Sprintf(`{"spec":{"template":{"spec":{"containers":[{"name":"app","image":"example.test/app:%s"}]}}}}`,
		image))
}

// promoted writes on a primary that it runs what its target has.
func (e *environment) promoted(name string) {
	e.t.Helper()
	for _, c := range e.changed(name) {
		e.patch(name+"-primary", fmt.Sprintf(`{"metadata":{"annotations":{"serin.dev/revision":%q}}}`, c.Revision))
	}
}

func (e *environment) patch(deployment, patch string) {
	e.t.Helper()
	_, err := e.client.AppsV1().Deployments(e.namespace).Patch(e.t.Context(), deployment,
		types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{})
	must(e.t, err)
}

func (e *environment) changed(names ...string) []start.Change {
	e.t.Helper()
	changes, err := start.Changed(e.t.Context(), e.cluster, e.namespace, names)
	must(e.t, err)
	return changes
}

// config is that of a step in a run of this name.
func (e *environment) config(starter string) start.Config {
	return start.Config{
		Run: run.ID{Namespace: e.namespace, Name: starter, UID: "uid-" + starter}, Namespace: e.namespace,
		Pipeline: "canary", Account: "serin", Deadline: parameter.Duration(time.Minute),
	}
}

// ended is what a step has come to.
type ended struct {
	outcome start.Outcome
	err     error
}

// begin runs a step beside the test.
func (e *environment) begin(ctx context.Context, c start.Config) <-chan ended {
	done := make(chan ended, 1)
	go func() {
		outcome, err := start.Run(ctx, apitest.Config(e.t), c)
		done <- ended{outcome, err}
	}()
	return done
}

// run waits for a PipelineRun that releases an application and goes on.
func (e *environment) run(app string) *pipeline.PipelineRun {
	e.t.Helper()
	var found *pipeline.PipelineRun
	apitest.Eventually(e.t, func(ctx context.Context) error {
		for _, r := range e.runs(ctx) {
			if r.Labels["serin.dev/app"] == app && !r.IsDone() {
				found = &r
				return nil
			}
		}
		return fmt.Errorf("no PipelineRun releases %s", app)
	})
	return found
}

func (e *environment) runs(ctx context.Context) []pipeline.PipelineRun {
	e.t.Helper()
	list, err := e.tekton.PipelineRuns(e.namespace).List(ctx, metav1.ListOptions{})
	must(e.t, err)
	return list.Items
}

// finish ends a PipelineRun as Tekton does, after a stage with a verdict if there is one.
func (e *environment) finish(r *pipeline.PipelineRun, outcome run.Outcome, verdict string) {
	e.t.Helper()
	now := metav1.Now()
	condition := func(succeeded bool) duck.Conditions {
		c := apis.Condition{Type: apis.ConditionSucceeded, Status: corev1.ConditionTrue, Reason: "Succeeded"}
		if !succeeded {
			c.Status, c.Reason = corev1.ConditionFalse, "Failed"
		}
		return duck.Conditions{c}
	}
	if verdict != "" {
		task, err := e.tekton.TaskRuns(e.namespace).Create(e.t.Context(), &pipeline.TaskRun{
			ObjectMeta: metav1.ObjectMeta{Name: r.Name + "-stage-20", Labels: map[string]string{
				"tekton.dev/pipelineRun": r.Name, "tekton.dev/pipelineTask": "stage-20"}},
			Spec: pipeline.TaskRunSpec{TaskRef: &pipeline.TaskRef{Name: "canary-stage"}},
		}, metav1.CreateOptions{})
		must(e.t, err)
		task.Status.StartTime, task.Status.CompletionTime = &now, &now
		task.Status.Conditions = condition(verdict == "pass")
		task.Status.Results = []pipeline.TaskRunResult{
			{Name: "verdict", Type: "string", Value: *pipeline.NewStructuredValues(verdict)}}
		_, err = e.tekton.TaskRuns(e.namespace).UpdateStatus(e.t.Context(), task, metav1.UpdateOptions{})
		must(e.t, err)
	}
	r.Status.StartTime, r.Status.CompletionTime = &now, &now
	r.Status.Conditions = condition(outcome.Done())
	for name, value := range map[string]string{"outcome": string(outcome), "reason": "because"} {
		r.Status.Results = append(r.Status.Results,
			pipeline.PipelineRunResult{Name: name, Value: *pipeline.NewStructuredValues(value)})
	}
	_, err := e.tekton.PipelineRuns(e.namespace).UpdateStatus(e.t.Context(), r, metav1.UpdateOptions{})
	must(e.t, err)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// names are those of the PipelineRuns that are there.
func (e *environment) names() []string {
	e.t.Helper()
	var all []string
	for _, r := range e.runs(e.t.Context()) {
		all = append(all, r.Name)
	}
	return all
}

func TestChanged(t *testing.T) {
	e := newEnvironment(t)
	e.deploy("new", "1", canary)
	e.deploy("same", "1", canary)
	e.deploy("same-primary", "1", "")
	e.promoted("same")
	e.deploy("shop", "1", canary+"\n  annotations: {serin.dev/pipeline: careful, serin.dev/parameters: "+
		`'{"hosts": "shop.test"}'}`)
	e.deploy("shop-primary", "1", "")
	e.promoted("shop")
	e.push("shop", "2")
	e.deploy("plain", "1", "")

	got := map[string]string{}
	for _, c := range e.changed() {
		got[c.App.Name] = fmt.Sprintf("%s %v %v %d", c.Pipeline, c.Parameters, c.Serving != "", len(c.Revision))
	}
	want := map[string]string{"new": " map[] false 64", "shop": "careful map[hosts:shop.test] true 64"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("changed (-want +got):\n%s", diff)
	}
	if named := e.changed(" plain", "same"); len(named) != 1 || named[0].App.Name != "plain" {
		t.Errorf("of plain and same %v have changed, want plain", named)
	}
	_, err := start.Changed(t.Context(), e.cluster, e.namespace, []string{"absent", "plain"})
	if !errors.Is(err, failure.ErrConfig) || !strings.Contains(err.Error(), "has no Deployment absent") {
		t.Errorf("an application that is absent: %v, want a refusal", err)
	}
	e.deploy("odd", "1", canary+"\n  annotations: {serin.dev/parameters: '[]'}")
	_, err = start.Changed(t.Context(), e.cluster, e.namespace, nil)
	if !errors.Is(err, failure.ErrConfig) || !strings.Contains(err.Error(), "annotation serin.dev/parameters") {
		t.Errorf("parameters that are a list: %v, want a refusal", err)
	}
}

// TestToldTwice starts one run for two steps, as for a webhook that is delivered twice.
func TestToldTwice(t *testing.T) {
	e := newEnvironment(t)
	e.deploy("shop", "1", canary+"\n  annotations: {serin.dev/parameters: '{\"hosts\": \"shop.test\"}'}")
	c := e.config("first")
	c.Parameters = start.Object{"gateways": "public", "hosts": "other.test"}
	first, second := e.begin(t.Context(), c), e.begin(t.Context(), e.config("second"))
	r := e.run("shop")
	revision := e.changed("shop")[0].Revision
	if want := "shop-" + revision[:12]; r.Name != want || r.Spec.PipelineRef.Name != "canary" ||
		r.Spec.TaskRunTemplate.ServiceAccountName != "serin" || r.Annotations["serin.dev/revision"] != revision {
		t.Errorf("PipelineRun %s of Pipeline %s as %s with %v, want %s", r.Name, r.Spec.PipelineRef.Name,
			r.Spec.TaskRunTemplate.ServiceAccountName, r.Annotations, want)
	}
	given := map[string]string{}
	for _, p := range r.Spec.Params {
		given[p.Name] = p.Value.StringVal
	}
	if given["app"] != "shop" || given["hosts"] != "shop.test" || given["on-busy"] != "supersede" {
		t.Errorf("parameters %v, want the Deployment's above the step's, and the newest to win", given)
	}
	e.finish(r, run.Initialized, "")
	for _, step := range []<-chan ended{first, second} {
		got := <-step
		o := got.outcome
		if got.err != nil || o.Names() != "shop" || o.Runs() != r.Name || o.Failed() != "" {
			t.Errorf("released %s by %s (%v), want shop by %s", o.Names(), o.Runs(), got.err, r.Name)
		}
	}
	e.deploy("shop-primary", "1", "")
	e.promoted("shop")
	third := <-e.begin(t.Context(), e.config("third"))
	if third.err != nil || len(third.outcome) != 0 || len(e.names()) != 1 {
		t.Errorf("with nothing changed: %v (%v) and runs %v, want none and one run", third.outcome, third.err,
			e.names())
	}
}

// TestBackAgain releases a revision again that was released before another.
func TestBackAgain(t *testing.T) {
	e := newEnvironment(t)
	e.deploy("shop", "1", canary)
	e.deploy("shop-primary", "1", "")
	for _, image := range []string{"1", "2", "1"} {
		e.push("shop", image)
		step := e.begin(t.Context(), e.config("push-"+image))
		e.finish(e.run("shop"), run.Promoted, "pass")
		must(t, (<-step).err)
		e.promoted("shop")
	}
	names := e.names()
	again := slices.ContainsFunc(names, func(name string) bool { return strings.HasSuffix(name, "-2") })
	if len(names) != 3 || !again {
		t.Errorf("runs %v, want three, one of them a second attempt", names)
	}
}

func TestFailures(t *testing.T) {
	cases := map[string]struct {
		outcome run.Outcome
		verdict string
		exit    int
		again   int // runs after another step for the same revision
		failed  string
	}{
		"bad":          {run.RolledBack, "fail", failure.ExitRejected, 1, "shop"},
		"no traffic":   {run.RolledBack, "inconclusive", failure.ExitInconclusive, 2, "shop"},
		"refused":      {run.Refused, "", failure.ExitConfig, 2, ""},
		"cluster away": {run.Failed, "", failure.ExitError, 2, ""},
		"superseded":   {run.Superseded, "", failure.ExitOK, 2, ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			e := newEnvironment(t)
			e.deploy("shop", "2", canary)
			step := e.begin(t.Context(), e.config("first"))
			e.finish(e.run("shop"), c.outcome, c.verdict)
			got := <-step
			if failure.Code(got.err) != c.exit || got.outcome.Failed() != c.failed {
				t.Errorf("exit %d, failed %q (%v), want %d and %q", failure.Code(got.err), got.outcome.Failed(),
					got.err, c.exit, c.failed)
			}
			step = e.begin(t.Context(), e.config("second"))
			if c.again == 2 {
				e.finish(e.run("shop"), run.Promoted, "pass")
				must(t, (<-step).err)
			} else if got = <-step; failure.Code(got.err) != c.exit ||
				!strings.Contains(got.err.Error(), "judged before") {
				t.Errorf("another step for the same revision: %v, want what the first said", got.err)
			}
			if names := e.names(); len(names) != c.again {
				t.Errorf("runs %v, want %d", names, c.again)
			}
		})
	}
}

// TestOneBadOfTwo tells of the bad one, and lets the other be released.
func TestOneBadOfTwo(t *testing.T) {
	e := newEnvironment(t)
	e.deploy("docs", "2", canary)
	e.deploy("lost", "2", canary+"\n  annotations: {serin.dev/pipeline: absent}")
	e.deploy("odd", "2", canary+"\n  annotations: {serin.dev/parameters: '{\"colour\": \"red\"}'}")
	e.deploy("shop", "2", canary)
	step := e.begin(t.Context(), e.config("first"))
	e.finish(e.run("shop"), run.RolledBack, "fail")
	e.finish(e.run("docs"), run.Promoted, "pass")
	got := <-step
	if failure.Code(got.err) != failure.ExitRejected || got.outcome.Failed() != "shop" {
		t.Fatalf("failed %q (%v), want shop and exit 3", got.outcome.Failed(), got.err)
	}
	for _, want := range []string{"3 of 4 releases failed", "has no Pipeline absent", "has no parameter colour",
		"of shop ended rolled-back: because"} {
		if !strings.Contains(got.err.Error(), want) {
			t.Errorf("error %v, want %q in it", got.err, want)
		}
	}
}

// TestCancelled cancels the runs that were started for the same run, and leaves those of others alone.
func TestCancelled(t *testing.T) {
	e := newEnvironment(t)
	e.deploy("docs", "2", canary)
	others := e.config("other")
	others.Apps = []string{"docs"}
	other := e.begin(t.Context(), others)
	docs := e.run("docs")

	e.deploy("shop", "2", canary)
	ctx, terminate := context.WithCancelCause(t.Context())
	step := e.begin(ctx, e.config("mine"))
	shop := e.run("shop")
	terminate(errors.New("terminated signal received"))
	if got := <-step; got.err == nil || got.err.Error() != "terminated signal received; run "+
		docs.Name+" of another goes on; run "+shop.Name+" is cancelled, and gives the traffic back" {
		t.Errorf("terminated: %v, want that it was, and what became of the runs", got.err)
	}
	for _, r := range e.runs(t.Context()) {
		want := ""
		if r.Name == shop.Name {
			want = pipeline.PipelineRunSpecStatusCancelledRunFinally
		}
		if string(r.Spec.Status) != want {
			t.Errorf("PipelineRun %s has spec.status %q, want %q", r.Name, r.Spec.Status, want)
		}
	}
	e.finish(docs, run.Promoted, "pass")
	must(t, (<-other).err)
}

// TestAnotherRunOfThatName is passed by: it releases something else.
func TestAnotherRunOfThatName(t *testing.T) {
	e := newEnvironment(t)
	e.deploy("shop", "2", canary)
	name := start.Name("shop", e.changed("shop")[0].Revision, 1)
	_, err := e.tekton.PipelineRuns(e.namespace).Create(t.Context(), &pipeline.PipelineRun{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       pipeline.PipelineRunSpec{PipelineRef: &pipeline.PipelineRef{Name: "canary"}},
	}, metav1.CreateOptions{})
	must(t, err)
	step := e.begin(t.Context(), e.config("first"))
	r := e.run("shop")
	e.finish(r, run.Promoted, "pass")
	must(t, (<-step).err)
	if r.Name != name+"-2" {
		t.Errorf("run %s, want %s-2", r.Name, name)
	}
}
