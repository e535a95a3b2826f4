// Package exporting writes the Flagger Canary that goes on with an application as its runs have released it.
package exporting

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/autoscaler"
	"github.com/serin-cd/serin/pkg/judge/classic"
	"github.com/serin-cd/serin/pkg/judge/verdict"
	"github.com/serin-cd/serin/pkg/task/failure"
)

// Source is an application with how its last run has released it.
type Source struct {
	App        application.Application
	Parameters map[string]string          // of the run; what is missing has the value of the Pipeline
	Weights    []int                      // of its stages, in percent
	Service    *unstructured.Unstructured // the application's own
	Route      *unstructured.Unstructured // the VirtualService
	Rule       *unstructured.Unstructured // DestinationRule of the primary, nil for none
	Autoscaler string                     // KIND/NAME of the target's, empty for none
}

// Exported is a Canary, and what of the run it cannot say.
type Exported struct {
	Canary *unstructured.Unstructured
	Notes  []string
}

// Flagger is the Canary. Flagger replaces Services and VirtualService by what the Canary says: an application that it
// would change is refused, with all reasons at once.
func Flagger(s Source) (Exported, error) {
	e := export{Source: s}
	spec := map[string]any{
		"provider":  "istio",
		"targetRef": map[string]any{"apiVersion": "apps/v1", "kind": "Deployment", "name": s.App.Name},
		"service":   e.service(),
		"analysis":  e.analysis(),
	}
	if url := s.Parameters["prometheus-url"]; url != "" {
		spec["metricsServer"] = url
	}
	if d := e.duration("progress-deadline"); d > 0 {
		spec["progressDeadlineSeconds"] = int64(d / time.Second)
	}
	if ref := e.scaler(); ref != nil {
		spec["autoscalerRef"] = ref
	}
	made := &unstructured.Unstructured{Object: map[string]any{"spec": spec}}
	made.SetAPIVersion("flagger.app/v1beta1")
	made.SetKind("Canary")
	made.SetName(s.App.Name)
	made.SetNamespace(s.App.Namespace)
	if err := e.refusals.Err(); err != nil {
		return Exported{}, fmt.Errorf("writing the Canary of %s: %w", s.App, err)
	}
	return Exported{made, e.notes}, nil
}

// export is a Canary that is being written.
type export struct {
	Source

	refusals failure.Refusals
	notes    []string
}

func (e *export) note(format string, args ...any) {
	e.notes = append(e.notes, fmt.Sprintf(format, args...))
}

// service says what Services and VirtualService have.
func (e *export) service() map[string]any {
	out := map[string]any{}
	ports, _, _ := unstructured.NestedSlice(e.Service.Object, "spec", "ports")
	if len(ports) != 1 {
		e.refusals.Addf("reading Service %s: it has %d ports, and Flagger gives it one: write the Canary by hand, "+
			"with portDiscovery", e.Service.GetName(), len(ports))
		return out
	}
	port, _ := ports[0].(map[string]any)
	out["port"] = port["port"]
	for from, to := range map[string]string{
		"name": "portName", "targetPort": "targetPort", "appProtocol": "appProtocol",
	} {
		if value, there := port[from]; there && value != "" {
			out[to] = value
		}
	}
	e.route(out)
	if e.Rule == nil {
		return out
	}
	rule, _, _ := unstructured.NestedMap(e.Rule.Object, "spec")
	for key, value := range rule {
		switch key {
		case "host":
		case "trafficPolicy":
			out["trafficPolicy"] = value
		default:
			e.note("DestinationRule %s has %s, which Flagger takes away", e.Rule.GetName(), key)
		}
	}
	return out
}

// routes are the members of a route that a Canary has too.
var routes = []string{"match", "rewrite", "timeout", "retries", "headers", "corsPolicy"}

// route takes hosts, gateways and the one route over.
func (e *export) route(out map[string]any) {
	spec, _, _ := unstructured.NestedMap(e.Route.Object, "spec")
	for key, value := range spec {
		switch key {
		case "hosts", "gateways":
			out[key] = value
		case "http":
		default:
			e.refusals.Addf("reading VirtualService %s: Flagger would take %s away", e.Route.GetName(), key)
		}
	}
	if spec["hosts"] == nil {
		out["delegation"] = true
	}
	list, _ := spec["http"].([]any)
	if len(list) != 1 {
		e.refusals.Addf("reading VirtualService %s: it has %d http routes, and Flagger writes one: move the others to "+
			"a VirtualService that delegates to it", e.Route.GetName(), len(list))
		return
	}
	only, _ := list[0].(map[string]any)
	for key, value := range only {
		switch {
		case slices.Contains(routes, key):
			out[key] = value
		case key == "route":
			e.destinations(value)
		case key == "name":
			e.note("the route loses its name, %v", value)
		default:
			e.refusals.Addf("reading VirtualService %s: Flagger would take %s of its route away",
				e.Route.GetName(), key)
		}
	}
}

// destinations refuses those that say more than a host, a weight, and the only port.
func (e *export) destinations(list any) {
	all, _ := list.([]any)
	for _, one := range all {
		d, _ := one.(map[string]any)
		for key := range d {
			if key != "destination" && key != "weight" {
				e.refusals.Addf("reading VirtualService %s: Flagger would take %s of a destination away",
					e.Route.GetName(), key)
			}
		}
		to, _ := d["destination"].(map[string]any)
		if subset, there := to["subset"]; there {
			e.refusals.Addf("reading VirtualService %s: Flagger would take subset %v of a destination away",
				e.Route.GetName(), subset)
		}
	}
}

// What a run does where its parameters do not say, as Pipelines have it.
const (
	usualInterval  = "1m"
	usualThreshold = 5
	usualWindow    = "1m"
)

// analysis says when Flagger checks what, and how far it goes.
func (e *export) analysis() map[string]any {
	interval := e.Parameters["interval"]
	if interval == "" {
		interval = usualInterval
	}
	threshold := int64(usualThreshold)
	if text := e.Parameters["threshold"]; text != "" {
		threshold, _ = strconv.ParseInt(text, 10, 64)
	}
	var weights []any
	for _, w := range e.Weights {
		weights = append(weights, int64(w))
	}
	if e.Parameters["judge"] != "classic" {
		e.note("Flagger checks fixed bounds: it does not compare the canary with the primary")
	}
	return map[string]any{"interval": interval, "threshold": threshold, "stepWeights": weights, "metrics": e.metrics()}
}

// metrics are those that the run has checked, or Istio's own with the usual bounds.
func (e *export) metrics() []any {
	if text := e.Parameters["metrics"]; text != "" {
		list, err := classic.Parse(text)
		e.refusals.Add(err)
		var all []any
		for _, m := range list {
			all = append(all, e.metric(m))
		}
		return all
	}
	all := []any{}
	for name, bound := range map[string]struct{ parameter, usual, side string }{
		verdict.SuccessRate:     {"success-rate", "99", "min"},
		verdict.RequestDuration: {"request-duration", "1000", "max"},
	} {
		text := e.Parameters[bound.parameter]
		if text == "" {
			text = bound.usual
		}
		n, err := strconv.ParseFloat(text, 64)
		if err != nil { // such as "off"
			e.note("%s is %s, and is not checked", bound.parameter, text)
			continue
		}
		all = append(all, map[string]any{"name": name, "interval": usualWindow,
			"thresholdRange": map[string]any{bound.side: number(n)}})
	}
	slices.SortFunc(all, func(x, y any) int {
		return strings.Compare(y.(map[string]any)["name"].(string), x.(map[string]any)["name"].(string))
	})
	return all
}

// metric is one of the list in the parameter metrics.
func (e *export) metric(m classic.Metric) map[string]any {
	bounds := map[string]any{}
	if m.Min != nil {
		bounds["min"] = number(*m.Min)
	}
	if m.Max != nil {
		bounds["max"] = number(*m.Max)
	}
	out := map[string]any{"name": m.Name, "thresholdRange": bounds, "interval": usualWindow}
	if m.Interval != "" {
		out["interval"] = m.Interval
	}
	if m.Query != "" {
		out["query"] = m.Query
	}
	if m.Query != "" && e.Parameters["variables"] != "" {
		e.note("metric %s may use variables of the run, which a query in a Canary has not: make a MetricTemplate of it",
			m.Name)
	}
	return out
}

// number is a whole one where it is one, as people write it.
func number(n float64) any {
	if n == float64(int64(n)) {
		return int64(n)
	}
	return n
}

func (e *export) duration(name string) time.Duration {
	d, err := time.ParseDuration(e.Parameters[name])
	if err != nil {
		return 0
	}
	return d
}

// scaler refers to the target's autoscaler, nil for none.
func (e *export) scaler() map[string]any {
	ref := autoscaler.Noted(e.Autoscaler)
	if ref.Kind == "" {
		return nil
	}
	out := map[string]any{"apiVersion": "autoscaling/v2", "kind": string(ref.Kind), "name": ref.Name}
	if ref.Kind == autoscaler.ScaledObject {
		out["apiVersion"] = "keda.sh/v1alpha1"
	}
	bounds := map[string]any{}
	for name, member := range map[string]string{"primary-min-replicas": "minReplicas",
		"primary-max-replicas": "maxReplicas"} {
		if n, err := strconv.ParseInt(e.Parameters[name], 10, 64); err == nil {
			bounds[member] = n
		}
	}
	if len(bounds) > 0 {
		out["primaryScalerReplicas"] = bounds
	}
	return out
}
