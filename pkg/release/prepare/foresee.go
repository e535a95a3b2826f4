package prepare

import (
	"context"
	"fmt"

	"github.com/serin-cd/serin/pkg/release"
)

// Foresee tells what a first release will do, in order, after the rehearsal of it, and the reservations about it;
// nothing where there was one. It changes nothing.
func Foresee(ctx context.Context, r *release.Release, p Preparation) (all []string, reserved []Reservation, err error) {
	f, err := look(ctx, r, p)
	if err == nil {
		err = rehearse(ctx, r, p, f)
	}
	if err != nil || !f.first() {
		return nil, nil, err
	}
	if reserved, err = reservations(ctx, r, f); err != nil {
		return nil, nil, err
	}
	primary, canary := r.App.Primary(), r.App.Canary()
	tell := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	if f.primary == nil {
		tell("make Deployment %s with %d pods, a copy of %s", primary, max(f.target.Wanted(), 1), r.App.Name)
	} else {
		tell("bring Deployment %s in line with %s", primary, r.App.Name)
	}
	if scaler := f.scaled.Reference(); scaler.Kind != "" {
		tell("make %s %s, like %s", scaler.Kind, primary, scaler.Name)
	}
	if budget := f.budget.Name(); budget != "" {
		tell("make PodDisruptionBudget %s, like %s", primary, budget)
	}
	tell("make Services and DestinationRules %s and %s", primary, canary)
	if f.state == nil {
		tell("make VirtualService %s, with all traffic to %s", r.App.Name, primary)
	}
	for _, state := range f.states() {
		if state.Splits.Whole() {
			tell("lead %s of VirtualService %s to %s, with a place for %s beside it", state.Splits,
				state.VirtualService.Name, primary, canary)
		} else {
			tell("shift %s of VirtualService %s from then on", state.Splits, state.VirtualService.Name)
		}
	}
	if f.apex == nil {
		tell("make Service %s, which leads to %s", r.App.Name, primary)
	} else {
		tell("point Service %s at the pods of %s", r.App.Name, primary)
	}
	tell("scale Deployment %s to 0, once nobody sends to it", r.App.Name)
	return all, reserved, nil
}
