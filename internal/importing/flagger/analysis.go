package flagger

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/serin-cd/serin/internal/importing"
	"github.com/serin-cd/serin/internal/parameters"
	"github.com/serin-cd/serin/pkg/judge/classic"
	"github.com/serin-cd/serin/pkg/judge/verdict"
)

// known accepts what may stand below an item of an analysis.
func known(paths ...string) importing.Rules[*canary] {
	all := importing.Rules[*canary]{}
	for _, p := range paths {
		all[p] = importing.Always[*canary](importing.Unneeded, "")
	}
	return all
}

var (
	metricFields = known("name", "interval", "threshold", "thresholdRange.min", "thresholdRange.max", "query",
		"templateRef.name", "templateRef.namespace", "templateRef.kind", "templateRef.apiVersion", "templateVariables")
	webhookFields = known("name", "type", "url", "timeout", "metadata", "muteAlert", "retries", "disableTLS")
	alertFields   = known("name", "severity", "providerRef.name", "providerRef.namespace", "providerRef.kind",
		"providerRef.apiVersion")
	templateFields = known("apiVersion", "kind", "metadata", "status", "spec.query", "spec.provider.type",
		"spec.provider.address", "spec.provider.secretRef", "spec.provider.region", "spec.provider.headers",
		"spec.provider.insecureSkipVerify", "spec.provider.serviceAccountRef")
	providerFields = known("apiVersion", "kind", "metadata", "status", "spec.type", "spec.channel", "spec.username",
		"spec.address", "spec.proxy", "spec.secretRef")
)

// hooks say what becomes of webhooks, by their type.
var hooks = map[string]string{
	"confirm-rollout":          "nobody is asked before a run: start it when it may begin",
	"pre-rollout":              "put it as a Task of its own before the run's first stage, or before the Pipeline",
	"rollout":                  "traffic has to be real, or sent by a Task of your own beside the stages",
	"confirm-traffic-increase": "nobody is asked between stages",
	"confirm-promotion":        "nobody is asked before promotion",
	"post-rollout":             "put it into the Pipeline's finally, or behind the run",
	"rollback":                 "end a run by `tkn canary abort`",
	"event":                    "Events are written on the Deployment",
}

func webhook(_ *canary, v importing.Value) (importing.Fate, string, error) {
	if _, err := webhookFields.Leaves(v); err != nil {
		return "", "", err
	}
	kind := "rollout"
	if given, ok := v.Get("type"); ok {
		text, err := given.Scalar()
		if err != nil {
			return "", "", err
		}
		kind = text
	}
	why, ok := hooks[kind]
	if !ok {
		return "", "", v.Refusef("type %q, want one that Flagger has: it starts with confirm-, pre-, post-, "+
			"or is rollout, rollback or event", kind)
	}
	return importing.Unsupported, "webhook " + kind + ": " + why, nil
}

func alert(c *canary, v importing.Value) (importing.Fate, string, error) {
	if _, err := alertFields.Leaves(v); err != nil {
		return "", "", err
	}
	return importing.Unsupported, "nothing is sent: the PipelineRun's status and Events tell the outcome", nil
}

// metric takes a check over: one of Istio's own as a limit, another with its query.
func metric(c *canary, v importing.Value) (importing.Fate, string, error) {
	if _, err := metricFields.Leaves(v); err != nil {
		return "", "", err
	}
	name, err := text(v, "name")
	if err != nil {
		return "", "", err
	}
	m := classic.Metric{Name: name, Interval: usualWindow}
	if given, ok := v.Get("interval"); ok {
		if m.Interval, err = given.Scalar(); err != nil {
			return "", "", err
		}
	}
	if m.Min, m.Max, err = bounds(v, name); err != nil {
		return "", "", err
	}
	var note string
	switch {
	case name == verdict.SuccessRate:
		if note, err = own(v, "success-rate", m.Min, "min"); err == nil && m.Max != nil && *m.Max < 100 {
			err = v.Refusef("metric %s: max %v, want min alone: no rate is too good", name, *m.Max)
		}
	case name == verdict.RequestDuration:
		if note, err = own(v, "request-duration", m.Max, "max"); err == nil && m.Min != nil && *m.Min > 0 {
			err = v.Refusef("metric %s: min %v, want max alone: no duration is too short", name, *m.Min)
		}
	default:
		if m.Query, note, err = c.query(v); err != nil || m.Query == "" {
			return importing.Unsupported, note, err
		}
		c.metrics.custom = true
	}
	if err != nil {
		return "", "", err
	}
	c.metrics.list = append(c.metrics.list, m)
	return importing.Taken, note, nil
}

// own takes the bound of one of Istio's metrics over as a parameter. key is that of thresholdRange which says it.
func own(v importing.Value, parameter string, bound *float64, key string) (note string, err error) {
	if bound == nil {
		return "", v.Refusef("no %s, want one", key)
	}
	text := fmt.Sprint(*bound)
	if err := parameters.CheckValue(parameter, text); err != nil {
		return "", v.Refusef("%s: %w", key, err)
	}
	return importing.Assignment(parameter, text), nil
}

// bounds are those of a metric. One alone, as v1alpha3 wrote it, is the least success rate, or the most of anything
// else.
func bounds(v importing.Value, name string) (least, most *float64, err error) {
	read := func(v importing.Value, key string) (*float64, error) {
		given, ok := v.Get(key)
		if !ok {
			return nil, nil
		}
		n, err := given.Float()
		return &n, err
	}
	if r, ok := v.Get("thresholdRange"); ok {
		if least, err = read(r, "min"); err == nil {
			most, err = read(r, "max")
		}
	} else if name == verdict.SuccessRate {
		least, err = read(v, "threshold")
	} else {
		most, err = read(v, "threshold")
	}
	switch {
	case err != nil:
	case least == nil && most == nil:
		err = v.Refusef("metric %s without thresholdRange, want min or max", name)
	case least != nil && most != nil && *least > *most:
		err = v.Refusef("metric %s: min %v above max %v, want them in order", name, *least, *most)
	}
	return least, most, err
}

// query is the PromQL of a metric, empty where it is not asked of Prometheus, and what becomes of it.
func (c *canary) query(v importing.Value) (query, note string, err error) {
	if given, ok := v.Get("query"); ok {
		query, err = given.Scalar()
		return query, "metrics, with its query", err
	}
	ref, ok := v.Get("templateRef")
	if !ok {
		return "", "", v.Refusef("neither query nor templateRef, want one: request-success-rate and request-duration " +
			"alone have queries of their own")
	}
	name, err := text(ref, "name")
	if err != nil {
		return "", "", err
	}
	namespace := c.App.Namespace
	if given, ok := ref.Get("namespace"); ok {
		if namespace, err = given.Scalar(); err != nil {
			return "", "", err
		}
	}
	template, ok := c.objects.templates[key(namespace, name)]
	if !ok {
		return "", "", ref.Refusef("MetricTemplate %s is not in what was read, want it too", strings.TrimPrefix(
			key(namespace, name), "/"))
	}
	if err := c.variables(v); err != nil {
		return "", "", err
	}
	return c.asked(template)
}

// asked is the query of a template.
func (c *canary) asked(template object) (query, note string, err error) {
	provider, ok := get(template.Value, "spec", "provider")
	if !ok {
		return "", "", template.Refusef("no spec.provider, want one")
	}
	kind, err := text(provider, "type")
	if err != nil {
		return "", "", err
	}
	if kind != "prometheus" {
		return "", fmt.Sprintf("MetricTemplate %s asks %s: Serin asks Prometheus alone", template.name, kind), nil
	}
	note = "metrics, with the query of MetricTemplate " + template.name
	if address, ok := provider.Get("address"); ok {
		server, err := address.Scalar()
		if err != nil {
			return "", "", err
		}
		switch used := c.Parameters["prometheus-url"]; used {
		case "", server:
			c.Parameters["prometheus-url"] = server
			note += ", of " + importing.Assignment("prometheus-url", server)
		default:
			return "", fmt.Sprintf("MetricTemplate %s asks %s: a run asks one Prometheus, %s", template.name, server,
				used), nil
		}
	}
	if _, ok := provider.Get("secretRef"); ok {
		note += "; its Secret becomes the workspace prometheus of the run"
	}
	asked, ok := get(template.Value, "spec", "query")
	if !ok {
		return "", "", template.Refusef("no spec.query, want one")
	}
	query, err = asked.Scalar()
	return query, note, err
}

// get is what stands below some keys.
func get(v importing.Value, keys ...string) (importing.Value, bool) {
	ok := true
	for _, k := range keys {
		if v, ok = v.Get(k); !ok {
			break
		}
	}
	return v, ok
}

// variables are those of a metric's query; all metrics of a run share them.
func (c *canary) variables(v importing.Value) error {
	given, ok := v.Get("templateVariables")
	if !ok {
		return nil
	}
	entries, err := given.Entries()
	if err != nil {
		return err
	}
	for _, e := range entries {
		value, err := e.Value.Scalar()
		if err != nil {
			return err
		}
		if before, ok := c.shared[e.Key]; ok && before != value {
			return e.Value.Refusef("%q, but another metric has %q: the metrics of a run share their variables",
				value, before)
		}
		c.shared[e.Key] = value
	}
	text, err := json.Marshal(c.shared)
	if err != nil {
		return fmt.Errorf("writing variables: %w", err)
	}
	c.Parameters["variables"] = string(text)
	return nil
}
