package faults

import (
	"context"
	"fmt"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"

	networking "istio.io/client-go/pkg/apis/networking/v1"
	istio "istio.io/client-go/pkg/clientset/versioned"

	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/cluster/mesh"
	"github.com/serin-cd/serin/pkg/release/record"
	"github.com/serin-cd/serin/pkg/release/weight"
	"github.com/serin-cd/serin/pkg/task/parameter"
)

// board knows the routes of all namespaces as they are, by one watch.
type board struct {
	mu      sync.Mutex
	routes  map[string]seen // by namespace
	changed chan struct{}   // closed when there is news
}

// seen is a route as it was seen last.
type seen struct {
	record   *record.Record
	weight   parameter.Weight
	restored time.Time // since when the weight is 0 and the record closed; zero while not
}

// watchRoutes follows all VirtualServices of applications of a name until ctx ends.
func watchRoutes(ctx context.Context, mesh istio.Interface, app string) *board {
	b := &board{routes: map[string]seen{}, changed: make(chan struct{})}
	go func() {
		// it ends with ctx
		_ = kube.Follow(ctx, mesh.NetworkingV1().VirtualServices(metav1.NamespaceAll), kube.Named(app), b.saw)
	}()
	return b
}

func (b *board) saw(event watch.EventType, object runtime.Object) (bool, error) {
	vs, ok := object.(*networking.VirtualService)
	if !ok {
		return false, nil
	}
	state, _ := weight.Observe(vs, application.Application{Namespace: vs.Namespace, Name: vs.Name}, mesh.Selection{})
	now := seen{record: state.Record, weight: state.Weight()}
	b.mu.Lock()
	defer b.mu.Unlock()
	if rests := event != watch.Deleted && now.weight == 0 && !now.record.Open(); rests {
		now.restored = time.Now()
		if before := b.routes[vs.Namespace]; !before.restored.IsZero() && same(before.record, now.record) {
			now.restored = before.restored
		}
	}
	b.routes[vs.Namespace] = now
	close(b.changed)
	b.changed = make(chan struct{})
	return false, nil
}

func same(a, b *record.Record) bool { return a != nil && b != nil && a.ID == b.ID }

// last is a namespace's route as it was seen last.
func (b *board) last(namespace string) seen {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.routes[namespace]
}

// await returns the route of a namespace when a condition of it holds.
func (b *board) await(ctx context.Context, namespace string, holds func(seen) bool) (seen, error) {
	for {
		b.mu.Lock()
		now, changed := b.routes[namespace], b.changed
		b.mu.Unlock()
		if holds(now) {
			return now, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return now, fmt.Errorf("canary weight %d, record %s: %w", now.weight, now.record, context.Cause(ctx))
		}
	}
}
