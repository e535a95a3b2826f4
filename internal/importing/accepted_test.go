package importing_test

import (
	"strings"
	"testing"

	"github.com/serin-cd/serin/internal/apitest"
	"github.com/serin-cd/serin/internal/importing"
	"github.com/serin-cd/serin/internal/importing/flagger"
	"github.com/serin-cd/serin/internal/importing/values"
	"github.com/serin-cd/serin/internal/pipeline"
	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/tasks"
)

func TestMain(m *testing.M) { apitest.Main(m) }

// TestServerAccepts what an import writes: the API server knows each member of Tekton's objects.
func TestServerAccepts(t *testing.T) {
	known, err := pipeline.ReadTasks(tasks.Files)
	if err != nil {
		t.Fatal(err)
	}
	for name, read := range map[string]func(string) ([]*importing.Release, error){
		"values": func(namespace string) ([]*importing.Release, error) {
			chart, err := importing.Read("values.yaml", strings.NewReader(`canary:
  enabled: true
  canaryAnalysis:
    interval: 90m
    maxWeight: 60
    stepWeight: 20
    metrics: {requestSuccessRate: {threshold: 99, interval: 1m}}
`))
			if err != nil {
				return nil, err
			}
			release, err := values.Import(application.Application{Namespace: namespace, Name: "shop"},
				values.Source{Key: "shop", Chart: chart})
			return []*importing.Release{release}, err
		},
		"canaries": func(namespace string) ([]*importing.Release, error) {
			documents, err := importing.Read("canary.yaml", strings.NewReader(`apiVersion: flagger.app/v1beta1
kind: Canary
metadata: {name: podinfo}
spec:
  targetRef: {apiVersion: apps/v1, kind: Deployment, name: podinfo}
  service: {port: 80}
  analysis:
    interval: 30s
    stepWeights: [1, 10, 50]
    metrics:
    - {name: latency, templateRef: {name: latency}, thresholdRange: {max: 1}}
    - {name: request-success-rate, thresholdRange: {min: 99}}
---
apiVersion: flagger.app/v1beta1
kind: MetricTemplate
metadata: {name: latency}
spec:
  provider: {type: prometheus, address: "http://prometheus:9090"}
  query: "quantile(0.9, latency{job=\"{{ target }}\"})"
---
apiVersion: flagger.app/v1beta1
kind: Canary
metadata: {name: shop}
spec:
  targetRef: {apiVersion: apps/v1, kind: Deployment, name: shop}
  service: {port: 80}
  analysis: {interval: 1m, threshold: 2, stepWeight: 5, maxWeight: 50}
`))
			if err != nil {
				return nil, err
			}
			return flagger.Import(documents, namespace)
		},
	} {
		t.Run(name, func(t *testing.T) {
			namespace := apitest.Namespace(t)
			releases, err := read(namespace)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range releases {
				pipeline, err := r.Pipeline(t.Context(), known)
				if err != nil {
					t.Fatal(err)
				}
				run, err := r.Run(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				apitest.Apply(t, namespace, pipeline)
				apitest.Apply(t, namespace, run)
			}
		})
	}
}
