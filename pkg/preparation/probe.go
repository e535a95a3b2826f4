package preparation

import (
	"context"

	"github.com/serin-cd/serin/pkg/analysis"
	"github.com/serin-cd/serin/pkg/application"
	"github.com/serin-cd/serin/pkg/prometheus"
)

// Prober checks how the canary will be judged, and returns the question that is put to Prometheus
// before anything is changed: every metric once.
func Prober(app application.Application, config analysis.Config, server prometheus.Config) (func(context.Context) error, error) {
	judge, err := analysis.New(config, analysis.Target{Namespace: app.Namespace, Canary: app.Name, Primary: app.Primary()})
	if err != nil {
		return nil, err
	}
	client, err := prometheus.New(server)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error { return judge.Probe(ctx, client.Limited(int(config.SeriesLimit))) }, nil
}
