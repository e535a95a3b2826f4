package weight

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/cluster/mesh"
	"github.com/serin-cd/serin/pkg/release/record"
	"github.com/serin-cd/serin/pkg/task/parameter"
)

// Adopt records an application that was taken over as it is, as a release that has ended. The record of a run stays.
func (f Fence) Adopt(ctx context.Context, adopted *record.Record) error {
	_, err := f.Update(ctx, func(now State) (*record.Record, parameter.Weight, error) {
		switch {
		case now.Record.Open():
			return nil, 0, &record.BusyError{Holder: *now.Record}
		case now.Record != nil:
			return nil, now.Weight(), nil
		}
		return adopted, 0, nil
	})
	if err != nil {
		return fmt.Errorf("recording what the primary serves: %w", err)
	}
	return nil
}

// GiveBack leads the routes of all VirtualServices to the application's own Service, and takes the record off them,
// that of the first at last. What gets there must be served by it by then. A VirtualService that is gone, or has no
// such route any more, is left.
func (f Fence) GiveBack(ctx context.Context) error {
	var fences []Fence
	for _, name := range f.Selection.Others() {
		fences = append(fences, f.on(name))
	}
	for _, one := range append(fences, f) {
		one.giving = true
		_, err := one.Update(ctx, func(now State) (*record.Record, parameter.Weight, error) {
			if now.Record.Open() {
				return nil, 0, &record.BusyError{Holder: *now.Record}
			}
			return nil, now.Weight(), nil
		})
		if apierrors.IsNotFound(err) || errors.Is(err, mesh.ErrNoSplit) {
			slog.Warn("no route to give back", "virtualService", one.String(), "because", err.Error())
			continue
		}
		if err != nil {
			return fmt.Errorf("leading the routes to Service %s: %w", f.App.Name, err)
		}
	}
	return nil
}

// givenBack are the operations of GiveBack on one VirtualService.
func (s State) givenBack(app application.Application) []kube.Operation {
	ops := append(s.Splits.GiveBack(app), s.Left.GiveBack(app)...)
	if _, there := s.VirtualService.Annotations[application.RunAnnotation]; there {
		ops = append(ops, kube.Unannotate(application.RunAnnotation))
	}
	return ops
}
