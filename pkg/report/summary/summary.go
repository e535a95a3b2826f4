package summary

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/cluster/workload"
	"github.com/serin-cd/serin/pkg/judge"
	"github.com/serin-cd/serin/pkg/judge/prometheus"
	"github.com/serin-cd/serin/pkg/judge/verdict"
	"github.com/serin-cd/serin/pkg/release"
	"github.com/serin-cd/serin/pkg/release/record"
	"github.com/serin-cd/serin/pkg/release/weight"
	"github.com/serin-cd/serin/pkg/report"
	"github.com/serin-cd/serin/pkg/task/run"
)

// ClockStep is how much earlier than it was a time may be recorded: the API server's clock has whole seconds.
const ClockStep = 2 * time.Second

// skewStep is how much earlier than it was a time may be on Prometheus's clock, where that had to be translated.
const skewStep = 5 * time.Second

// Summary is the whole of a run: how it ended, and what its judge saw.
type Summary struct {
	Run      run.ID           `json:"run"`
	App      string           `json:"app"`
	Outcome  run.Outcome      `json:"outcome"`
	Reason   string           `json:"reason"`
	Revision string           `json:"revision"`
	Previous string           `json:"previous"`
	Routes   []Route          `json:"routes"`
	Verdict  *verdict.Verdict `json:"judging,omitempty"` // absent where no traffic was shifted
}

// Route is a VirtualService whose routes the run shifts, by their names or by kind and index.
type Route struct {
	VirtualService string   `json:"virtualService"`
	Shifted        []string `json:"shifted"`
	Left           []string `json:"left,omitempty"` // that have primary and canary too
}

func (r Route) String() string {
	text := r.VirtualService + " " + strings.Join(r.Shifted, ", ")
	if len(r.Left) > 0 {
		text += ", but not " + strings.Join(r.Left, ", ")
	}
	return text
}

// Keep sums a run up from its record and from Prometheus, prints that, and keeps it as a ConfigMap that goes with the
// PipelineRun. A run that does not have the record has none.
func Keep(ctx context.Context, r *release.Release, config judge.Config, server prometheus.Config, w io.Writer) error {
	states, err := r.Fence.All(ctx)
	if err != nil {
		return err
	}
	rec := ownOf(states[0], r)
	if rec == nil {
		slog.Info("nothing to report: the run changed nothing", "app", r.App.String())
		return nil
	}
	var routes []Route
	for _, state := range states {
		routes = append(routes, Route{state.VirtualService.Name, state.Splits.Names(), state.Left.Names()})
	}
	s, err := ended(ctx, r, rec, func(rec *record.Record) (Summary, error) {
		return sum(ctx, r, config, server, rec)
	})
	if err != nil {
		return err
	}
	s.Routes = routes
	if err := s.print(w); err != nil {
		return err
	}
	return s.keep(ctx, r)
}

// own is the record of the run, nil where that is another's, or there is none.
func own(ctx context.Context, r *release.Release) (*record.Record, error) {
	state, err := r.Fence.Read(ctx)
	if err != nil {
		return nil, err
	}
	return ownOf(state, r), nil
}

func ownOf(state weight.State, r *release.Release) *record.Record {
	if state.Record == nil || state.Record.ID != r.ID {
		return nil
	}
	return state.Record
}

// ended sums a run up that may end while that is done, by an abort or the janitor: it is then summed up again as it has
// ended. The record of a run that has ended does not change any more, and is not read again.
func ended(ctx context.Context, r *release.Release, rec *record.Record,
	sum func(*record.Record) (Summary, error)) (Summary, error) {
	for {
		s, err := sum(rec)
		if err != nil || !rec.Open() {
			return s, err
		}
		now, err := own(ctx, r)
		if err != nil || now == nil || now.String() == rec.String() {
			return s, err
		}
		rec = now
	}
}

// sum sums a run up.
func sum(ctx context.Context, r *release.Release, config judge.Config, server prometheus.Config,
	rec *record.Record) (Summary, error) {
	s := Summary{Run: rec.ID, App: r.App.Name, Outcome: rec.Outcome, Reason: rec.Reason,
		Revision: rec.Revision, Previous: rec.Previous}
	stages := judged(rec)
	if len(stages) == 0 {
		return s, nil
	}
	v, err := again(ctx, r, config, server, stages, decided(rec))
	if err != nil {
		slog.Warn("the checks could not be repeated", "error", err.Error())
		if v, err = without(ctx, r, config, rec, err); err != nil {
			return s, err
		}
	}
	v = reached(v, rec)
	s.Verdict = &v
	return s, nil
}

// judged are the stages in which the canary had traffic.
func judged(rec *record.Record) []run.Stage {
	return slices.DeleteFunc(slices.Clone(rec.Stages), func(s run.Stage) bool { return s.Weight == 0 })
}

// again judges as of the time of the verdict, without waiting; as of now where there is none yet.
func again(ctx context.Context, r *release.Release, config judge.Config, server prometheus.Config,
	stages []run.Stage, at time.Time) (verdict.Verdict, error) {
	client, err := prometheus.New(server)
	if err != nil {
		return verdict.Verdict{}, err
	}
	now, err := client.Now(ctx)
	if err != nil {
		return verdict.Verdict{}, err
	}
	skew := judge.SkewOf(now, r.Cluster.Now())
	stages = skew.Stages(stages)
	if at = at.Add(ClockStep + time.Duration(skew)); skew != 0 {
		at = at.Add(skewStep)
	}
	if at.Before(now) && !at.Before(stages[len(stages)-1].At) {
		now = at
	}
	config.AsOf = now.UTC().Format(time.RFC3339)
	target := judge.Target{Namespace: r.App.Namespace, Canary: r.App.Name, Primary: r.App.Primary()}
	j, err := judge.New(config, target)
	if err != nil {
		return verdict.Verdict{}, err
	}
	v, err := j.Judge(ctx, client.Limited(int(config.SeriesLimit)), skew.On(r.Cluster), stages, nil)
	v.Warnings = slices.Insert(v.Warnings, 0, skew.Warnings()...)
	return v, err
}

func (s Summary) print(w io.Writer) error {
	_, err := fmt.Fprintf(w, "%s of %s: %s, revision %s: %s\n",
		s.Run.Name, s.App, s.Outcome, workload.Short(s.Revision), s.Reason)
	for _, route := range s.Routes {
		if err == nil {
			_, err = fmt.Fprintf(w, "shifted: VirtualService %s\n", route)
		}
	}
	if err == nil && s.Verdict != nil {
		err = report.Table(w, *s.Verdict)
	}
	return err
}

// data is what the ConfigMap holds.
func (s Summary) data() (map[string]any, error) {
	text, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("writing the report: %w", err)
	}
	data := map[string]any{"report.json": string(text)}
	if s.Verdict != nil {
		var page, markdown strings.Builder
		if err := errors.Join(report.Page(&page, *s.Verdict), report.Markdown(&markdown, *s.Verdict)); err != nil {
			return nil, err
		}
		data["report.html"], data["report.md"] = page.String(), markdown.String()
	}
	return data, nil
}

func (s Summary) keep(ctx context.Context, r *release.Release) error {
	data, err := s.data()
	if err != nil {
		return err
	}
	object := &unstructured.Unstructured{Object: map[string]any{"data": data}}
	object.SetAPIVersion("v1")
	object.SetKind("ConfigMap")
	object.SetName(r.App.Report(r.ID.Name))
	object.SetLabels(map[string]string{application.Label: r.App.Name})
	object.SetOwnerReferences([]metav1.OwnerReference{{
		APIVersion: "tekton.dev/v1", Kind: "PipelineRun", Name: r.ID.Name, UID: types.UID(r.ID.UID)}})
	err = kube.Retry(ctx, func(ctx context.Context) error {
		return write(ctx, r.Cluster.Objects(kube.ConfigMaps, r.App.Namespace), object)
	})
	if err != nil {
		return fmt.Errorf("keeping the report as ConfigMap %s: %w", object.GetName(), err)
	}
	return nil
}

// write makes a ConfigMap, or gives the one of its name what it has. That may be an earlier report of the run, or that
// of a PipelineRun which had the name before: its owner is gone, so the garbage collector may remove it at any time.
func write(ctx context.Context, maps dynamic.ResourceInterface, object *unstructured.Unstructured) error {
	for {
		_, err := maps.Create(ctx, object, metav1.CreateOptions{FieldManager: kube.FieldManager})
		if !apierrors.IsAlreadyExists(err) {
			return err
		}
		metadata := object.Object["metadata"].(map[string]any)
		patch, err := kube.Patch(kube.Add("/data", object.Object["data"]),
			kube.Add("/metadata/labels", metadata["labels"]),
			kube.Add("/metadata/ownerReferences", metadata["ownerReferences"]))
		if err != nil {
			return err
		}
		_, err = maps.Patch(ctx, object.GetName(), types.JSONPatchType, patch,
			metav1.PatchOptions{FieldManager: kube.FieldManager})
		if !apierrors.IsNotFound(err) {
			return err
		}
	}
}
