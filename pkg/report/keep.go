package report

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/cluster/workload"
	"github.com/serin-cd/serin/pkg/judge"
	"github.com/serin-cd/serin/pkg/judge/prometheus"
	"github.com/serin-cd/serin/pkg/release/record"
	"github.com/serin-cd/serin/pkg/task/run"

	"github.com/serin-cd/serin/pkg/release"
)

// clockStep is how much earlier than it was a time may be recorded: the API server's clock has whole seconds.
const clockStep = 2 * time.Second

// skewStep is how much earlier than it was a time may be on Prometheus's clock, where that had to be translated.
const skewStep = 5 * time.Second

// Run is the whole of a run: how it ended, and what its judge saw.
type Run struct {
	ID       run.ID      `json:"run"`
	App      string      `json:"app"`
	Outcome  run.Outcome `json:"outcome"`
	Reason   string      `json:"reason"`
	Revision string      `json:"revision"`
	Previous string      `json:"previous"`
	Judging  *Report     `json:"judging,omitempty"` // absent where no traffic was shifted
}

// Keep recomputes a run's report from its record and from Prometheus, prints it, and keeps it as a
// ConfigMap that goes with the PipelineRun. A run that does not have the record has none.
func Keep(ctx context.Context, r *release.Release, config judge.Config, server prometheus.Config, w io.Writer) error {
	state, err := r.Fence.Read(ctx)
	if err != nil {
		return err
	}
	rec := state.Record
	if rec == nil || rec.ID != r.ID {
		slog.Info("nothing to report: the run changed nothing", "app", r.App.String())
		return nil
	}
	whole := Run{ID: rec.ID, App: r.App.Name, Outcome: rec.Outcome, Reason: rec.Reason, Revision: rec.Revision, Previous: rec.Previous}
	if phases := judged(rec); len(phases) > 0 {
		verdict, err := again(ctx, r, config, server, phases, rec.Ended)
		if err != nil {
			slog.Warn("the checks could not be repeated", "error", err.Error())
		} else {
			judging := New(verdict)
			whole.Judging = &judging
		}
	}
	if err := whole.print(w); err != nil {
		return err
	}
	return whole.keep(ctx, r)
}

// judged are the phases in which the canary had traffic.
func judged(rec *record.Record) []run.Stage {
	var phases []run.Stage
	for _, s := range rec.Stages {
		if s.Weight > 0 {
			phases = append(phases, run.Stage(s))
		}
	}
	return phases
}

// again judges as of the time when the run ended, without waiting; as of now where it has not.
func again(ctx context.Context, r *release.Release, config judge.Config, server prometheus.Config, phases []run.Stage, ended time.Time) (judge.Verdict, error) {
	client, err := prometheus.New(server)
	if err != nil {
		return judge.Verdict{}, err
	}
	now, err := client.Now(ctx)
	if err != nil {
		return judge.Verdict{}, err
	}
	skew := judge.SkewOf(now, r.Cluster.Now())
	phases = skew.Phases(phases)
	if ended = ended.Add(clockStep + time.Duration(skew)); skew != 0 {
		ended = ended.Add(skewStep)
	}
	if ended.Before(now) && !ended.Before(phases[len(phases)-1].At) {
		now = ended
	}
	config.AsOf = now.UTC().Format(time.RFC3339)
	j, err := judge.New(config, judge.Target{Namespace: r.App.Namespace, Canary: r.App.Name, Primary: r.App.Primary()})
	if err != nil {
		return judge.Verdict{}, err
	}
	verdict, err := j.Judge(ctx, client.Limited(int(config.SeriesLimit)), skew.On(r.Cluster), phases, nil)
	verdict.Warnings = append(skew.Warnings(), verdict.Warnings...)
	return verdict, err
}

func (whole Run) print(w io.Writer) error {
	_, err := fmt.Fprintf(w, "%s of %s: %s, revision %s: %s\n", whole.ID.Name, whole.App, whole.Outcome, workload.Short(whole.Revision), whole.Reason)
	if err == nil && whole.Judging != nil {
		err = whole.Judging.Table(w)
	}
	return err
}

func (whole Run) keep(ctx context.Context, r *release.Release) error {
	text, err := json.Marshal(whole)
	if err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	data := map[string]any{"report.json": string(text)}
	if whole.Judging != nil {
		var page, markdown strings.Builder
		if err := errors.Join(whole.Judging.Page(&page), whole.Judging.Markdown(&markdown)); err != nil {
			return err
		}
		data["report.html"], data["report.md"] = page.String(), markdown.String()
	}
	name := r.App.Report(r.ID.Name)
	object := &unstructured.Unstructured{Object: map[string]any{"data": data}}
	object.SetAPIVersion("v1")
	object.SetKind("ConfigMap")
	object.SetName(name)
	object.SetLabels(map[string]string{application.Label: r.App.Name})
	object.SetOwnerReferences([]metav1.OwnerReference{{APIVersion: "tekton.dev/v1", Kind: "PipelineRun", Name: r.ID.Name, UID: types.UID(r.ID.UID)}})
	maps := r.Cluster.Objects(kube.ConfigMaps, r.App.Namespace)
	err = kube.Retry(ctx, func(ctx context.Context) error {
		_, err := maps.Create(ctx, object, metav1.CreateOptions{FieldManager: kube.FieldManager})
		return err
	})
	if apierrors.IsAlreadyExists(err) {
		var patch []byte
		if patch, err = kube.Patch(kube.Add("/data", data)); err == nil {
			_, err = maps.Patch(ctx, name, types.JSONPatchType, patch, metav1.PatchOptions{FieldManager: kube.FieldManager})
		}
	}
	if err != nil {
		return fmt.Errorf("keeping the report as ConfigMap %s: %w", name, err)
	}
	return nil
}
