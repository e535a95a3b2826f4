package faults

import (
	"context"
	"fmt"
	"time"

	tekton "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/serin-cd/serin/e2e/sandbox"
	"github.com/serin-cd/serin/e2e/trial"
	"github.com/serin-cd/serin/pkg/cluster/kube"
)

// Times of the design that a fault is measured against.
const (
	progressDeadline = 90 * time.Second
	byStep           = 5 * time.Second  // from the signal
	byFinish         = 30 * time.Second // from the end of what ran
	byJanitor        = 3 * time.Minute
	byUndo           = progressDeadline + 30*time.Second

	lasting = 40 * time.Second // how long a moment lasts that is made to
	grace   = 30 * time.Second // that Kubernetes gives a pod which is deleted
)

// slack is what a machine with two processors may add, on which many runs are played at once: to the signal, which
// Tekton sends 1 to 2 s after a run is cancelled on a quiet one, and to the start of a pod.
const slack = 20 * time.Second

// Fault is a way in which a run, or the cluster, breaks.
type Fault struct {
	Name     string
	inject   func(ctx context.Context, c *cell) error        // breaks one run
	limit    func(m Moment) time.Duration                    // after which a PipelineRun breaks by itself
	timeouts func(limit time.Duration) *tekton.TimeoutFields // of such a PipelineRun
	begin    func(ctx context.Context, r *Round) error
	end      func(ctx context.Context, r *Round) error // of what begin broke
	lasts    time.Duration                             // from begin to end

	// within is how long after the fault the weights must be 100/0, or the release finished. Where the fault cannot
	// happen at the moment, impossible says why.
	within func(m Moment) (limit time.Duration, impossible string)

	// exposed is why requests are lost at the moment, whoever replaces pods then; nil or empty where none may be.
	exposed func(m Moment) string
}

// loses is why requests may be lost at a moment, empty where none may be.
func (f Fault) loses(m Moment) string {
	if f.exposed == nil {
		return ""
	}
	return f.exposed(m)
}

// cluster says whether it breaks what all runs share.
func (f Fault) cluster() bool { return f.begin != nil }

// Faults are all of them.
func Faults() []Fault {
	return []Fault{
		{Name: "Cancelled", inject: ask("Cancelled"), within: withoutFinally},
		{Name: "CancelledRunFinally", inject: ask("CancelledRunFinally"), within: withFinally},
		{Name: "StoppedRunFinally", inject: ask("StoppedRunFinally"), within: toItsEnd},
		{Name: "pipeline timeout", limit: toTheMoment, timeouts: pipelineTimeout, within: withoutFinally},
		{Name: "tasks timeout", limit: toTheMoment, timeouts: tasksTimeout, within: withFinally},
		{Name: "PipelineRun deleted", inject: deleteRun, within: withoutFinally},
		{Name: "step pod deleted", inject: deletePod, within: podless},
		{Name: "step killed -9", inject: func(_ context.Context, c *cell) error { return c.kill() }, within: killed},
		{Name: "Tekton stopped", begin: scaleTekton(0), end: scaleTekton(1), lasts: 4 * time.Minute,
			within: tektonAway},
		{Name: "API server restarted", begin: component(sandbox.APIServer, (*sandbox.Sandbox).Restart), end: nothing,
			lasts: time.Second, within: goesOn},
		{Name: "istiod stopped", begin: component(sandbox.Istiod, (*sandbox.Sandbox).Stop),
			end: component(sandbox.Istiod, (*sandbox.Sandbox).Start), lasts: lasting, within: goesOn,
			exposed: replacing},
		{Name: "Prometheus stopped", begin: component(sandbox.Prometheus, (*sandbox.Sandbox).Stop),
			end: component(sandbox.Prometheus, (*sandbox.Sandbox).Start), lasts: lasting, within: goesOn},
		{Name: "kubelet stopped", begin: component(sandbox.Kubelet, (*sandbox.Sandbox).Stop),
			end: component(sandbox.Kubelet, (*sandbox.Sandbox).Start), lasts: time.Minute, within: goesOn},
	}
}

// withoutFinally is for what ends a run with a signal to its step, and nothing after it.
func withoutFinally(m Moment) (time.Duration, string) {
	switch m.kind {
	case preparing, shifting, analysing, begun:
		return byStep + slack, ""
	case changed:
		return byJanitor + byUndo + slack, ""
	}
	return byJanitor + slack, ""
}

// withFinally is for what ends a run with a signal to its step, and then runs finish.
func withFinally(m Moment) (time.Duration, string) {
	switch m.kind {
	case preparing, shifting, analysing, begun:
		return byStep + slack, ""
	}
	return podless(m) // a pod that hangs gets no signal through
}

// podless is for a pod that is deleted, whose end Tekton may not have seen: then it makes another one.
func podless(m Moment) (time.Duration, string) {
	if m.kind == changed {
		return byUndo + slack, ""
	}
	return grace + byFinish + slack, ""
}

// toItsEnd is for what lets the task that runs go on.
func toItsEnd(Moment) (time.Duration, string) {
	return progressDeadline + lasting + byFinish + slack, ""
}

func killed(m Moment) (time.Duration, string) {
	switch m.kind {
	case prepared, shifted, passed:
		return 0, "no step runs"
	case changed:
		return byUndo + slack, ""
	}
	return byFinish + slack, ""
}

// tektonAway is for steps that go on, after which nothing happens: the Lease runs out, and the janitor comes. At weight
// 0, and where the run promotes, there is nothing to take back: it goes on when Tekton is there again.
func tektonAway(m Moment) (time.Duration, string) {
	if m.stage == 0 {
		limit, _ := goesOn(m)
		return 4*time.Minute + limit, ""
	}
	return 4*lasting + byJanitor + slack, "" // a stage whose checks fail a few times lasts as many intervals longer
}

// goesOn is for what a run outlives: the longest that is left of one.
func goesOn(Moment) (time.Duration, string) { return 6 * time.Minute, "" }

// replacing is for proxies that are not told of the primary's pods while these are replaced.
func replacing(m Moment) string {
	switch {
	case m.kind == begun || m.kind == changed:
		return "the Deployment replaces the primary's pods, and proxies learn of the new ones when istiod is back"
	case m.kind == analysing && m.stage == 60: // which takes as long as istiod is away
		return "the stage ends as istiod comes back, and the primary's pods are replaced before proxies are " +
			"connected again"
	}
	return ""
}

// ask sets a PipelineRun's spec.status, as tkn does.
func ask(status string) func(context.Context, *cell) error {
	return func(ctx context.Context, c *cell) error {
		return c.app.Patch(ctx, kube.PipelineRuns, c.run.Name, types.MergePatchType,
			fmt.Sprintf(`{"spec":{"status":%q}}`, status))
	}
}

// toTheMoment is how long a run takes to its moment, and a little longer.
func toTheMoment(m Moment) time.Duration {
	switch m.kind {
	case preparing:
		return lasting
	case begun, changed, draining:
		return 5 * time.Minute
	}
	return 2*time.Minute + time.Duration(m.stage)*3*time.Second
}

func pipelineTimeout(limit time.Duration) *tekton.TimeoutFields { return trial.Timeouts(limit, 0, 0) }

func tasksTimeout(limit time.Duration) *tekton.TimeoutFields {
	return trial.Timeouts(limit+10*time.Minute, limit, 10*time.Minute)
}

func deleteRun(ctx context.Context, c *cell) error {
	return c.app.Tekton.PipelineRuns(c.app.Namespace).Delete(ctx, c.run.Name, metav1.DeleteOptions{})
}

// deletePod deletes the pod of the task that is at work, or that waits for a node.
func deletePod(ctx context.Context, c *cell) error {
	task := c.moment.task()
	if task == "" {
		task = "prepare"
	}
	return c.app.Client.CoreV1().Pods(c.app.Namespace).DeleteCollection(ctx, metav1.DeleteOptions{},
		metav1.ListOptions{LabelSelector: "tekton.dev/pipelineRun=" + c.run.Name + ",tekton.dev/pipelineTask=" + task})
}

func scaleTekton(replicas int32) func(context.Context, *Round) error {
	return func(ctx context.Context, r *Round) error { return r.installation.ScaleTekton(ctx, replicas) }
}

func component(name string, do func(*sandbox.Sandbox, context.Context, string) error) func(context.Context,
	*Round) error {
	return func(ctx context.Context, r *Round) error { return do(r.installation.Sandbox, ctx, name) }
}

func nothing(context.Context, *Round) error { return nil }

// Pairs is the fault at each moment at which it can happen.
func (f Fault) Pairs() []Pair {
	var pairs []Pair
	for _, m := range Moments() {
		if _, impossible := f.within(m); impossible == "" {
			pairs = append(pairs, Pair{m, f})
		}
	}
	return pairs
}
