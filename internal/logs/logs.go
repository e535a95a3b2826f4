// Package logs prints what the steps of a run have logged, or log while it goes on.
package logs

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	labels "github.com/tektoncd/pipeline/pkg/apis/pipeline"
	tekton "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/serin-cd/serin/internal/terminal"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/release/status"
	"github.com/serin-cd/serin/pkg/task/failure"
)

// Printer prints the logs of one run.
type Printer struct {
	Cluster *kube.Cluster
	Run     status.Run
	Task    string // whose steps alone are printed, empty for all
	Out     io.Writer

	mu      sync.Mutex
	printed sets.Set[string] // steps, by pod and container
	seen    bool             // a task that is printed
	err     error            // of writing
	streams sync.WaitGroup
}

// Print prints what there is, task by task and step by step.
func (p *Printer) Print(ctx context.Context) error {
	list, err := kube.List(ctx, p.taskRuns(), p.selected())
	if err != nil {
		return fmt.Errorf("listing the TaskRuns of %s/%s: %w", p.Run.ID.Namespace, p.Run.ID.Name, err)
	}
	var all []*tekton.TaskRun
	for i := range list.Items {
		t, err := read(&list.Items[i])
		if err != nil {
			return err
		}
		all = append(all, t)
	}
	slices.SortStableFunc(all, func(a, b *tekton.TaskRun) int {
		return started(a).Compare(started(b).Time)
	})
	for _, t := range all {
		if err := p.task(ctx, t); err != nil {
			return err
		}
	}
	if !p.seen {
		return p.nothing(len(all))
	}
	return p.err
}

func started(t *tekton.TaskRun) *metav1.Time {
	if t.Status.StartTime == nil {
		return &metav1.Time{}
	}
	return t.Status.StartTime
}

// nothing is the error of a run none of whose tasks are printed.
func (p *Printer) nothing(tasks int) error {
	switch {
	case p.Task != "" && tasks > 0:
		return failure.Configf("reading the logs of run %s: it has no task %s so far: tkn canary status %s lists "+
			"those it has", p.Run.ID.Name, p.Task, p.Run.App)
	case p.Run.Pruned():
		return failure.Configf("reading the logs of run %s: its PipelineRun is gone, and its pods with it: "+
			"tkn canary explain %s tells what is still known", p.Run.ID.Name, p.Run.App)
	}
	return failure.Configf("reading the logs of run %s: it has no task so far", p.Run.ID.Name)
}

// Follow prints also what the steps log from now on, until the run ends or the task does. It watches the TaskRuns and
// the PipelineRun, and asks nothing while nothing changes.
func (p *Printer) Follow(ctx context.Context) error {
	if !p.Run.Ended.IsZero() || p.Run.Pruned() {
		return p.Print(ctx)
	}
	watching, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var tasks sync.WaitGroup
	tasks.Go(func() {
		err := kube.Follow(watching, p.taskRuns(), p.selected(),
			func(_ watch.EventType, o runtime.Object) (bool, error) { return p.see(ctx, o) })
		if err == nil {
			err = errEnded
		}
		stop(err)
	})
	err := kube.Follow(watching, p.Cluster.Objects(kube.PipelineRuns, p.Run.ID.Namespace), kube.Named(p.Run.ID.Name),
		p.ended)
	stop(nil)
	tasks.Wait()
	p.streams.Wait()
	if cause := context.Cause(watching); errors.Is(cause, errEnded) {
		err = nil
	}
	if err != nil {
		return fmt.Errorf("following the logs of run %s/%s: %w", p.Run.ID.Namespace, p.Run.ID.Name, err)
	}
	return p.Print(ctx) // what has been logged between the last look and the end
}

// errEnded is that the task has ended which alone is followed.
var errEnded = errors.New("the task has ended")

func (p *Printer) ended(kind watch.EventType, o runtime.Object) (bool, error) {
	u, ok := o.(*unstructured.Unstructured)
	if !ok || kind == watch.Deleted {
		return true, nil
	}
	r, _, err := status.RunOf(u)
	return !r.Ended.IsZero(), err
}

// see follows each step of a task that has begun.
func (p *Printer) see(ctx context.Context, o runtime.Object) (ended bool, err error) {
	u, ok := o.(*unstructured.Unstructured)
	if !ok {
		return false, fmt.Errorf("reading a TaskRun: got %T", o)
	}
	t, err := read(u)
	if err != nil || !p.wants(t) {
		return false, err
	}
	for _, s := range t.Status.Steps {
		if (s.Running != nil || s.Terminated != nil) && p.first(t, s.Container) {
			p.streams.Go(func() { p.step(ctx, t, s, true) })
		}
	}
	return p.Task != "" && t.Status.CompletionTime != nil, nil
}

// task prints the steps of a task that has begun.
func (p *Printer) task(ctx context.Context, t *tekton.TaskRun) error {
	if !p.wants(t) {
		return nil
	}
	p.seen = true
	for _, s := range t.Status.Steps {
		if (s.Running != nil || s.Terminated != nil) && p.first(t, s.Container) {
			if !p.step(ctx, t, s, false) {
				return p.err // its pod is gone, with all steps
			}
		}
	}
	return p.err
}

func (p *Printer) wants(t *tekton.TaskRun) bool {
	return p.Task == "" || t.Labels[labels.PipelineTaskLabelKey] == p.Task
}

// first says whether a step is printed for the first time, or with no container its pod.
func (p *Printer) first(t *tekton.TaskRun, container string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.printed == nil {
		p.printed = sets.New[string]()
	}
	key := t.Status.PodName + "/" + container
	defer p.printed.Insert(key)
	return !p.printed.Has(key)
}

// step prints the log of a step, and says whether its pod is there.
func (p *Printer) step(ctx context.Context, t *tekton.TaskRun, s tekton.StepState, follow bool) bool {
	task := t.Labels[labels.PipelineTaskLabelKey]
	log, err := p.Cluster.Log(ctx, t.Namespace, t.Status.PodName, s.Container, follow)
	if apierrors.IsNotFound(err) {
		if !p.first(t, "") {
			return false // it is said once
		}
		p.line(task, "", fmt.Sprintf("the pod is gone, and its log with it: tkn canary explain %s --run %s tells what "+
			"was decided", p.Run.App, p.Run.ID.Name))
		return false
	}
	if err == nil {
		defer log.Close()
		lines := bufio.NewReader(log)
		for err == nil {
			var line string
			if line, err = lines.ReadString('\n'); line != "" {
				p.line(task, s.Name, strings.TrimRight(line, "\n"))
			}
		}
	}
	if !errors.Is(err, io.EOF) && ctx.Err() == nil {
		p.line(task, s.Name, fmt.Sprintf("the log cannot be read: %s", err))
	}
	return true
}

// line prints a line with where it is from.
func (p *Printer) line(task, step, text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	from := task
	if step != "" {
		from += " " + step
	}
	if _, err := fmt.Fprintf(p.Out, "%s %s\n", terminal.Faint(from+" |"), text); err != nil && p.err == nil {
		p.err = err
	}
}

type taskRuns interface {
	List(context.Context, metav1.ListOptions) (*unstructured.UnstructuredList, error)
	Watch(context.Context, metav1.ListOptions) (watch.Interface, error)
}

func (p *Printer) taskRuns() taskRuns { return p.Cluster.Objects(kube.TaskRuns, p.Run.ID.Namespace) }

func (p *Printer) selected() metav1.ListOptions {
	return metav1.ListOptions{LabelSelector: labels.PipelineRunLabelKey + "=" + p.Run.ID.Name}
}

func read(u *unstructured.Unstructured) (*tekton.TaskRun, error) {
	var t tekton.TaskRun
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &t); err != nil {
		return nil, fmt.Errorf("reading TaskRun %s: %w", u.GetName(), err)
	}
	return &t, nil
}
