package status

import (
	"context"
	"slices"

	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/judge/verdict"
	"github.com/serin-cd/serin/pkg/release/weight"
	"github.com/serin-cd/serin/pkg/task/run"
)

// pruned is the state of a run whose PipelineRun is gone.
const pruned = "Pruned"

// History are the runs of a namespace, or of all if it is empty, the newest first: as their PipelineRuns tell, and
// where those are gone, the last one of each application as its record tells.
func History(ctx context.Context, c *kube.Cluster, namespace string) ([]Run, error) {
	all, err := Runs(ctx, c, namespace)
	if err != nil {
		return nil, err
	}
	applications, err := List(ctx, c, namespace)
	if err != nil {
		return nil, err
	}
	there := map[run.ID]bool{}
	for _, r := range all {
		there[r.ID] = true
	}
	for _, a := range applications {
		if a.record == nil || there[a.record.ID] {
			continue
		}
		all = append(all, Run{
			ID: a.record.ID, App: a.Name, Created: a.record.Created, Started: a.record.Created, Ended: a.record.Ended,
			State: pruned, Outcome: a.record.Outcome, Reason: a.record.Reason, Revision: a.record.Revision,
		})
	}
	slices.SortStableFunc(all, func(x, y Run) int { return y.Created.Compare(x.Created) })
	return all, nil
}

// Pruned says whether the PipelineRun of a run is gone.
func (r Run) Pruned() bool { return r.State == pruned }

// Recorded are the stages of a run in which its canary had traffic, and the verdict that ended it, as the application's
// record tells; false where that is another run's.
func Recorded(ctx context.Context, c *kube.Cluster, app application.Application, of run.ID) (stages []run.Stage,
	decision verdict.Decision, ok bool, err error) {
	routes, err := weight.List(ctx, c.VirtualServices(app.Namespace), app.Namespace)
	if err != nil {
		return nil, "", false, err
	}
	for on, rec := range routes.Records(app) {
		if rec.ID == of && !rec.Copied(on) {
			stages = slices.DeleteFunc(slices.Clone(rec.Stages), func(s run.Stage) bool { return s.Weight == 0 })
			return stages, rec.Verdict, true, nil
		}
	}
	return nil, "", false, nil
}
