package explain

import (
	"context"

	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/judge/verdict"
	"github.com/serin-cd/serin/pkg/release/status"
	"github.com/serin-cd/serin/pkg/report/summary"
	"github.com/serin-cd/serin/pkg/task/parameter"
	"github.com/serin-cd/serin/pkg/task/run"
)

// Known is what the cluster tells about a run.
type Known struct {
	Run     status.Run
	Pruned  bool             // the PipelineRun is gone
	Verdict verdict.Decision // by the record, if that is still this run's
	Stages  []run.Stage      // in which the canary had traffic
	Tasks   []status.Task
	Report  *summary.Summary // nil where there is none
}

// Read reads what the cluster tells about a run of an application.
func Read(ctx context.Context, c *kube.Cluster, app application.Application, of status.Run) (Known, error) {
	k := Known{Run: of, Pruned: of.Pruned()}
	var err error
	if k.Report, err = summary.Read(ctx, c, app, of.ID); err != nil {
		return k, err
	}
	if !k.Pruned {
		if k.Tasks, err = status.Tasks(ctx, c, of.ID); err != nil {
			return k, err
		}
	}
	if k.Report != nil && k.Report.Verdict != nil {
		k.Stages = k.Report.Verdict.Stages
	}
	if stages, decision, ok, err := status.Recorded(ctx, c, app, of.ID); err != nil {
		return k, err
	} else if ok {
		k.Stages, k.Verdict = stages, decision
	}
	if len(k.Stages) == 0 {
		k.Stages = k.judged()
	}
	return k, nil
}

// judged are the stages that tasks have judged, for a run that has neither record nor report any more.
func (k Known) judged() (stages []run.Stage) {
	for _, t := range k.Tasks {
		if t.Evidence != nil && t.Evidence.Weight > 0 {
			at := t.Ended.Add(-seconds(t.Evidence.Since))
			stages = append(stages, run.Stage{Weight: parameter.Weight(t.Evidence.Weight), At: at})
		}
	}
	return stages
}

// taskOf is the task that has judged a stage.
func (k Known) taskOf(s run.Stage) (status.Task, bool) {
	for _, t := range k.Tasks {
		if t.Evidence != nil && parameter.Weight(t.Evidence.Weight) == s.Weight {
			return t, true
		}
	}
	return status.Task{}, false
}
