package rights_test

import (
	"cmp"
	"os"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	rbac "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"

	"github.com/serin-cd/serin/internal/rights"
	"github.com/serin-cd/serin/pkg/cluster/application"
)

// TestTheSampleIsTheAccountOfTheStages compares split-accounts.yaml with what is computed.
func TestTheSampleIsTheAccountOfTheStages(t *testing.T) {
	text, err := os.ReadFile("../../pipelines/canary/samples/split-accounts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var role rbac.Role
	for document := range strings.SplitSeq(string(text), "\n---\n") {
		if strings.Contains(document, "\nkind: Role\n") {
			if err := yaml.UnmarshalStrict([]byte(document), &role); err != nil {
				t.Fatal(err)
			}
		}
	}
	got, err := rights.Stage(application.Application{Namespace: "shop", Name: "podinfo"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(sorted(role.Rules), sorted(got)); diff != "" {
		t.Errorf("the sample and the rights of the stages differ (-sample +rights):\n%s", diff)
	}
}

func sorted(rules []rbac.PolicyRule) []rbac.PolicyRule {
	for _, r := range rules {
		slices.Sort(r.Verbs)
		slices.Sort(r.ResourceNames)
	}
	return slices.SortedFunc(slices.Values(rules), func(a, b rbac.PolicyRule) int {
		return cmp.Or(strings.Compare(a.Resources[0], b.Resources[0]), len(a.ResourceNames)-len(b.ResourceNames))
	})
}

// TestWhatCanBeLimitedIs: no object of a known name may be read or changed under another.
func TestWhatCanBeLimitedIs(t *testing.T) {
	app := application.Application{Namespace: "shop", Name: "podinfo"}
	for name, of := range map[string]func(application.Application, ...string) ([]rbac.PolicyRule, error){
		"release": rights.Release, "stage": rights.Stage} {
		rules, err := of(app)
		if err != nil {
			t.Fatal(err)
		}
		for _, rule := range rules {
			for _, resource := range []string{"virtualservices", "deployments", "services", "leases"} {
				for _, verb := range []string{"get", "watch", "patch", "update", "delete"} {
					if len(rule.ResourceNames) == 0 && slices.Contains(rule.Resources, resource) &&
						slices.Contains(rule.Verbs, verb) {
						t.Errorf("%s: %s of %s is not limited to names", name, verb, resource)
					}
				}
			}
			for _, verb := range []string{"create", "list"} {
				if len(rule.ResourceNames) > 0 && slices.Contains(rule.Verbs, verb) {
					t.Errorf("%s: %s of %v with names, which grants nothing", name, verb, rule.Resources)
				}
			}
		}
	}
}

// TestSeveralVirtualServices limits writes to them, and watches them as one collection.
func TestSeveralVirtualServices(t *testing.T) {
	rules, err := rights.Stage(application.Application{Namespace: "shop", Name: "podinfo"}, "front", "back")
	if err != nil {
		t.Fatal(err)
	}
	var got []rbac.PolicyRule
	for _, rule := range rules {
		if slices.Contains(rule.Resources, "virtualservices") {
			rule.APIGroups, rule.Resources = nil, nil
			got = append(got, rule)
		}
	}
	want := []rbac.PolicyRule{{ResourceNames: []string{"front", "back"}, Verbs: []string{"get", "patch"}},
		{Verbs: []string{"watch", "create"}}}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
