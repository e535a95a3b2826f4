package prepare

import (
	"context"

	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/judge"
	"github.com/serin-cd/serin/pkg/judge/prometheus"
)

// prober checks how the canary will be judged, and returns the question that is put to Prometheus
// before anything is changed: every metric once.
func prober(app application.Application, config judge.Config, server prometheus.Config) (func(context.Context) error,
	error) {
	j, err := judge.New(config, judge.Target{Namespace: app.Namespace, Canary: app.Name, Primary: app.Primary()})
	if err != nil {
		return nil, err
	}
	client, err := prometheus.New(server)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error { return j.Probe(ctx, client.Limited(int(config.SeriesLimit))) }, nil
}
