package flagger_test

import (
	"strings"
	"testing"

	"github.com/serin-cd/serin/internal/importing"
	"github.com/serin-cd/serin/internal/importing/flagger"
	"github.com/serin-cd/serin/internal/pipeline"
	"github.com/serin-cd/serin/pkg/task/failure"
	"github.com/serin-cd/serin/tasks"
)

// FuzzImport reads anything. What is imported can be rendered as a Pipeline and a run that Tekton admits, or is refused
// as what somebody has written wrong.
func FuzzImport(f *testing.F) {
	for _, seed := range []string{
		"", "a: *b", "[]", "---\n---\n", "kind: List\napiVersion: v1\nitems: [*x]", canary, canary + template,
		strings.Replace(canary, "stepWeight: 20", "stepWeights: [1, 2, 100]", 1),
		strings.Replace(canary, "stepWeight: 20", "stepWeight: 1\n    maxWeight: 99", 1),
		strings.Replace(canary, "interval: 30s", "interval: 1000h", 1),
		"&a {apiVersion: flagger.app/v1beta1, kind: Canary, metadata: *a, <<: *a}",
	} {
		f.Add([]byte(seed))
	}
	known, err := pipeline.ReadTasks(tasks.Files)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		documents, err := importing.Read("canary.yaml", strings.NewReader(string(text)))
		if err != nil {
			wantRefusal(t, err)
			return
		}
		releases, err := flagger.Import(documents, "shop")
		if err != nil {
			wantRefusal(t, err)
			return
		}
		for _, r := range releases {
			if _, err := r.Pipeline(t.Context(), known); err != nil {
				wantRefusal(t, err)
				continue
			}
			if _, err := r.Run(t.Context()); err != nil {
				t.Errorf("%v of\n%s", err, text)
			}
		}
	})
}

func wantRefusal(t *testing.T, err error) {
	t.Helper()
	if failure.Code(err) != failure.ExitConfig || !strings.Contains(err.Error(), " ") {
		t.Errorf("error %v, want a refusal with its reason", err)
	}
}

const canary = `apiVersion: flagger.app/v1beta1
kind: Canary
metadata: {name: podinfo, namespace: shop}
spec:
  targetRef: {apiVersion: apps/v1, kind: Deployment, name: podinfo}
  service: {port: 80}
  analysis:
    interval: 30s
    stepWeight: 20
    metrics:
    - {name: latency, templateRef: {name: latency}, thresholdRange: {max: 1}, templateVariables: {q: "0.9"}}
    - {name: request-success-rate, threshold: 99}
`

const template = `---
apiVersion: flagger.app/v1beta1
kind: MetricTemplate
metadata: {name: latency, namespace: shop}
spec:
  provider: {type: prometheus, address: "http://prometheus:9090"}
  query: quantile({{ variables.q }}, latency{job="{{ target }}"})
`
