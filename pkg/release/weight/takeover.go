package weight

import (
	"context"
	"fmt"
	"maps"

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
		other.taking, other.Mode = true, f.Mode
		if taken[name], err = other.Update(ctx, nothing); err != nil {
			return first, followers, fmt.Errorf("taking the route over: %w", err)
		}
	}
	return first, taken, nil
}
