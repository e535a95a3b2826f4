package values_test

import (
	"strings"
	"testing"

	"github.com/serin-cd/serin/internal/importing"
	"github.com/serin-cd/serin/internal/importing/values"
	"github.com/serin-cd/serin/internal/pipeline"
	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/task/failure"
	"github.com/serin-cd/serin/tasks"
)

// FuzzImport reads any values of a chart and an environment. What is imported can be rendered as a Pipeline and a run
// that Tekton admits, or is refused as what somebody has written wrong.
func FuzzImport(f *testing.F) {
	f.Add([]byte(chart), []byte(environment))
	f.Add([]byte(chart), []byte("shop: {canary: {canaryAnalysis: {stepWeight: 1, maxWeight: 100, interval: 90m}}}"))
	f.Add([]byte("canary: {analysis: {metrics: [{name: request-duration, threshold: 1}]}}"), []byte("shop: {}"))
	known, err := pipeline.ReadTasks(tasks.Files)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, chart, environment []byte) {
		release, err := imported(chart, environment)
		if err == nil {
			_, err = release.Pipeline(t.Context(), known)
		}
		if err != nil {
			if failure.Code(err) != failure.ExitConfig {
				t.Errorf("error %v, want a refusal", err)
			}
			return
		}
		if _, err := release.Run(t.Context()); err != nil {
			t.Errorf("%v of\n%s\nand\n%s", err, chart, environment)
		}
	})
}

func imported(chart, environment []byte) (*importing.Release, error) {
	from := values.Source{Key: "shop"}
	var err error
	if from.Chart, err = importing.Read("values.yaml", strings.NewReader(string(chart))); err != nil {
		return nil, err
	}
	if from.Environment, err = importing.Read("env/values.yaml", strings.NewReader(string(environment))); err != nil {
		return nil, err
	}
	return values.Import(application.Application{Namespace: "shop", Name: "shop"}, from)
}

const (
	chart = `canary:
  enabled: false
  progressDeadlineSeconds: 60
  canaryAnalysis:
    interval: "1m"
    threshold: 5
    maxWeight: 60
    stepWeight: 20
    metrics: {requestSuccessRate: {threshold: 99, interval: "1m"}, requestDuration: {threshold: 1000, interval: "1m"}}
  host: acme.com
`
	environment = `shop: {canary: {enabled: true, host: shop.example.com}}
`
)
