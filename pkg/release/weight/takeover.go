package weight

import (
	"context"
	"fmt"
	"maps"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/release/record"
	"github.com/serin-cd/serin/pkg/task/parameter"
)

// TakeOver gives primary and canary their place in each route that goes to the application's own Service, in all
// VirtualServices of the selection: the primary gets everything. It returns how they are then.
func (f Fence) TakeOver(ctx context.Context, followers map[string]State) (State, map[string]State, error) {
	nothing := func(now State) (*record.Record, parameter.Weight, error) { return nil, now.Weight(), nil }
	f.taking = true
	first, err := f.Update(ctx, nothing)
	if err != nil {
		return first, followers, fmt.Errorf("taking the route over: %w", err)
	}
	taken := maps.Clone(followers)
	for name := range followers {
		other := f.on(name)
		other.taking = true
		if taken[name], err = other.Update(ctx, nothing); err != nil {
			return first, followers, fmt.Errorf("taking the route over: %w", err)
		}
	}
	return first, taken, nil
}

// RehearseMade is an error where a VirtualService that is made could not be read or written afterwards.
func (f Fence) RehearseMade(ctx context.Context) error {
	_, err := f.Read(ctx)
	if apierrors.IsNotFound(err) {
		err = kube.Retry(ctx, func(ctx context.Context) error {
			_, err := f.VirtualServices.Patch(ctx, f.name(), types.JSONPatchType, []byte("[]"), kube.Rehearsal.Patch())
			return err
		})
	}
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// Rehearse is an error where the API server would not take a run's record, or the routes that are taken over, on one of
// the VirtualServices. It changes nothing.
func (f Fence) Rehearse(ctx context.Context, rec *record.Record, followers map[string]State) error {
	f.Mode, f.taking = kube.Rehearsal, true
	written := func(now State) (*record.Record, parameter.Weight, error) { return rec, now.Weight(), nil }
	if _, err := f.Update(ctx, written); err != nil {
		return err
	}
	for name := range followers {
		other := f.on(name)
		other.taking = true
		if _, err := other.Update(ctx, written); err != nil {
			return err
		}
	}
	return nil
}
