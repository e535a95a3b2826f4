// Package janitor takes back the abandoned runs of a namespace.
package janitor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"

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

// Janitor looks after one namespace.
type Janitor struct {
	Cluster   *kube.Cluster
	Namespace string
	Deadline  time.Duration                // for the primary's pods to become ready again
	Drain     func(*release.Release) error // says how the drain of an application is observed
}

// Sweep reads all VirtualServices and Deployments of the namespace, in two calls, and takes back what was abandoned.
// The record tells which VirtualServices are Serin's: one that Serin did not make has no label. A target whose
// VirtualService is gone is known by its stamp. All applications are seen to at once, because each may drain for a
// minute.
func (j Janitor) Sweep(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, j.Deadline+2*time.Minute)
	defer cancel()
	routes, err := weight.List(ctx, j.Cluster.VirtualServices(j.Namespace), j.Namespace)
	if err != nil {
		return err
	}
	targets, err := j.targets(ctx)
	if err != nil {
		return err
	}
	var mu sync.Mutex
	var failed []error
	var working sync.WaitGroup
	for name := range routes.Applications().Union(sets.KeySet(targets)) {
		working.Go(func() {
			err := failure.Guard(func() error { return j.see(ctx, name, routes, targets[name]) })
			mu.Lock()
			defer mu.Unlock()
			failed = append(failed, err)
		})
	}
	working.Wait()
	return errors.Join(failed...)
}

// targets are the Deployments that have pods and were a canary's, by name.
func (j Janitor) targets(ctx context.Context) (map[string]*workload.Deployment, error) {
	list, err := kube.List(ctx, j.Cluster.Objects(kube.Deployments, j.Namespace), metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("listing the Deployments of %s: %w", j.Namespace, err)
	}
	all := map[string]*workload.Deployment{}
	for i := range list.Items {
		d, err := workload.FromObject(&list.Items[i])
		if err == nil && d.Stamp() != "" && d.Promoted() == "" && d.Wanted() > 0 {
			all[d.Name] = d
		}
	}
	return all, nil
}

// see takes one application back, if it was left. target is nil where it has no pods that may be of a canary.
func (j Janitor) see(ctx context.Context, name string, routes weight.Routes, target *workload.Deployment) error {
	app := application.Application{Namespace: j.Namespace, Name: name}
	selection := routes.Selection(app)
	vs := routes.VirtualServices[selection.First(app)]
	var state weight.State
	if vs != nil {
		seen, malformed := weight.Observe(vs, app, selection)
		state = seen
		switch {
		case vs.Annotations[application.RunAnnotation] == "" && vs.Labels[application.Label] != name && target == nil:
			return nil
		case malformed != nil && state.Record.Open():
			return fmt.Errorf("run %s is open: %w", state.Record.ID, malformed)
		case malformed != nil:
			return nil
		}
	}
	if err := j.strays(ctx, app, routes, state.Record); err != nil {
		return err
	}
	if vs != nil && !due(state, target) {
		return nil
	}
	r, err := rollback.Owner(ctx, j.Cluster, app, state)
	if errors.Is(err, failure.ErrConfig) {
		slog.Warn("not taken back", "app", app.String(), "error", err.Error())
		return nil
	}
	if err != nil {
		return err
	}
	if err := r.Select(selection); err != nil {
		return err
	}
	if err := j.Drain(r); err != nil {
		return err
	}
	if state.Record.Open() && state.Record.ID == r.ID {
		_, err = rollback.Abandoned(ctx, r, state, j.Deadline)
	} else {
		_, err = rollback.Left(ctx, r, state, j.Deadline)
	}
	if err != nil {
		return fmt.Errorf("taking %s back: %w", app, err)
	}
	return nil
}

// strays closes copies that are open while no record of their run is: somebody has deleted it, or applied it anew.
func (j Janitor) strays(ctx context.Context, app application.Application, routes weight.Routes,
	rec *record.Record) error {
	for on, copied := range routes.Records(app) {
		if !copied.Copied(on) || !copied.Open() || rec.Open() && rec.ID == copied.ID {
			continue
		}
		r, err := release.New(j.Cluster, app.Name, copied.ID)
		if err != nil || copied.ID.Namespace != app.Namespace {
			continue
		}
		if err := r.Select(copied.Selection); err != nil {
			return err
		}
		slog.Info("taking back a VirtualService without a record", "virtualService", on, "run", copied.ID.String())
		if err := r.Fence.EndFollowers(ctx, nil, copied.ID, run.RolledBack, "the record of the run is gone",
			j.Cluster); err != nil {
			return err
		}
	}
	return nil
}

// due says whether it is worth asking further: a run is open, the canary has a share, or pods of the last one, which
// may have been sent to for longer than anybody waited, are still up.
func due(state weight.State, target *workload.Deployment) bool {
	record := state.Record
	return state.Weight() > 0 || record.Open() || state.Broken != nil ||
		target != nil && record != nil && record.Outcome != run.Unfinished
}
