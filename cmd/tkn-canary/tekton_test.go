package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/serin-cd/serin/internal/releasetest"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/judge/verdict"
	"github.com/serin-cd/serin/pkg/release"
	"github.com/serin-cd/serin/pkg/release/prepare"
	"github.com/serin-cd/serin/pkg/release/promote"
	"github.com/serin-cd/serin/pkg/release/rollback"
	"github.com/serin-cd/serin/pkg/release/stage"
	"github.com/serin-cd/serin/pkg/task/parameter"
	"github.com/serin-cd/serin/pkg/task/run"
)

// player does with a PipelineRun what Tekton does: it runs what the Tasks run, in this process, and writes the status
// of the run and its TaskRuns. There is no traffic, so it is told the verdict: pass, fail, or hold for a stage that is
// not over.
type player struct {
	app     *releasetest.App
	verdict string
}

// next is the next PipelineRun that has not begun.
func (k player) next(ctx context.Context) (found *unstructured.Unstructured, err error) {
	err = kube.Follow(ctx, k.app.Cluster.Objects(kube.PipelineRuns, k.app.Namespace), metav1.ListOptions{},
		func(_ watch.EventType, o runtime.Object) (bool, error) {
			u, ok := o.(*unstructured.Unstructured)
			if !ok {
				return false, fmt.Errorf("following the PipelineRuns: got %T", o)
			}
			if _, begun, _ := unstructured.NestedString(u.Object, "status", "startTime"); !begun {
				found = u
			}
			return found != nil, nil
		})
	return found, err
}

// make makes a PipelineRun of a name, which releases an image, or the Deployment as it is.
func (k player) make(ctx context.Context, name, image string) (*unstructured.Unstructured, error) {
	made := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{
		"pipelineRef": map[string]any{"name": "canary"},
		"params": []any{map[string]any{"name": "app", "value": k.app.Name},
			map[string]any{"name": "image", "value": image}},
	}}}
	made.SetAPIVersion("tekton.dev/v1")
	made.SetKind("PipelineRun")
	made.SetName(name)
	return k.app.Cluster.Objects(kube.PipelineRuns, k.app.Namespace).Create(ctx, made, metav1.CreateOptions{})
}

// play runs a PipelineRun to its end, or to its first stage.
func (k player) play(ctx context.Context, object *unstructured.Unstructured) error {
	r := k.app.Run(object.GetName())
	r.ID.UID = string(object.GetUID())
	r.Lease.Holder = r.ID
	if err := k.write(ctx, kube.PipelineRuns, r.ID.Name, running()); err != nil {
		return err
	}
	var outcome run.Outcome
	err := k.task(ctx, r, "prepare", func() (_ map[string]string, err error) {
		outcome, _, err = prepare.Run(ctx, r, preparation(object))
		return nil, err
	})
	if err != nil {
		return err
	}
	if outcome == prepare.Proceed {
		if held, err := k.stages(ctx, r); err != nil || held {
			return err
		}
	}
	if outcome == prepare.Promote || outcome == prepare.Proceed && k.verdict == "pass" {
		if err := k.task(ctx, r, "promote", func() (map[string]string, error) {
			_, err := promote.Run(ctx, r, time.Minute)
			return nil, err
		}); err != nil {
			return err
		}
	}
	return k.finish(ctx, r)
}

// preparation is what the run's parameters say.
func preparation(object *unstructured.Unstructured) prepare.Preparation {
	p := releasetest.Preparation()
	all, _, _ := unstructured.NestedSlice(object.Object, "spec", "params")
	for _, param := range all {
		given, _ := param.(map[string]any)
		value, _ := given["value"].(string)
		switch given["name"] {
		case "image":
			p.Image = parameter.Image(value)
		case "to-revision":
			p.ToRevision = value
		case "skip-analysis":
			p.SkipAnalysis = value
		}
	}
	return p
}

// stages plays each stage until one does not pass.
func (k player) stages(ctx context.Context, r *release.Release) (held bool, err error) {
	for _, weight := range []parameter.Weight{20, 40, 60} {
		name := fmt.Sprintf("stage-%d", weight)
		if k.verdict == "hold" {
			if err := k.begin(ctx, r, name); err != nil {
				return true, err
			}
			return true, stage.Shift(ctx, r, weight, time.Minute)
		}
		reason := map[string]string{"pass": "healthy: nothing", "fail": "worse: 50/100 failed"}[k.verdict]
		err := k.task(ctx, r, name, func() (map[string]string, error) {
			err := stage.Shift(ctx, r, weight, time.Minute)
			if err == nil && k.verdict == "fail" {
				err = r.Judged(verdict.Fail).Close(ctx, reason, reason)
			}
			return map[string]string{"verdict": k.verdict, "reason": reason, "evidence": fmt.Sprintf(
				`{"judge":"sequential","weight":%d,"since":35,"canary":[1,339],"primary":[0,7471]}`, weight)}, err
		})
		if err != nil || k.verdict == "fail" {
			return false, err
		}
	}
	return false, nil
}

// finish ends the run.
func (k player) finish(ctx context.Context, r *release.Release) error {
	rec, err := rollback.Run(ctx, r, r.ID, "the run ended before a verdict", time.Minute)
	if err != nil {
		return err
	}
	outcome, reason := rollback.Outcome(ctx, r, rec, true)
	return k.write(ctx, kube.PipelineRuns, r.ID.Name, ended(map[string]string{"outcome": string(outcome),
		"reason": reason}, outcome != run.RolledBack))
}

// task plays a task, and gives its TaskRun what do returns as results.
func (k player) task(ctx context.Context, r *release.Release, name string,
	do func() (map[string]string, error)) error {
	if err := k.begin(ctx, r, name); err != nil {
		return err
	}
	results, err := do()
	if err != nil {
		return fmt.Errorf("playing task %s of run %s: %w", name, r.ID.Name, err)
	}
	return k.write(ctx, kube.TaskRuns, r.ID.Name+"-"+name, ended(results, results["verdict"] != "fail"))
}

func (k player) begin(ctx context.Context, r *release.Release, name string) error {
	made := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{
		"taskRef": map[string]any{"name": "canary-stage"},
		"params":  []any{map[string]any{"name": "weight", "value": strings.TrimPrefix(name, "stage-")}},
	}}}
	made.SetAPIVersion("tekton.dev/v1")
	made.SetKind("TaskRun")
	made.SetName(r.ID.Name + "-" + name)
	made.SetLabels(map[string]string{"tekton.dev/pipelineRun": r.ID.Name, "tekton.dev/pipelineTask": name})
	if _, err := k.app.Cluster.Objects(kube.TaskRuns, k.app.Namespace).Create(ctx, made,
		metav1.CreateOptions{}); err != nil {
		return err
	}
	status := running()
	status["podName"] = made.GetName()
	return k.write(ctx, kube.TaskRuns, made.GetName(), status)
}

// write merges a status into an object's.
func (k player) write(ctx context.Context, of schema.GroupVersionResource, name string, status map[string]any) error {
	patch, err := json.Marshal(map[string]any{"status": status})
	if err != nil {
		return err
	}
	_, err = k.app.Cluster.Objects(of, k.app.Namespace).Patch(ctx, name, types.MergePatchType, patch,
		metav1.PatchOptions{}, "status")
	return err
}

// running is the status of an object of Tekton's that has begun.
func running() map[string]any {
	return map[string]any{"startTime": now(), "conditions": []any{
		map[string]any{"type": "Succeeded", "status": "Unknown", "reason": "Running"}}}
}

// ended is the status of an object of Tekton's that has ended with results.
func ended(results map[string]string, well bool) map[string]any {
	condition := map[string]any{"type": "Succeeded", "status": "False", "reason": "Failed"}
	if well {
		condition = map[string]any{"type": "Succeeded", "status": "True", "reason": "Succeeded"}
	}
	var all []any
	for name, value := range results {
		all = append(all, map[string]any{"name": name, "type": "string", "value": value})
	}
	return map[string]any{"completionTime": now(), "results": all, "conditions": []any{condition}}
}

func now() string { return time.Now().UTC().Format(time.RFC3339) }
