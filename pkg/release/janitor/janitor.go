// Package janitor takes back the abandoned runs of a namespace.
package janitor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	networking "istio.io/client-go/pkg/apis/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/release"
	"github.com/serin-cd/serin/pkg/release/rollback"
	"github.com/serin-cd/serin/pkg/release/weight"
	"github.com/serin-cd/serin/pkg/task/failure"
	"github.com/serin-cd/serin/pkg/task/run"
)

// fresh is how long after its end a run's target is looked at each time; afterwards once an hour.
const fresh = 15 * time.Minute

// Janitor looks after one namespace.
type Janitor struct {
	Cluster   *kube.Cluster
	Namespace string
	Deadline  time.Duration                // for the primary's pods to become ready again
	Drain     func(*release.Release) error // says how the drain of an application is observed
}

// Sweep reads all VirtualServices of the namespace in one call and takes back what was abandoned. The record tells
// which are Serin's: one that Serin did not make has no label. All applications are seen to at once, because each may
// drain for a minute.
func (j Janitor) Sweep(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, j.Deadline+2*time.Minute)
	defer cancel()
	var all []*networking.VirtualService
	err := kube.Retry(ctx, func(ctx context.Context) error {
		list, err := j.Cluster.VirtualServices(j.Namespace).List(ctx, metav1.ListOptions{})
		if err == nil {
			all = list.Items
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("listing the VirtualServices of %s: %w", j.Namespace, err)
	}
	failed := make([]error, len(all))
	var working sync.WaitGroup
	for i, vs := range all {
		working.Go(func() { failed[i] = j.see(ctx, vs) })
	}
	working.Wait()
	return errors.Join(failed...)
}

// see takes one application back, if it was left.
func (j Janitor) see(ctx context.Context, vs *networking.VirtualService) error {
	app := application.Application{Namespace: j.Namespace, Name: vs.Name}
	state, malformed := weight.Observe(vs, app)
	switch {
	case vs.Annotations[application.RunAnnotation] == "" && vs.Labels[application.Label] != vs.Name:
		return nil
	case malformed != nil && state.Record.Open():
		return fmt.Errorf("run %s is open: %w", state.Record.ID, malformed)
	case malformed != nil || !due(state, j.Cluster.Now()):
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

// due says whether it is worth asking further. An application at rest costs a question an hour: whether the pods of its
// last canary, which may have been sent to for longer than anybody waited, are still up.
func due(state weight.State, now time.Time) bool {
	record := state.Record
	switch {
	case state.Weight() > 0 || record.Open() || state.Broken != nil:
		return true
	case record == nil || record.Outcome == run.Unfinished || record.Ended.IsZero():
		return false
	}
	age := now.Sub(record.Ended)
	return age < fresh || age%time.Hour < time.Minute
}
