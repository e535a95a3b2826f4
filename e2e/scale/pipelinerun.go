package scale

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	tekton "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/types"

	"github.com/serin-cd/serin/pkg/cluster/kube"
)

// What becomes of a task, as Tekton says it.
const (
	succeeded = "Succeeded"
	failed    = "Failed"
	none      = "None"
)

// pipelineRun is a run of the Pipeline, played as Tekton does: one task after the other, and in each one step after
// the other.
type pipelineRun struct {
	*world
	app    *app
	name   string
	uid    string
	values values
}

// start makes the PipelineRun.
func (w *world) start(ctx context.Context, a *app, name string, given map[string]string) (*pipelineRun, error) {
	r := &pipelineRun{world: w, app: a, name: a.Name + "-" + name}
	var err error
	if r.values, err = parameters(w.catalog.pipeline.Name, w.catalog.pipeline.Spec.Params, given); err != nil {
		return nil, err
	}
	object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&tekton.PipelineRun{
		TypeMeta:   metav1.TypeMeta{APIVersion: tekton.SchemeGroupVersion.String(), Kind: "PipelineRun"},
		ObjectMeta: metav1.ObjectMeta{Name: r.name},
		Spec:       tekton.PipelineRunSpec{PipelineRef: &tekton.PipelineRef{Name: w.catalog.pipeline.Name}},
	})
	if err != nil {
		return nil, err
	}
	made, err := w.cluster.Objects(kube.PipelineRuns, a.Namespace).
		Create(ctx, &unstructured.Unstructured{Object: object}, metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("making PipelineRun %s/%s: %w", a.Namespace, r.name, err)
	}
	r.uid = string(made.GetUID())
	return r, nil
}

// play runs the tasks, and then those in finally. between is called after each task of the first kind.
func (r *pipelineRun) play(ctx context.Context, between func(task string) error) error {
	spec, ok := r.catalog.pipeline.Spec, true
	for _, t := range spec.Tasks { // each runs after the one before
		r.values["tasks."+t.Name+".status"] = none
		wanted, err := r.wanted(t, ok)
		if err != nil {
			return err
		}
		if !wanted {
			continue
		}
		if ok, err = r.task(ctx, t, "tasks", t.Name); err != nil {
			return err
		}
		if err := between(t.Name); err != nil {
			return err
		}
	}
	for _, t := range spec.Finally {
		done := false
		for try := 0; !done && try <= t.Retries; try++ {
			pod := t.Name
			if try > 0 {
				pod = fmt.Sprintf("%s-retry%d", t.Name, try)
			}
			var err error
			if done, err = r.task(ctx, t, "finally", pod); err != nil {
				return err
			}
		}
		ok = ok && done
	}
	return r.end(ctx, ok)
}

// wanted says whether a task is not skipped.
func (r *pipelineRun) wanted(t tekton.PipelineTask, ok bool) (bool, error) {
	for _, when := range t.When {
		if !ok {
			break // a task that has failed may have left no result
		}
		input, err := r.values.expand(when.Input)
		if err != nil {
			return false, err
		}
		ok = slices.Contains(when.Values, input) == (when.Operator == selection.In)
	}
	return ok, nil
}

// task runs the steps of a task, and keeps its status and its results.
func (r *pipelineRun) task(ctx context.Context, t tekton.PipelineTask, kind, attempt string) (bool, error) {
	task, given := r.catalog.tasks[t.TaskRef.Name], map[string]string{}
	var err error
	for _, p := range t.Params {
		if given[p.Name], err = r.values.expand(p.Value.StringVal); err != nil {
			return false, err
		}
	}
	inner, err := parameters(task.Name, task.Spec.Params, given)
	if err != nil {
		return false, err
	}
	inner["context.taskRun.namespace"] = r.app.Namespace
	pod, err := r.pod(attempt, t.Name)
	if err != nil {
		return false, err
	}
	var results []string
	for _, result := range task.Spec.Results {
		results = append(results, result.Name)
		inner["results."+result.Name+".path"] = filepath.Join(pod.dir, result.Name)
	}
	defer pod.place.leave()
	status := succeeded
	for _, s := range task.Spec.Steps {
		code, err := r.step(ctx, t.Name, task.Spec.StepTemplate.Env, s, inner, pod)
		if err != nil {
			return false, err
		}
		if code != 0 && s.OnError != tekton.Continue {
			status = failed
			break
		}
	}
	r.values["tasks."+t.Name+".status"] = status
	return status == succeeded, readResults(pod.dir, results, kind+"."+t.Name, r.values)
}

// step runs a step and returns its exit code.
func (r *pipelineRun) step(
	ctx context.Context, of string, common []corev1.EnvVar, s tekton.Step, inner values, pod pod,
) (int, error) {
	dir := filepath.Join(pod.dir, "steps", s.Name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return 0, err
	}
	var results []string
	for _, result := range s.Results {
		results = append(results, result.Name)
		inner["step.results."+result.Name+".path"] = filepath.Join(dir, result.Name)
	}
	env, err := inner.environment(common, s, map[string]string{
		"metadata.namespace": r.app.Namespace, "metadata.labels['tekton.dev/pipelineRun']": r.name,
		"metadata.labels['tekton.dev/pipelineRunUID']": r.uid,
	})
	if err != nil {
		return 0, err
	}
	ended, err := r.programs.run(ctx, pod.place, filepath.Base(s.Command[0]), append(env, "KUBECONFIG="+pod.kubeconfig),
		r.death(of, s.Name))
	if err != nil {
		return 0, err
	}
	ended.run, ended.app, ended.task, ended.step = r.name, r.app, of, s.Name
	r.ended(ended)
	return ended.code, readResults(dir, results, "steps."+s.Name, inner)
}

// death is when a step is to be killed; nil for never.
func (r *pipelineRun) death(task, step string) *death {
	if k := r.app.ending.kill; r.name == r.app.release() && k != nil && k.task == task && k.step == step {
		return &death{r.traffic.due(r.app), k.after}
	}
	return nil
}

// readResults keeps the results that were written, by names that begin with a prefix.
func readResults(dir string, results []string, prefix string, into values) error {
	for _, name := range results {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		into[prefix+".results."+name] = string(text)
	}
	return nil
}

// result is a result of the Pipeline, empty where it has none.
func (r *pipelineRun) result(name string) string {
	i := slices.IndexFunc(r.catalog.pipeline.Spec.Results, func(m tekton.PipelineResult) bool { return m.Name == name })
	if i < 0 {
		return ""
	}
	value, _ := r.values.expand(r.catalog.pipeline.Spec.Results[i].Value.StringVal) // without a value it is empty
	return strings.TrimSpace(value)
}

// end gives the PipelineRun the condition that Tekton gives it.
func (r *pipelineRun) end(ctx context.Context, ok bool) error {
	condition := `{"type":"Succeeded","status":"True","reason":"Succeeded"}`
	if !ok {
		condition = `{"type":"Succeeded","status":"False","reason":"Failed"}`
	}
	_, err := r.cluster.Objects(kube.PipelineRuns, r.app.Namespace).Patch(ctx, r.name, types.MergePatchType,
		[]byte(`{"status":{"conditions":[`+condition+`]}}`), metav1.PatchOptions{}, "status")
	if err != nil {
		return fmt.Errorf("ending PipelineRun %s/%s: %w", r.app.Namespace, r.name, err)
	}
	return nil
}
