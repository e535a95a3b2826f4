package workload_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/serin-cd/serin/pkg/cluster/workload"
	"github.com/serin-cd/serin/pkg/task/failure"
)

// flat is a pod template, or what is written as YAML of one, for comparison.
func flat(t *testing.T, text string) (value map[string]any) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(text), &value); err != nil {
		t.Fatal(err)
	}
	return value
}

func TestTemplateOfThePrimary(t *testing.T) {
	cases := map[string]struct {
		selector, labels, spec string
		primary                string // selector of the primary that exists
		want                   string
	}{
		"app": {"{matchLabels: {app: podinfo}}", "{app: podinfo, v: '1'}", one, "",
			"{metadata: {labels: {app: podinfo-primary, v: '1'}}, spec: " + one + "}"},
		"name": {"{matchLabels: {name: podinfo, tier: web}}", "{name: podinfo, tier: web}", one, "",
			"{metadata: {labels: {name: podinfo-primary, tier: web}}, spec: " + one + "}"},
		"recommended": {"{matchLabels: {app.kubernetes.io/instance: prod, app.kubernetes.io/name: podinfo}}",
			"{app.kubernetes.io/instance: prod, app.kubernetes.io/name: podinfo}", one, "",
			"{metadata: {labels: {app.kubernetes.io/instance: prod, app.kubernetes.io/name: podinfo-primary}}, spec: " +
				one + "}"},
		"app goes first": {"{matchLabels: {app.kubernetes.io/name: x, app: podinfo}}",
			"{app.kubernetes.io/name: x, app: podinfo}", one, "",
			"{metadata: {labels: {app.kubernetes.io/name: x, app: podinfo-primary}}, spec: " + one + "}"},
		"one of its own": {"{matchLabels: {role: podinfo}}", "{role: podinfo}", one, "",
			"{metadata: {labels: {role: podinfo-primary}}, spec: " + one + "}"},
		"value is another word": {"{matchLabels: {app: web}}", "{app: web}", one, "",
			"{metadata: {labels: {app: web-primary}}, spec: " + one + "}"},
		"a primary that Flagger made": {"{matchLabels: {app: podinfo, tier: web}}", "{app: podinfo, tier: web}", one,
			"{matchLabels: {app: podinfo-primary}}",
			"{metadata: {labels: {app: podinfo-primary, tier: web}}, spec: " + one + "}"},
		"a primary with a selector of its own": {"{matchLabels: {app: podinfo}}", "{app: podinfo}", one,
			"{matchLabels: {app: podinfo-main, side: a}}",
			"{metadata: {labels: {app: podinfo-main, side: a}}, spec: " + one + "}"},
		"affinity and spread": {"{matchLabels: {app: podinfo}}", "{app: podinfo}", `{containers: [],
			affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: zone, labelSelector: {matchLabels: {app: podinfo}}}],
			  preferredDuringSchedulingIgnoredDuringExecution: [{weight: 1, podAffinityTerm: {labelSelector: {matchExpressions: [{key: app, operator: In, values: [podinfo, other]}]}}}]},
			 podAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{labelSelector: {matchLabels: {app: redis}}}, {labelSelector: {matchExpressions: [{key: name, operator: In, values: [podinfo]}]}}]}},
			topologySpreadConstraints: [{maxSkew: 1, labelSelector: {matchLabels: {app: podinfo}}}]}`, "", `{metadata: {labels: {app: podinfo-primary}}, spec: {containers: [],
			affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: zone, labelSelector: {matchLabels: {app: podinfo-primary}}}],
			  preferredDuringSchedulingIgnoredDuringExecution: [{weight: 1, podAffinityTerm: {labelSelector: {matchExpressions: [{key: app, operator: In, values: [podinfo-primary, other]}]}}}]},
			 podAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{labelSelector: {matchLabels: {app: redis}}}, {labelSelector: {matchExpressions: [{key: name, operator: In, values: [podinfo]}]}}]}},
			topologySpreadConstraints: [{maxSkew: 1, labelSelector: {matchLabels: {app: podinfo-primary}}}]}}`},
		"what selects nodes, namespaces and other pods stays": {"{matchLabels: {app: shop, component: web}}",
			"{app: shop, component: web}", `{containers: [], affinity: {
			 nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: app, operator: In, values: [shop]}]}]}},
			 podAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [
			  {namespaceSelector: {matchLabels: {app: shop}}, labelSelector: {matchLabels: {app: shop, component: web}}},
			  {labelSelector: {matchLabels: {app: shop, component: cache}}}]},
			 podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{labelSelector: {matchExpressions: [{key: app, operator: NotIn, values: [shop]}]}}]}}}`, "",
			`{metadata: {labels: {app: shop-primary, component: web}}, spec: {containers: [], affinity: {
			 nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: app, operator: In, values: [shop]}]}]}},
			 podAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [
			  {namespaceSelector: {matchLabels: {app: shop}}, labelSelector: {matchLabels: {app: shop-primary, component: web}}},
			  {labelSelector: {matchLabels: {app: shop, component: cache}}}]},
			 podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{labelSelector: {matchExpressions: [{key: app, operator: NotIn, values: [shop-primary]}]}}]}}}}`},
		"unknown fields": {"{matchLabels: {app: podinfo}}", "{app: podinfo}",
			"{fromTheFuture: {a: [1]}, containers: [{name: a, new: true}]}", "",
			"{metadata: {labels: {app: podinfo-primary}}, spec: {fromTheFuture: {a: [1]}, containers: [{name: a, " +
				"new: true}]}}"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			target := podinfo(t, c.selector, c.labels, strings.ReplaceAll(c.spec, "\t", ""))
			before := target.Revision()
			copied, err := workload.CopyOf(target)
			if err != nil {
				t.Fatal(err)
			}
			var primary *workload.Deployment
			if c.primary != "" {
				primary = podinfo(t, c.primary, "{}", one)
			}
			got := copied.Template(target, primary)
			if diff := cmp.Diff(flat(t, strings.ReplaceAll(c.want, "\t", "")), normal(t, got)); diff != "" {
				t.Errorf("template (-want +got):\n%s", diff)
			}
			if target.Revision() != before {
				t.Error("the target's own template was changed")
			}
			if err := copied.Clash(target, primary); err != nil {
				t.Errorf("clash: %v, want none", err)
			}
		})
	}
}

// normal is a value as YAML reads it, whose numbers are all of one type.
func normal(t *testing.T, value map[string]any) map[string]any {
	t.Helper()
	text, err := yaml.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return flat(t, string(text))
}

func TestCopyRefuses(t *testing.T) {
	cases := map[string]string{
		"two labels, none of them known": "{matchLabels: {role: podinfo, tier: web}}",
		"expressions only":               "{matchExpressions: [{key: app, operator: In, values: [podinfo]}]}",
		"nothing":                        "{}",
	}
	for name, selector := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := workload.CopyOf(podinfo(t, selector, "{app: podinfo}", one))
			if !errors.Is(err, failure.ErrConfig) ||
				!strings.Contains(err.Error(), "has none of the labels app, name, app.kubernetes.io/name") {
				t.Errorf("error %v, want it to name the labels", err)
			}
		})
	}
}

func TestClash(t *testing.T) {
	cases := map[string]struct{ selector, labels, primary, want string }{
		"none": {"{matchLabels: {app: podinfo}}", "{app: podinfo}", "", ""},
		"primary of its own": {"{matchLabels: {app: podinfo}}", "{app: podinfo}",
			"{matchLabels: {app: podinfo-primary}}", ""},
		"expression that fits " +
			"both": {"{matchLabels: {app: podinfo}, matchExpressions: [{key: tier, operator: Exists}]}",
			"{app: podinfo, tier: web}", "", ""},
		"primary selects all": {"{matchLabels: {app: podinfo}}", "{app: podinfo, tier: web}",
			"{matchLabels: {tier: " +
				"web}}", "the primary's selector (tier=web) matches the target's pods (app=podinfo,tier=web)"},
		"primary is the target": {"{matchLabels: {app: podinfo}}", "{app: podinfo}",
			"{matchLabels: {app: podinfo}}", "matches the"},
		"expression of the target pins the " +
			"name": {"{matchLabels: {app: podinfo}, matchExpressions: [{key: app, operator: In, values: [podinfo]}]}",
			"{app: podinfo}", "", ""},
		"expression that is " +
			"none": {"{matchLabels: {app: podinfo}, matchExpressions: [{key: app, operator: Near}]}",
			"{app: podinfo}", "", `"Near" is not a valid label selector operator`},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			target := podinfo(t, c.selector, c.labels, one)
			copied, err := workload.CopyOf(target)
			if err != nil {
				t.Fatal(err)
			}
			var primary *workload.Deployment
			if c.primary != "" {
				primary = podinfo(t, c.primary, "{}", one)
			}
			err = copied.Clash(target, primary)
			if (err == nil) != (c.want == "") || err != nil &&
				(!strings.Contains(err.Error(), c.want) || !errors.Is(err, failure.ErrConfig)) {
				t.Errorf("error %v, want %q in it", err, c.want)
			}
		})
	}
}
