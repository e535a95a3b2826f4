package status

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	v1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/cluster/workload"
)

// judges is what the names of steps that judge begin with.
const judges = "analyze"

// again is how long it takes to read a log anew that has ended before its task.
const again = 5 * time.Second

// detail follows what people want to see besides: the versions, the events, and the numbers of the stage that is
// judged. A step that judges writes them to its log, a line each time that a scrape is in: they cost the release no
// call. What cannot be read is told, and ends nothing.
type detail struct {
	*follower
	cluster *kube.Cluster
	app     application.Application
	since   time.Time // when the run was made
	reading sync.WaitGroup
	within  context.Context // in which it is read

	planned  []string
	versions map[string]string // told, by Deployment
	logs     map[string]bool   // that are read, by pod and container
	tasks    map[string]task   // by pod
	unread   map[string]bool   // told
}

// task is one whose logs are read, while it goes on.
type task struct {
	goesOn context.Context
	end    context.CancelFunc
}

// FollowClosely is Follow that also tells the plan, the versions, the events, and how far the judging is. That is a
// watch of each more, and a log for each stage.
func FollowClosely(ctx context.Context, c *kube.Cluster, r Run, tell func(Change)) (Run, error) {
	f := newFollower(r.ID, tell)
	f.detail = &detail{
		follower: f, cluster: c, app: application.Application{Namespace: r.ID.Namespace, Name: r.App}, since: r.Created,
		versions: map[string]string{}, logs: map[string]bool{}, tasks: map[string]task{}, unread: map[string]bool{},
	}
	return f.follow(ctx, c)
}

// begin is called before anything is seen.
func (d *detail) begin(ctx context.Context) {
	d.within = ctx
	deployments := d.cluster.Objects(kube.Deployments, d.app.Namespace)
	for what, s := range map[string]source{
		"the version that serves": {deployments, kube.Named(d.app.Primary()), d.seeDeployment},
		"the canary's version":    {deployments, kube.Named(d.app.Name), d.seeDeployment},
		"events": {d.cluster.Objects(kube.Events, d.app.Namespace),
			v1.ListOptions{LabelSelector: application.Label + "=" + d.app.Name}, d.seeEvent},
	} {
		d.reading.Go(func() { d.without(what, kube.Follow(ctx, s.of, s.selected, s.see)) })
	}
}

// without tells once what cannot be read.
func (d *detail) without(what string, err error) {
	if err == nil || d.within.Err() != nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.unread[what] {
		d.unread[what] = true
		d.tell(Change{At: d.cluster.Now(), Unread: fmt.Sprintf("%s: %v", what, err)})
	}
}

// plan tells the tasks of the Pipeline, once Tekton has resolved it.
func (d *detail) plan(pipelineRun *unstructured.Unstructured) {
	if all := planned(pipelineRun); len(all) > 0 && !slices.Equal(all, d.planned) {
		d.planned = all
		d.tell(Change{At: d.cluster.Now(), Plan: all})
	}
}

func (d *detail) seeDeployment(kind watch.EventType, o runtime.Object) (bool, error) {
	deployment, err := workload.FromObject(o)
	if err != nil || kind == watch.Deleted {
		return false, err
	}
	v := version(deployment, "")
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.versions[deployment.Name] == v.String() {
		return false, nil
	}
	d.versions[deployment.Name] = v.String()
	change := Change{At: d.cluster.Now(), Canary: &v}
	if deployment.Name == d.app.Primary() {
		change = Change{At: d.cluster.Now(), Serving: &v}
	}
	d.tell(change)
	return false, nil
}

func (d *detail) seeEvent(kind watch.EventType, o runtime.Object) (bool, error) {
	u, ok := o.(*unstructured.Unstructured)
	if !ok {
		return false, fmt.Errorf("reading an Event: got %T", o)
	}
	text, _, _ := unstructured.NestedString(u.Object, "lastTimestamp")
	at, err := time.Parse(time.RFC3339, text)
	if err != nil || kind != watch.Added || at.Before(d.since) {
		return false, nil // of an earlier run
	}
	message, _, _ := unstructured.NestedString(u.Object, "message")
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tell(Change{At: at, Event: message})
	return false, nil
}

// read reads the logs of a task's steps that judge, each once. It is called under the lock.
func (d *detail) read(t Task, taskRun *unstructured.Unstructured) error {
	var of struct {
		Status struct {
			Pod   string `json:"podName"`
			Steps []step `json:"steps"`
		} `json:"status"`
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(taskRun.Object, &of); err != nil {
		return fmt.Errorf("reading the steps of TaskRun %s: %w", taskRun.GetName(), err)
	}
	pod := of.Status.Pod
	task, known := d.tasks[pod]
	if !known {
		task.goesOn, task.end = context.WithCancel(d.within)
		d.tasks[pod] = task
	}
	if !t.Ended.IsZero() {
		task.end()
	}
	for _, s := range of.Status.Steps {
		key := pod + "/" + s.Container
		if !s.judges() || s.Running == nil && s.Terminated == nil || d.logs[key] {
			continue
		}
		d.logs[key] = true
		d.reading.Go(func() { d.numbers(task.goesOn, t, pod, s.Container) })
	}
	return nil
}

// numbers tells those of a step that judges, or that they cannot be read.
func (d *detail) numbers(task context.Context, t Task, pod, container string) {
	err := d.readLog(task, t, pod, container)
	if apierrors.IsNotFound(err) && !t.Ended.IsZero() {
		return // its pod is gone, its results are not
	}
	d.without("the numbers of "+t.Name, err)
}

// readLog reads one until its task has ended. A stream that ends before is opened again, and read from its beginning.
func (d *detail) readLog(task context.Context, t Task, pod, container string) error {
	for {
		var log io.ReadCloser
		err := kube.Retry(d.within, func(ctx context.Context) (err error) {
			log, err = d.cluster.Log(ctx, d.app.Namespace, pod, container, true)
			return err
		})
		if err != nil {
			return err
		}
		d.readLines(log, t)
		select {
		case <-task.Done():
			return nil
		case <-time.After(again):
		}
	}
}

func (d *detail) readLines(log io.ReadCloser, t Task) {
	defer log.Close()
	j := Judging{Task: t.Name}
	lines := bufio.NewReader(log)
	for {
		line, err := lines.ReadString('\n')
		if err == nil && j.read(line) {
			told := j.clone()
			d.mu.Lock()
			d.tell(Change{At: told.At, Judging: &told})
			d.mu.Unlock()
		}
		if err != nil {
			return
		}
	}
}
