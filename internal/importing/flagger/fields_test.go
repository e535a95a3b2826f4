package flagger

import (
	_ "embed"
	"strings"
	"testing"

	"github.com/serin-cd/serin/internal/importing"
)

//go:embed testdata/fields.txt
var fields string

// TestEveryFieldOfFlagger finds a rule for each field that the CustomResourceDefinitions have.
func TestEveryFieldOfFlagger(t *testing.T) {
	below := map[string]importing.Rules[*canary]{
		"spec.analysis.metrics[]": metricFields, "spec.analysis.webhooks[]": webhookFields,
		"spec.analysis.alerts[]": alertFields,
	}
	count := 0
	for line := range strings.Lines(fields) {
		kind, path, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok || kind == "#" {
			continue
		}
		count++
		known := map[string]importing.Rules[*canary]{
			"Canary": rules, "MetricTemplate": templateFields, "AlertProvider": providerFields,
		}[kind]
		if !ruled(known, path) {
			t.Errorf("%s has no rule for %s", kind, path)
		}
		for holder, known := range below {
			if rest, ok := strings.CutPrefix(path, holder+"."); ok && kind == "Canary" && !ruled(known, rest) {
				t.Errorf("%s: no rule for %s", holder, rest)
			}
		}
	}
	if count < 100 {
		t.Errorf("%d fields, want all", count)
	}
}

// ruled says whether there is a rule for a path, or for one that holds it.
func ruled(known importing.Rules[*canary], path string) bool {
	for {
		if known[path] != nil || known[strings.TrimSuffix(path, "[]")] != nil {
			return true
		}
		at := strings.LastIndex(path, ".")
		if at < 0 {
			return false
		}
		path = path[:at]
	}
}
