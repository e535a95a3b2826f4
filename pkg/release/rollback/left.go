package rollback

import (
	"context"
	"log/slog"
	"time"

	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/cluster/workload"
	"github.com/serin-cd/serin/pkg/release"
	"github.com/serin-cd/serin/pkg/release/record"
	"github.com/serin-cd/serin/pkg/release/weight"
	"github.com/serin-cd/serin/pkg/task/failure"
	"github.com/serin-cd/serin/pkg/task/run"
)

// Left settles a run that has ended, or whose record is not to be relied upon, where something of it is left and nobody
// works on it any more: its PipelineRun is finished or gone, or its Lease has expired. What is left may be of an
// earlier run than that of the record: the target's stamp tells. It says whether it was so. r works for the run of the
// record.
func Left(ctx context.Context, by *release.Release, state weight.State, deadline time.Duration) (bool, error) {
	of, idle := by.ID, state.Weight() == 0
	if idle && state.Damage() == "" {
		target, err := by.Deployments.Get(ctx, by.App.Name)
		if err != nil || target == nil || target.Wanted() == 0 || stays(by, target) {
			return false, err
		}
		if of, err = run.ParseID(target.Stamp()); err != nil || of.Namespace != by.App.Namespace {
			return false, nil // it was never a canary
		}
	}
	if l := by.Liveness(ctx, of); l != record.Finished && l != record.Gone && !silent(ctx, by, of, state, l) {
		return false, nil
	}
	slog.Info("settling what a run has left", "run", of.String(), "canaryWeight", state.Weight())
	if of != by.ID {
		return true, by.Settle(ctx, of)
	}
	_, err := Run(ctx, by, by.ID, "the run was abandoned", deadline)
	return true, err
}

// silent says whether a run whose PipelineRun is live, or cannot be read, gives no sign of life. One that the record
// says has ended, or that has lost it to another, does not keep its Lease for long; of one that may be open it is not
// enough that another holds it, and it is never taken back while it waits without traffic.
func silent(ctx context.Context, by *release.Release, of run.ID, state weight.State, liveness record.Liveness) bool {
	if state.Record == nil || state.Damage() != "" {
		return state.Weight() > 0 && unattended(ctx, by, of, liveness)
	}
	kept := by.Lease
	kept.Holder = of
	lapsed, err := kept.Lapsed(ctx)
	return err == nil && lapsed
}

// Owner is an application in the hands of the run that has it: that of the record, or where the record is not to be
// relied upon that of the target's stamp. It is an error of configuration where neither names a run of the
// application's namespace.
func Owner(ctx context.Context, cluster *kube.Cluster, app application.Application,
	state weight.State) (*release.Release, error) {
	var of run.ID
	if state.Record != nil {
		of = state.Record.ID
	}
	if state.Record == nil || state.Damage() != "" {
		target, err := workload.Deployments{Objects: cluster.Objects(kube.Deployments, app.Namespace)}.Get(ctx,
			app.Name)
		if err != nil {
			return nil, err
		}
		if target != nil && target.Stamp() != "" {
			of, _ = run.ParseID(target.Stamp())
		}
	}
	if of.Namespace != app.Namespace {
		return nil,
			failure.Configf("looking for the run of %s: neither record (%v) nor stamp names one of this namespace; "+
				"canary weight %d, written by %s: set the weights by hand",
				app, state.Broken, state.Weight(), state.Writer())
	}
	r, err := release.New(cluster, app.Name, of)
	if err == nil && state.Record != nil {
		err = r.Select(state.Record.Selection)
	}
	return r, err
}
