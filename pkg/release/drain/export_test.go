package drain

import (
	"context"
	"time"
)

// State is what is known about the proxies.
type State = state

// The states.
const (
	Quiet   = quiet
	Sending = sending
	Unknown = unknown
)

// Observe says what a wait sees at a time.
func Observe(ctx context.Context, q querier, w Workload, changed, now time.Time) (State, error) {
	seen, err := look(ctx, q, w, changed, now)
	return seen.state, err
}
