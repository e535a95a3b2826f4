package faults

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/tektoncd/pipeline/pkg/apis/pipeline/pod"
	tekton "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/serin-cd/serin/e2e/load"
	"github.com/serin-cd/serin/e2e/trial"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/release/record"
	"github.com/serin-cd/serin/pkg/task/run"
)

// cell is one fault at one moment.
type cell struct {
	round   *Round
	moment  Moment
	fault   Fault
	app     *trial.App
	clients *trial.Clients
	serial  int // distinguishes the names of its runs

	run     *trial.Run
	held    *hold     // the write that makes the moment, nil for none
	waits   func()    // ends what keeps the run alive while it waits for its moment
	stopped int       // process that was stopped, 0 for none
	struck  time.Time // when it was broken, or will be
	err     error
	result  Result
}

// play breaks a run of the cell's own, and sees what becomes of it.
func (c *cell) play(ctx context.Context) {
	c.phase(ctx, "the run goes to its moment", (*cell).park)
	c.phase(ctx, "it is at its moment", (*cell).enter)
	c.phase(ctx, "it is broken", (*cell).strike)
	c.phase(ctx, "its moment ends", (*cell).loosen)
	c.phase(ctx, "weights are 100/0", (*cell).restored)
	c.phase(ctx, "it is at rest", (*cell).settled)
	c.phase(ctx, "the next run", (*cell).again)
	c.clear(ctx)
}

// clear ends what is left of a cell that failed, so that the next one at the same moment finds the application at rest.
func (c *cell) clear(ctx context.Context) {
	if c.err == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 8*time.Minute)
	defer cancel()
	c.alone()
	_ = c.loosen(ctx)
	_ = c.settled(ctx)
}

// phase does one thing, unless the cell has failed before.
func (c *cell) phase(ctx context.Context, what string, do func(*cell, context.Context) error) {
	if c.err != nil {
		return
	}
	ctx, cancel := context.WithTimeoutCause(ctx, 15*time.Minute, fmt.Errorf("%s: not within 15m", what))
	defer cancel()
	c.err = do(c, ctx)
}

// end is what became of the cell.
func (c *cell) end() Result {
	c.alone()
	if lost := c.count(); c.err == nil && c.fault.loses(c.moment) == "" {
		c.err = lost
	}
	c.result.Moment, c.result.Fault, c.result.At = c.moment.String(), c.fault.Name, c.struck.UTC().Truncate(time.Second)
	if c.err != nil {
		c.result.Failed = c.err.Error()
	}
	return c.result
}

// standing is how the application stands.
type standing struct {
	record   *record.Record // of the run that is played; empty where it has none yet
	replicas int32          // that the target asks for
}

// until waits for a condition of the application, as long as ctx allows.
func (c *cell) until(ctx context.Context, what string, holds func(context.Context, standing) (bool, error)) error {
	limit := 10 * time.Minute
	if deadline, ok := ctx.Deadline(); ok {
		limit = time.Until(deadline)
	}
	return c.app.Eventually(ctx, limit, what, func(ctx context.Context) (bool, error) {
		s, err := c.stands(ctx)
		if err != nil {
			return false, err
		}
		return holds(ctx, s)
	})
}

func (c *cell) stands(ctx context.Context) (standing, error) {
	s := standing{record: &record.Record{}}
	target, err := c.app.Deployment(ctx, c.app.Name)
	if err != nil {
		return s, err
	}
	s.replicas = *target.Spec.Replicas
	if last := c.round.board.last(c.app.Namespace); last.record != nil && last.record.ID.Name == c.run.Name {
		s.record = last.record
	}
	return s, nil
}

// push gives the target a new revision: an image and an environment that no revision had.
func (c *cell) push(ctx context.Context, name string, slowly bool) error {
	version := trial.V2
	if c.round.number.Add(1)%2 == 0 {
		version = trial.V3
	}
	environment := []map[string]string{{"name": "RELEASE", "value": name}}
	if slowly {
		environment = append(environment, map[string]string{"name": "READY_AFTER", "value": lasting.String()})
	}
	text, err := json.Marshal(environment)
	if err != nil {
		return err
	}
	return c.app.Patch(ctx, kube.Deployments, c.app.Name, types.JSONPatchType, fmt.Sprintf(
		`[{"op":"replace","path":"/spec/template/spec/containers/0/image","value":%q},{"op":"add","path":"/spec/template/spec/containers/0/env","value":%s}]`, version.Image(), text))
}

// park starts the run and returns when it waits for its moment.
func (c *cell) park(ctx context.Context) error {
	c.clients.Reset()
	name := fmt.Sprintf("r%d-%s", c.serial, strings.ToLower(strings.ReplaceAll(c.fault.Name, " ", "-")))
	name = strings.Trim(name[:min(len(name), 30)], "-")
	c.run = &trial.Run{App: c.app, Name: name}
	if err := c.push(ctx, name, c.moment.slowly()); err != nil {
		return err
	}
	c.arrange()
	if c.moment.task() == "" {
		return nil // it begins with its moment
	}
	if err := c.start(ctx); err != nil {
		return err
	}
	c.waits = c.keep(ctx)
	return c.app.Eventually(ctx, 8*time.Minute, c.moment.task()+" waits for a node",
		func(ctx context.Context) (bool, error) {
			pods, err := c.app.Client.CoreV1().Pods(c.app.Namespace).List(ctx,
				metav1.ListOptions{LabelSelector: "tekton.dev/pipelineRun=" + name + ",tekton.dev/pipelineTask=" +
					c.moment.task()})
			if err != nil || len(pods.Items) == 0 {
				return false, err
			}
			return pods.Items[0].Status.Phase == corev1.PodPending, nil
		})
}

// keep renews the run's Lease until the returned function is called, as its steps would: it may wait longer than the
// time after which a run that nobody works on counts as abandoned.
func (c *cell) keep(ctx context.Context) (stop func()) {
	ctx, stop = context.WithCancel(context.WithoutCancel(ctx))
	go func() {
		for sleepUntil(ctx, time.Now().Add(20*time.Second)) == nil {
			now := metav1.NewMicroTime(time.Now()).UTC().Format(metav1.RFC3339Micro)
			_ = c.app.Patch(ctx, kube.Leases, "serin-"+c.app.Name, types.MergePatchType,
				fmt.Sprintf(`{"spec":{"renewTime":%q}}`, now))
		}
	}()
	return stop
}

// label is what a node must have to run the task of the moment.
func (c *cell) label() string { return "serin.test/" + c.app.Namespace }

func (c *cell) start(ctx context.Context) (err error) {
	if c.fault.limit != nil {
		c.struck = time.Now().Add(c.fault.limit(c.moment))
	}
	change := func(spec *tekton.PipelineRunSpec) {
		if task := c.moment.task(); task != "" {
			spec.TaskRunSpecs = []tekton.PipelineTaskRunSpec{{PipelineTaskName: task,
				PodTemplate: &pod.PodTemplate{NodeSelector: map[string]string{c.label(): c.run.Name}}}}
		}
		if c.fault.limit != nil {
			spec.Timeouts = c.fault.timeouts(c.fault.limit(c.moment))
		}
	}
	c.run, err = c.app.StartWith(ctx, "canary", c.run.Name, c.moment.params(), change)
	return err
}

// enter lets the run come to its moment.
func (c *cell) enter(ctx context.Context) error {
	limit := 100*time.Second + max(0, time.Until(c.struck))
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("the run did not come to its moment"))
	defer cancel()
	if c.moment.task() == "" {
		if err := c.start(ctx); err != nil {
			return err
		}
	}
	if k := c.moment.kind; k != prepared && k != passed {
		// a run that times out must not be past its moment by then
		if err := sleepUntil(ctx, c.struck.Add(-early)); err != nil {
			return err
		}
		if err := c.openNode(ctx); err != nil {
			return err
		}
	}
	return c.reach(ctx)
}

// early is how long before its timeout a run is let go to its moment.
const early = 25 * time.Second

func sleepUntil(ctx context.Context, at time.Time) error {
	select {
	case <-time.After(time.Until(at)):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (c *cell) openNode(ctx context.Context) error {
	_, err := c.app.Client.CoreV1().Nodes().Patch(ctx, "node", types.MergePatchType,
		fmt.Appendf(nil, `{"metadata":{"labels":{%q:%q}}}`, c.label(), c.run.Name), metav1.PatchOptions{})
	return err
}

// strike breaks the run, or waits until it times out.
func (c *cell) strike(ctx context.Context) error {
	if c.fault.limit == nil {
		c.alone()
		c.struck = time.Now()
		return c.fault.inject(ctx, c)
	}
	defer c.alone()
	if time.Now().After(c.struck) {
		return fmt.Errorf("the run timed out before it came to its moment")
	}
	return sleepUntil(ctx, c.struck)
}

// alone ends what has kept the run alive.
func (c *cell) alone() {
	if c.waits != nil {
		c.waits()
	}
}

// loosen ends what made the moment last, a little after it was broken.
func (c *cell) loosen(ctx context.Context) error {
	if err := sleepUntil(ctx, time.Now().Add(5*time.Second)); err != nil {
		return err
	}
	if c.held != nil {
		c.held.release()
	}
	if err := c.resume(); err != nil {
		return err
	}
	return c.openNode(ctx)
}

// restored waits until the weights are 100/0 and the run is closed, and measures when that was.
func (c *cell) restored(ctx context.Context) error {
	limit, _ := c.fault.within(c.moment)
	waits, cancel := context.WithTimeout(ctx, limit+5*time.Minute)
	defer cancel()
	last, err := c.round.board.await(waits, c.app.Namespace, func(s seen) bool {
		return s.weight == 0 && s.record != nil && s.record.ID.Name == c.run.Name && !s.record.Open()
	})
	if err != nil {
		return fmt.Errorf("weights were not 100/0 within %s: %w", limit+5*time.Minute, err)
	}
	took := max(0, last.restored.Sub(c.struck))
	if last.record.Outcome == run.Promoted {
		limit, _ = goesOn(c.moment)
	}
	c.result.Seconds, c.result.Outcome, c.result.By = took.Round(100*time.Millisecond).Seconds(),
		string(last.record.Outcome), by(last.record, c.fault)
	if took > limit {
		return fmt.Errorf("weights were 100/0 after %s, want at most %s: %s", took.Round(time.Second), limit,
			last.record.Reason)
	}
	return c.moment.shape.restored(ctx, c.app)
}

// by tells from the reason of a record who took the run back.
func by(rec *record.Record, f Fault) string {
	switch {
	case rec.Outcome == run.Promoted:
		return "promoted"
	case strings.HasPrefix(rec.Reason, "the step was stopped"):
		return "step"
	case strings.HasPrefix(rec.Reason, "the run was abandoned"):
		return "janitor"
	case strings.HasPrefix(rec.Reason, "the run ended") || strings.HasPrefix(rec.Reason, "the promotion failed"):
		return "finish"
	}
	return "stage"
}

// settled waits until the PipelineRun has ended or is gone, and the target has no pods.
func (c *cell) settled(ctx context.Context) error {
	if err := c.app.Eventually(ctx, 10*time.Minute, "run "+c.run.Name+" has ended", c.run.Ended); err != nil {
		return err
	}
	return c.app.Eventually(ctx, 6*time.Minute, "the target is at rest", func(ctx context.Context) (bool, error) {
		target, err := c.app.Deployment(ctx, c.app.Name)
		return err == nil && *target.Spec.Replicas == 0, err
	})
}

// again releases once more, which must succeed as if nothing had been.
func (c *cell) again(ctx context.Context) error {
	name := fmt.Sprintf("r%d-again", c.serial)
	if err := c.push(ctx, name, false); err != nil {
		return err
	}
	params := map[string]string{"judge": "classic", "interval": "12s", "settle": "1s", "request-duration": "10000",
		"progress-deadline": "4m"}
	maps.Copy(params, c.moment.shape.params())
	next, err := c.app.Start(ctx, "canary-compact", name, params)
	if err != nil {
		return err
	}
	result, err := next.Wait(ctx, 8*time.Minute)
	if err != nil {
		return err
	}
	if got := result.Results["outcome"]; got != string(run.Promoted) {
		return fmt.Errorf("the next run ended as %q (%s), want promoted", got, result.Results["reason"])
	}
	s, err := c.app.State(ctx)
	if err != nil {
		return err
	}
	holder, err := c.holder(ctx)
	if s.Weight != 0 || s.Target != 0 || s.Record.Open() || holder != "" || err != nil {
		return fmt.Errorf("after the next run: weight %d, target with %d pods, record %s, Lease held by %q (%v): "+
			"want it at rest", s.Weight, s.Target, s.Record, holder, err)
	}
	return nil
}

func (c *cell) holder(ctx context.Context) (string, error) {
	lease, err := c.app.Client.CoordinationV1().Leases(c.app.Namespace).Get(ctx, "serin-"+c.app.Name,
		metav1.GetOptions{})
	if err != nil || lease.Spec.HolderIdentity == nil {
		return "", err
	}
	return *lease.Spec.HolderIdentity, nil
}

// count adds what clients got since the run was started.
func (c *cell) count() error {
	var failed []load.Answer
	c.result.Sent, failed = c.clients.Seen()
	if c.result.Lost = len(failed); c.result.Lost == 0 {
		return nil
	}
	first, last := failed[0], failed[len(failed)-1]
	return fmt.Errorf("%d of %d requests were lost, from %s to %s after the fault: %s %d %s", c.result.Lost,
		c.result.Sent,
		first.At.Sub(c.struck).Round(100*time.Millisecond), last.At.Sub(c.struck).Round(100*time.Millisecond),
		first.Version, first.Status, first.Err)
}
