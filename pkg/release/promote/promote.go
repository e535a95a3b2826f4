// Package promote gives the primary the revision that the canary was judged at.
package promote

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	networking "istio.io/client-go/pkg/apis/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/cluster/workload"
	"github.com/serin-cd/serin/pkg/release"
	"github.com/serin-cd/serin/pkg/release/record"
	"github.com/serin-cd/serin/pkg/release/rollback"
	"github.com/serin-cd/serin/pkg/release/weight"
	"github.com/serin-cd/serin/pkg/task/failure"
	"github.com/serin-cd/serin/pkg/task/run"
)

// grace is how long a step that was told to end may take to undo a change of the primary whose answer it did not get:
// less than the 30 s after which Kubernetes ends it.
const grace = 20 * time.Second

// reconnect is how long proxies may take to be connected to the mesh's control plane again once it is back: Envoy tries
// every 30 s at the latest. Until then they do not learn which pods the primary has, and send to those that are gone.
var reconnect = 30 * time.Second

// away is how long the route's write takes at least where the control plane, whose webhook admits it, is away.
const away = 2 * time.Second

// Step is Run for a program, which keeps the Lease.
func Step(ctx context.Context, r *release.Release, deadline time.Duration) (revision string, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go r.Lease.Keep(ctx)
	return Run(ctx, r, deadline)
}

// Run promotes what the run has judged, or was begun to release without analysis, and returns its revision. Until the
// primary is changed an error takes the traffic back; after that the run stays promoting, to be undone by rollback. A
// step that is told to end while the change is on its way does not know whether the primary has changed, and undoes it
// itself.
func Run(ctx context.Context, r *release.Release, deadline time.Duration) (revision string, err error) {
	state, err := r.Fence.Read(ctx)
	if err != nil {
		return "", err
	}
	if now := state.Record; now != nil && now.ID == r.ID && now.Phase == run.Closed && now.Outcome == run.Promoted {
		return now.Revision, r.Settle(ctx, r.ID) // this run was here before
	}
	var target *workload.Deployment
	err = failure.Guard(func() (err error) {
		state, target, err = promote(ctx, r, state, deadline)
		return err
	})
	if errors.Is(err, errChanged) {
		return "", undone(ctx, r, err)
	}
	if err != nil {
		return "", r.TakeBack(ctx, fmt.Errorf("promoting %s: %w", r.App, err))
	}
	r = r.Remembering(state.Record)
	primary, err := wait(ctx, r, state, deadline)
	if err == nil {
		err = follow(ctx, r, target, primary)
	}
	if err != nil {
		return "", err
	}
	r.Events.Normalf(ctx, "Routing all traffic to primary")
	closed, err := end(ctx, r, state)
	if err != nil {
		return "", err
	}
	if now := closed.Record; now != nil && now.Outcome != run.Promoted {
		return "", fmt.Errorf("promoting %s: the run was ended meanwhile as %q: %s", r.App, now.Outcome, now.Reason)
	}
	if state.Record.Untouched() {
		r = r.Undrained()
	}
	r.Events.Normalf(ctx, "Promotion completed! Scaling down %s", r.App)
	return state.Record.Revision, settle(ctx, r, target)
}

// follow gives the primary's autoscaler and PodDisruptionBudget what has changed of the target's, now that the primary
// is ready and the promotion is not going to be undone any more.
func follow(ctx context.Context, r *release.Release, target, primary *workload.Deployment) error {
	copied, err := workload.CopyOf(target)
	if err == nil {
		err = r.Autoscalers.Follow(ctx, target.Autoscaler(), copied, primary)
	}
	if err == nil {
		err = r.Budgets.Follow(ctx, target.Annotations[application.BudgetAnnotation], copied, primary)
	}
	if err != nil {
		return fmt.Errorf("promoting %s: %w", r.App, err)
	}
	return nil
}

// settle brings the target to rest as it was read before: writing it tests its stamp, so another look would only cost a
// call.
func settle(ctx context.Context, r *release.Release, target *workload.Deployment) error {
	if target.StampedBy(r.ID) && target.Wanted() > 0 {
		return r.SettleTarget(ctx, target)
	}
	return r.Settle(ctx, r.ID)
}

// undone undoes the promotion where the step was told to end; after any other error that is left to rollback.
func undone(ctx context.Context, r *release.Release, err error) error {
	if !errors.Is(ctx.Err(), context.Canceled) {
		return err
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	if failed := rollback.Undo(last, r, "the step was stopped: "+context.Cause(ctx).Error(), grace); failed != nil {
		return fmt.Errorf("%w; undoing the promotion: %v", err, failed) // err alone decides the exit code
	}
	return err
}

// end closes the run as promoted, on a VirtualService that is made again where somebody has deleted it.
func end(ctx context.Context, r *release.Release, state weight.State) (weight.State, error) {
	passed := state.Record.PromotedFor()
	closed, err := r.Fence.From(state).Close(ctx, r.ID, run.Promoted, passed, r.Cluster)
	if !apierrors.IsNotFound(err) {
		return closed, err
	}
	text, there := r.Remake(ctx, state.VirtualService, func(last *record.Record, text string) (*record.Record, error) {
		return record.Close(last, r.ID, run.Promoted, passed+"; "+text, r.Cluster.Now())
	})
	if !there {
		return closed, failure.Configf("promoting %s: the primary runs revision %s, ready, but %s", r.App,
			workload.Short(state.Record.Revision), text)
	}
	return r.Fence.Close(ctx, r.ID, run.Promoted, passed, r.Cluster)
}

// promote moves the record to promoting and gives the primary the judged template, in one patch, read
// in the same moment as its revision was compared. It returns the target as it was then.
func promote(ctx context.Context, r *release.Release, state weight.State, deadline time.Duration) (weight.State,
	*workload.Deployment, error) {
	target, primary, err := read(ctx, r)
	if err != nil {
		return state, nil, err
	}
	rec := state.Record
	changed := rec != nil && rec.ID == r.ID && primary.Promoted() == rec.Revision // by an earlier attempt of this step
	if rec.Open() && rec.ID == r.ID && !changed {
		if target, err = r.WholeCanary(ctx, target, rec.Revision, deadline); err != nil {
			return state, nil, err
		}
	}
	asked := time.Now()
	state, err = r.Fence.From(state).BeginPromotion(ctx, r.ID, r.Cluster)
	if err == nil && !changed && time.Since(asked) > away {
		return promoteLater(ctx, r, state, deadline)
	}
	if err == nil {
		err = change(ctx, r, state.Record, target, primary)
	}
	if err != nil && changed {
		err = fmt.Errorf("%w: %w", err, errChanged)
	}
	return state, target, err
}

// promoteLater promotes once proxies have had the time to be connected again. Should the target change meanwhile, its
// traffic goes at once.
func promoteLater(ctx context.Context, r *release.Release, state weight.State, deadline time.Duration) (weight.State,
	*workload.Deployment, error) {
	slog.Info("the route could not be written for a while: waiting until proxies are connected again", "for",
		reconnect.String())
	watched, stop := context.WithTimeout(ctx, reconnect)
	defer stop()
	guard(watched, r, state.Record)
	<-watched.Done()
	if ctx.Err() != nil {
		return state, nil, context.Cause(ctx)
	}
	state, err := r.Fence.Read(ctx)
	if err != nil {
		return state, nil, err
	}
	return promote(ctx, r, state, deadline)
}

// read returns the target and the primary. Whether the primary had been changed by an earlier attempt of
// this step is not known while it cannot be read.
func read(ctx context.Context, r *release.Release) (target, primary *workload.Deployment, err error) {
	if primary, err = r.Deployments.Get(ctx, r.App.Primary()); err != nil {
		return nil, nil, fmt.Errorf("%w: %w", err, errChanged)
	}
	if primary == nil {
		return nil, nil, failure.Configf("there is no Deployment %s: start a new run, which makes it", r.App.Primary())
	}
	target, err = r.Target(ctx)
	if err != nil && primary.StampedBy(r.ID) {
		err = fmt.Errorf("%w: %w", err, errChanged)
	}
	return target, primary, err
}

// errChanged marks an error after which the primary may have changed.
var errChanged = errors.New("the primary may have changed")

func change(ctx context.Context, r *release.Release, rec *record.Record, target, primary *workload.Deployment) error {
	if primary.Promoted() == rec.Revision {
		return nil // an earlier attempt of this step was here
	}
	copied, err := workload.CopyOf(target)
	if err != nil {
		return err
	}
	r.Events.UID = target.UID
	r.Events.Normalf(ctx, "Copying %s template spec to %s.%s", r.App, r.App.Primary(), r.App.Namespace)
	wrote := false
	now, err := r.Deployments.From(primary).Update(ctx, r.App.Primary(),
		func(d *workload.Deployment) ([]kube.Operation, error) {
			if d.Promoted() == rec.Revision {
				return nil, nil
			}
			if d.Stamp() != primary.Stamp() {
				return nil, fmt.Errorf("Deployment %s was changed by run %q meanwhile", d.Name, d.Stamp())
			}
			wrote = true
			return append(workload.Promote(d, copied.Template(target, d), rec.Revision, r.ID),
				copied.Follow(target, d, r.Metadata)...), nil
		})
	if err == nil && now == nil {
		err = fmt.Errorf("Deployment %s was deleted meanwhile", primary.Name)
	}
	if err != nil && wrote {
		err = fmt.Errorf("%w: %w", err, errChanged)
	}
	return err
}

// wait follows the primary's rollout, while the canary keeps its share. Should the target change or lose its pods
// meanwhile, or somebody delete the VirtualService, the canary's share goes to 0 at once: what was judged is on its way
// to the primary.
func wait(ctx context.Context, r *release.Release, state weight.State, deadline time.Duration) (*workload.Deployment,
	error) {
	rec := state.Record
	watched, stop := context.WithCancel(ctx)
	defer stop()
	var guards sync.WaitGroup
	guards.Go(func() { guard(watched, r, rec) })
	guards.Go(func() { guardRoute(watched, r, state.VirtualService) })
	primary, err := r.Deployments.WaitReady(ctx, r.App.Primary(), deadline, func(d *workload.Deployment) error {
		if d.Promoted() != rec.Revision {
			return fmt.Errorf("Deployment %s was given revision %s meanwhile", d.Name, workload.Short(d.Promoted()))
		}
		return nil
	})
	stop()
	guards.Wait()
	if err == nil {
		return primary, nil
	}
	var late *workload.NotReadyError
	if errors.As(err, &late) {
		err = failure.As(failure.ErrRejected, err)
	}
	return primary, fmt.Errorf("promoting %s: %w", r.App, err)
}

func guard(ctx context.Context, r *release.Release, rec *record.Record) {
	err := kube.Follow(ctx, r.Deployments.Objects, kube.Named(r.App.Name),
		func(event watch.EventType, object runtime.Object) (bool, error) {
			target, err := workload.FromObject(object)
			if err != nil {
				return false, err
			}
			if event != watch.Deleted && target.Revision() == rec.Revision && target.Status.AvailableReplicas > 0 {
				return false, nil
			}
			slog.Warn("the canary is no longer what was judged: taking its traffic", "target", target.Progress(),
				"revision", workload.Short(target.Revision()))
			_, err = r.Fence.Lower(ctx, r.ID, r.Cluster)
			return err == nil, err
		})
	if err != nil && ctx.Err() == nil {
		slog.Warn("not watching the target", "error", err.Error())
	}
}

// guardRoute makes the VirtualService again, with the run as it is, so that it can be completed or undone. One that is
// deleted before the watch begins has no event, and is read; it is made as it is known.
func guardRoute(ctx context.Context, r *release.Release, known *networking.VirtualService) {
	remake := func(deleted *networking.VirtualService) {
		text, _ := r.Remake(ctx, deleted, func(last *record.Record, _ string) (*record.Record, error) {
			if last != nil && !last.Open() {
				return last, nil // it was ended before
			}
			return record.Lower(last, r.ID, r.Cluster.Now())
		})
		slog.Warn("the route is gone", "virtualService", deleted.Name, "done", text)
	}
	seen := make(chan struct{})
	first := sync.OnceFunc(func() { close(seen) })
	var reading sync.WaitGroup
	reading.Go(func() {
		select {
		case <-ctx.Done():
		case <-seen:
		case <-time.After(time.Second):
			if _, err := r.Fence.Read(ctx); apierrors.IsNotFound(err) {
				remake(known)
			}
		}
	})
	err := kube.Follow(ctx, r.Cluster.VirtualServices(r.App.Namespace), kube.Named(known.Name),
		func(event watch.EventType, object runtime.Object) (bool, error) {
			first()
			if vs, ok := object.(*networking.VirtualService); ok && event == watch.Deleted {
				remake(vs)
			}
			return false, nil
		})
	if err != nil && ctx.Err() == nil {
		slog.Warn("not watching the route", "error", err.Error())
	}
	reading.Wait()
}
