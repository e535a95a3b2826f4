package start

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	pipeline "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	tekton "github.com/tektoncd/pipeline/pkg/client/clientset/versioned/typed/pipeline/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"

	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/cluster/workload"
	"github.com/serin-cd/serin/pkg/judge/verdict"
	"github.com/serin-cd/serin/pkg/release/status"
	"github.com/serin-cd/serin/pkg/task/failure"
	"github.com/serin-cd/serin/pkg/task/parameter"
	"github.com/serin-cd/serin/pkg/task/run"
)

// Config says which applications are released, and by which Pipeline.
type Config struct {
	Run run.ID `env:", prefix=RUN_"`
	// Namespace of the applications and of the runs that release them.
	Namespace string `env:"NAMESPACE, required"`
	// Names of the applications whose changes are released by canary, separated by commas. Empty takes each Deployment
	// of the namespace with the label serin.dev/canary: "true".
	Apps []string `env:"APPS"`
	// Name of the Pipeline that releases an application whose Deployment has no annotation serin.dev/pipeline.
	Pipeline string `env:"PIPELINE, default=canary"`
	// Parameters of the runs, as a JSON object of strings such as {"gateways": "istio-system/public,mesh"}. Those in
	// the annotation serin.dev/parameters of a Deployment, likewise, come before these. Empty leaves the Pipeline's
	// defaults.
	Parameters Object `env:"PARAMETERS"`
	// ServiceAccount of the runs.
	Account string `env:"RELEASE_SERVICE_ACCOUNT, default=serin"`
	// How long all runs together may take. After that the step fails and the runs go on: they have limits of their own.
	Deadline parameter.Duration `env:"RELEASE_DEADLINE, default=65m"`
}

// Object is a parameter: a JSON object of strings.
type Object map[string]string

// EnvDecode reads an object; an empty text leaves it as it is.
func (o *Object) EnvDecode(text string) error {
	if text == "" {
		return nil
	}
	if err := json.Unmarshal([]byte(text), (*map[string]string)(o)); err != nil {
		return fmt.Errorf(`not a JSON object of strings, want one such as {"hosts": "shop.example.com"}`)
	}
	return nil
}

// Release is a change in the hands of a run, and how that ended.
type Release struct {
	Change

	Run     run.ID
	Before  bool // the run had ended already
	Ended   status.Run
	Failure error // nil once the revision is released, or while the run goes on
	mine    bool  // it is cancelled with this step
}

// Outcome is what became of all changes.
type Outcome []Release

// Step releases with the cluster of this process.
func Step(ctx context.Context, c Config) (Outcome, error) {
	config, err := kube.Config()
	if err != nil {
		return nil, err
	}
	return Run(ctx, config, c)
}

// Run starts what has changed and follows that until it has ended. If ctx ends before, it cancels the runs that were
// started by the same run as this: those of others go on.
func Run(ctx context.Context, config *rest.Config, c Config) (Outcome, error) {
	if c.Run.Name == "" || c.Run.UID == "" {
		return nil, failure.Configf("reading run: %q, want RUN_NAMESPACE, RUN_NAME and RUN_UID of a PipelineRun", c.Run)
	}
	cluster, err := kube.New(config)
	if err != nil {
		return nil, err
	}
	client, err := tekton.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("connecting to %s: %w", config.Host, err)
	}
	changes, err := Changed(ctx, cluster, c.Namespace, c.Apps)
	if err != nil {
		return nil, err
	}
	if len(changes) == 0 {
		slog.Info("nothing to release: each primary runs what its Deployment has", "namespace", c.Namespace)
	}
	s := starter{Config: c, cluster: cluster, runs: client.PipelineRuns(c.Namespace),
		pipelines: client.Pipelines(c.Namespace)}
	all := make(Outcome, len(changes))
	for i, change := range changes { // one that cannot be started keeps no other from its release
		all[i] = s.start(ctx, change)
	}
	return all, s.follow(ctx, all)
}

// starter releases on behalf of one run.
type starter struct {
	Config

	cluster   *kube.Cluster
	runs      pipelineRuns
	pipelines pipelines
}

// start makes the run of a change, or finds it.
func (s starter) start(ctx context.Context, c Change) Release {
	r := Release{Change: c}
	p, err := find(ctx, s.pipelines, s.Namespace, cmp.Or(c.Pipeline, s.Pipeline))
	if err != nil {
		r.Failure = err
		return r
	}
	wanted, err := runOf(p, c, s.Parameters, s.Account, s.Config.Run.String())
	if err != nil {
		r.Failure = err
		return r
	}
	found, made, err := ensure(ctx, s.runs, wanted, func(over *pipeline.PipelineRun) (bool, error) {
		return s.convicted(ctx, over)
	})
	if err != nil {
		r.Failure = err
		return r
	}
	r.Run = run.ID{Namespace: found.Namespace, Name: found.Name, UID: string(found.UID)}
	r.Before = found.IsDone()
	r.mine = found.Annotations[StarterAnnotation] == s.Config.Run.String()
	slog.Info("release", "app", c.App.Name, "revision", workload.Short(c.Revision), "serving",
		cmp.Or(workload.Short(c.Serving), "nothing"), "run", r.Run.Name, "made", made)
	return r
}

// convicted says whether a run that has ended has judged its canary to be bad: to try the revision again is for people.
func (s starter) convicted(ctx context.Context, over *pipeline.PipelineRun) (bool, error) {
	object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(over)
	if err != nil {
		return false, err
	}
	ended, _, err := status.RunOf(&unstructured.Unstructured{Object: object})
	if err != nil {
		return false, err
	}
	ended, err = s.judged(ctx, ended)
	return errors.Is(ended.Err(), failure.ErrRejected), err
}

// judged adds the verdict of a run that has ended.
func (s starter) judged(ctx context.Context, r status.Run) (status.Run, error) {
	if r.Verdict != "" || r.Outcome.Done() {
		return r, nil
	}
	tasks, err := status.Tasks(ctx, s.cluster, r.ID)
	if err != nil {
		return r, err
	}
	for _, t := range tasks {
		r.Verdict = cmp.Or(t.Verdict, r.Verdict)
	}
	return r, nil
}

// follow waits until all runs have ended, and adds how.
func (s starter) follow(ctx context.Context, all Outcome) error {
	limit := time.Duration(s.Deadline)
	watched, stop := context.WithTimeoutCause(ctx, limit,
		fmt.Errorf("not ended after %s: see tkn canary status", limit))
	defer stop()
	var following sync.WaitGroup
	for i := range all {
		if r := &all[i]; r.Failure == nil {
			following.Go(func() { r.Failure = s.watch(watched, r) })
		}
	}
	following.Wait()
	if ctx.Err() == nil {
		return all.err()
	}
	return s.cancel(ctx, all)
}

// watch waits until a run has ended.
func (s starter) watch(ctx context.Context, r *Release) error {
	ended, err := status.Follow(ctx, s.cluster, r.Run, func(change status.Change) { tell(r, change) })
	if err == nil {
		ended, err = s.judged(ctx, ended)
	}
	if err != nil {
		return err
	}
	r.Ended = ended
	if ended.Outcome == run.Superseded { // a newer revision is what is wanted, and another step follows that
		return nil
	}
	err = ended.Err()
	if r.Before && errors.Is(err, failure.ErrRejected) {
		err = fmt.Errorf("%w (it was judged before: delete PipelineRun %s to have it judged anew)", err, r.Run.Name)
	}
	return err
}

// tell logs what happens to a run.
func tell(r *Release, change status.Change) {
	log := slog.With("app", r.App.Name, "run", r.Run.Name)
	switch {
	case change.Weight != nil:
		log.Info("weight", "weight", change.Weight.Weight)
	case change.Task != nil && !change.Task.Ended.IsZero():
		log.Info("task ended", "task", change.Task.Name, "state", change.Task.State, "verdict", change.Task.Verdict)
	case change.Ended != nil:
		log.Info("release ended", "outcome", cmp.Or(string(change.Ended.Outcome), change.Ended.State), "reason",
			cmp.Or(change.Ended.Reason, change.Ended.Message))
	}
}

// cancel ends the runs that go on gracefully, and tells of those beside what had failed before: there is little time
// left.
func (s starter) cancel(ctx context.Context, all Outcome) error {
	err := context.Cause(ctx)
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer stop()
	for i := range all {
		r := &all[i]
		if r.Run.Name == "" || !r.Ended.Ended.IsZero() {
			continue
		}
		r.Failure = nil
		if !r.mine {
			err = fmt.Errorf("%w; run %s of another goes on", err, r.Run.Name)
		} else if failed := Cancel(ctx, s.runs, r.Run.Name); failed != nil {
			err = fmt.Errorf("%w; %w", err, failed)
		} else {
			err = fmt.Errorf("%w; run %s is cancelled, and gives the traffic back", err, r.Run.Name)
		}
	}
	if failed := all.err(); failed != nil {
		err = fmt.Errorf("%w; %w", err, failed)
	}
	return err
}

// kinds are how a release fails, what people must know first before the rest.
var kinds = []error{failure.ErrRejected, failure.ErrInconclusive, failure.ErrConfig}

// err is what failed: a canary that was judged to be bad decides the exit code, else one that could not be judged.
func (o Outcome) err() error {
	var failed []string
	kind := len(kinds)
	for _, r := range o {
		if r.Failure == nil {
			continue
		}
		failed = append(failed, r.Failure.Error())
		for i, k := range kinds {
			if errors.Is(r.Failure, k) {
				kind = min(kind, i)
			}
		}
	}
	if len(failed) == 0 {
		return nil
	}
	err := fmt.Errorf("%d of %d releases failed: %s", len(failed), len(o), strings.Join(failed, "; "))
	if kind == len(kinds) {
		return err
	}
	return failure.As(kinds[kind], err)
}

// Names are those of the applications that are released.
func (o Outcome) Names() string { return o.list(func(r Release) string { return r.App.Name }) }

// Runs are those that release them, in the same order.
func (o Outcome) Runs() string { return o.list(func(r Release) string { return r.Run.Name }) }

// Failed are the names of the applications whose canary was judged and failed, or could not be judged: their revision
// is what an environment has to go back from.
func (o Outcome) Failed() string {
	return o.list(func(r Release) string {
		if errors.Is(r.Failure, failure.ErrRejected) || errors.Is(r.Failure, failure.ErrInconclusive) {
			return r.App.Name
		}
		return ""
	})
}

func (o Outcome) list(of func(Release) string) string {
	var all []string
	for _, r := range o {
		all = append(all, of(r))
	}
	return strings.Join(slices.DeleteFunc(all, func(s string) bool { return s == "" }), ",")
}

// Verdict is that of all releases together, by the error that they ended with.
func Verdict(err error) verdict.Decision {
	switch {
	case err == nil:
		return verdict.Pass
	case errors.Is(err, failure.ErrRejected):
		return verdict.Fail
	}
	return verdict.Inconclusive
}
