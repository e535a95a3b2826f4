package autoscaler

import (
	"regexp"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/task/failure"
)

// members are the names that a kind of autoscaler has for its bounds, and what holds where they are absent.
var members = map[Kind]struct {
	min, max               string
	defaultMin, defaultMax int64
}{
	HPA:          {"minReplicas", "maxReplicas", 1, 1},
	ScaledObject: {"minReplicaCount", "maxReplicaCount", 0, 100},
}

// bounds are the least and the greatest number of pods that an autoscaler asks for.
func bounds(kind Kind, spec map[string]any) (least, most int64) {
	m := members[kind]
	least, most = m.defaultMin, m.defaultMax
	if n, ok := spec[m.min].(int64); ok {
		least = n
	}
	if n, ok := spec[m.max].(int64); ok {
		most = n
	}
	return least, most
}

// primarySpec is the spec of the primary's autoscaler for that of the target: whole, less what would let it scale
// another Deployment, share a name with another, or leave the primary without pods.
func primarySpec(target *unstructured.Unstructured, app application.Application, b Bounds) (map[string]any, error) {
	kind := Kind(target.GetKind())
	whole, _ := target.Object["spec"].(map[string]any)
	spec := runtime.DeepCopyJSON(whole)
	if err := unstructured.SetNestedField(spec, app.Primary(), "scaleTargetRef", "name"); err != nil {
		return nil, failure.Configf("reading %s: %w", referenceOf(target), err)
	}
	if kind == HPA {
		renameMetrics(spec["metrics"], app)
	} else {
		renameScaledObject(spec, app)
	}
	least, most := bounds(kind, spec)
	before := [2]int64{least, most}
	if least = max(least, 1); b.Min > 0 {
		least = int64(b.Min)
	}
	if b.Max > 0 {
		most = int64(b.Max)
	}
	if least > most {
		return nil, failure.Configf("making %s %s: it would have at least %d and at most %d pods "+
			"(primary-min-replicas %s, primary-max-replicas %s, %s has %d to %d), want a minimum that "+
			"is not above the maximum", kind, app.Primary(), least, most, b.Min, b.Max, referenceOf(target),
			before[0], before[1])
	}
	if least != before[0] {
		spec[members[kind].min] = least
	}
	if most != before[1] {
		spec[members[kind].max] = most
	}
	return spec, nil
}

// renameMetrics has the label selectors of an HorizontalPodAutoscaler's metrics select the primary's series where they
// select the target's.
func renameMetrics(metrics any, app application.Application) {
	all, _ := metrics.([]any)
	for _, m := range all {
		source, _ := m.(map[string]any)
		for _, kind := range []string{"pods", "object", "external"} {
			of, _ := source[kind].(map[string]any)
			metric, _ := of["metric"].(map[string]any)
			selector, _ := metric["selector"].(map[string]any)
			renameSelector(selector, app)
			described, _ := of["describedObject"].(map[string]any)
			if described["kind"] == "Deployment" && described["name"] == app.Name {
				described["name"] = app.Primary()
			}
		}
	}
}

func renameSelector(selector map[string]any, app application.Application) {
	match, _ := selector["matchLabels"].(map[string]any)
	for key, value := range match {
		if value == app.Name {
			match[key] = app.Primary()
		}
	}
	expressions, _ := selector["matchExpressions"].([]any)
	for _, e := range expressions {
		expression, _ := e.(map[string]any)
		values, _ := expression["values"].([]any)
		for i, value := range values {
			if value == app.Name {
				values[i] = app.Primary()
			}
		}
	}
}

// queries are the members of a trigger's metadata that ask a monitoring system for the workload's own series. What
// other triggers ask, such as the length of a queue or rows of a table, target and primary have in common.
var queries = map[string]string{
	"prometheus": "query", "loki": "query", "datadog": "query", "graphite": "query", "influxdb": "query",
	"new-relic": "nrql",
}

func renameScaledObject(spec map[string]any, app application.Application) {
	delete(spec, "idleReplicaCount")
	advanced, _ := spec["advanced"].(map[string]any)
	config, _ := advanced["horizontalPodAutoscalerConfig"].(map[string]any)
	if name, ok := config["name"].(string); ok && name != "" {
		config["name"] = name + "-primary"
	}
	triggers, _ := spec["triggers"].([]any)
	for _, t := range triggers {
		trigger, _ := t.(map[string]any)
		of, _ := trigger["type"].(string)
		metadata, _ := trigger["metadata"].(map[string]any)
		if query, ok := metadata[queries[of]].(string); ok {
			metadata[queries[of]] = renameWord(query, app)
		}
	}
}

// renameWord changes the target's name where it is a whole name, or begins a pattern of pod names, such as podinfo-.*:
// podinfo-canary and my-podinfo are other names.
func renameWord(text string, app application.Application) string {
	word := regexp.MustCompile(`(^|[^A-Za-z0-9_-])` + regexp.QuoteMeta(app.Name) + `(-?(?:[^A-Za-z0-9_-]|$))`)
	for { // matches that touch are found one after the other
		next := word.ReplaceAllString(text, "${1}"+app.Primary()+"${2}")
		if next == text {
			return text
		}
		text = next
	}
}
