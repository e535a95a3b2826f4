package release

import (
	"context"
	"time"

	"k8s.io/utils/clock"

	"github.com/serin-cd/serin/pkg/judge/prometheus"
	"github.com/serin-cd/serin/pkg/release/drain"
)

// DrainDeadline is how long proxies have to stop sending where nobody says otherwise.
const DrainDeadline = time.Minute

// Undrained is the release of a canary that nobody was ever sent to, for whose pods nothing is waited.
func (r *Release) Undrained() *Release {
	other := *r
	other.Drain = func(context.Context) error { return nil }
	return &other
}

// DrainBlindly waits for as long as proxies have by default, because there is nothing to observe them by.
func (r *Release) DrainBlindly() {
	r.Drain = func(ctx context.Context) error {
		return drain.Wait(ctx, nil, r.drained(), 0, DrainDeadline, DrainDeadline, clock.RealClock{})
	}
}

// drained are the pods that are drained: the canary's, or the primary's where they go for good.
func (r *Release) drained() drain.Workload {
	return drain.Workload{Namespace: r.App.Namespace, App: r.App.Name, Primary: r.Ejected}
}

// DrainBy observes the drain in Prometheus, for at least and at most the times given.
func (r *Release) DrainBy(config prometheus.Config, least, most time.Duration) error {
	client, err := prometheus.New(config)
	if err != nil {
		return err
	}
	r.DrainWith(client, least, most)
	return nil
}

// DrainWith is DrainBy with a client that is there.
func (r *Release) DrainWith(client *prometheus.Client, least, most time.Duration) {
	r.Drain = func(ctx context.Context) error {
		return drain.Wait(ctx, client, r.drained(), 0, least, most, clock.RealClock{})
	}
}
