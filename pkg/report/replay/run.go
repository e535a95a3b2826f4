package replay

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/judge"
	"github.com/serin-cd/serin/pkg/release/record"
	"github.com/serin-cd/serin/pkg/release/weight"
	"github.com/serin-cd/serin/pkg/report/summary"
	"github.com/serin-cd/serin/pkg/task/failure"
)

// ParseRollout reads the record of a run as the VirtualService has it, or no more of it than the stages.
func ParseRollout(text string, target judge.Target) (Rollout, error) {
	stages, err := judge.ParseRollout(text)
	if err != nil {
		return Rollout{}, err
	}
	var rec Ending
	if err := json.Unmarshal([]byte(text), &rec); err != nil {
		return Rollout{}, failure.Configf("reading rollout: %w, want the record of a run, or an object with phases",
			err)
	}
	rec.Ended = ended(rec.Ended)
	return Rollout{Target: target, Stages: stages, Ending: rec}.Check()
}

func ended(at time.Time) time.Time {
	if at.IsZero() {
		return at
	}
	return at.Add(summary.ClockStep)
}

// OfRun reads a run by its name: from the record on the VirtualService, or where that is another run's by now,
// from the report that the run has kept.
func OfRun(ctx context.Context, cluster *kube.Cluster, target judge.Target, name string) (Rollout, error) {
	app := application.Application{Namespace: target.Namespace, Name: target.Canary}
	if err := app.Validate(); err != nil {
		return Rollout{}, err
	}
	routes, err := weight.List(ctx, cluster.VirtualServices(app.Namespace), app.Namespace)
	if err != nil {
		return Rollout{}, err
	}
	for on, rec := range routes.Records(app) {
		if rec.ID.Name == name && !rec.Copied(on) {
			return ofRecord(rec, target).Check()
		}
	}
	var object *unstructured.Unstructured
	err = kube.Retry(ctx, func(ctx context.Context) (err error) {
		object, err = cluster.Objects(kube.ConfigMaps, app.Namespace).Get(ctx, app.Report(name), metav1.GetOptions{})
		return err
	})
	if apierrors.IsNotFound(err) {
		return Rollout{}, failure.Configf("reading run %s of %s: "+
			"neither the VirtualService's record nor a ConfigMap %s is of it, "+
			"want the name of a run that still has its PipelineRun", name, app, app.Report(name))
	}
	if err != nil {
		return Rollout{}, fmt.Errorf("reading ConfigMap %s: %w", app.Report(name), err)
	}
	return ofReport(object, target)
}

func ofRecord(rec *record.Record, target judge.Target) Rollout {
	return Rollout{Target: target, Stages: rec.Stages,
		Ending: Ending{Outcome: string(rec.Outcome), Reason: rec.Reason, Ended: ended(rec.Ended)}}
}

// ofReport takes the time of the run's end from its judging, which was done as of then.
func ofReport(object *unstructured.Unstructured, target judge.Target) (Rollout, error) {
	text, _, err := unstructured.NestedString(object.Object, "data", "report.json")
	var whole summary.Summary
	if err == nil {
		err = json.Unmarshal([]byte(text), &whole)
	}
	if err != nil {
		return Rollout{}, failure.Configf("reading ConfigMap %s: %w, want the report of a run", object.GetName(), err)
	}
	r := Rollout{Target: target, Ending: Ending{Outcome: string(whole.Outcome), Reason: whole.Reason}}
	if whole.Verdict == nil {
		return r, failure.Configf("replaying run %s: its report has no judging: the canary had no traffic, "+
			"or Prometheus did not answer", whole.Run.Name)
	}
	r.Stages, r.Ended = whole.Verdict.Stages, whole.Verdict.At
	return r.Check()
}
