package rights

import (
	"bufio"
	"bytes"
	"fmt"
	"slices"

	rbac "k8s.io/api/rbac/v1"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"github.com/serin-cd/serin/config"
	"github.com/serin-cd/serin/pkg/cluster/application"
)

// named are the resources whose objects have known names. Those of pods, ReplicaSets, runs and reports are not known
// before.
func named(resource string, app application.Application, virtualServices []string) []string {
	switch resource {
	case "virtualservices":
		if len(virtualServices) > 0 {
			return virtualServices
		}
		return []string{app.Name}
	case "deployments":
		return []string{app.Name, app.Primary()}
	case "services":
		return []string{app.Name, app.Primary(), app.Canary()}
	case "leases":
		return []string{app.Lease()}
	}
	return nil
}

// unlimited are verbs that RBAC cannot limit to names.
var unlimited = []string{"create", "list", "deletecollection"}

// Release are the rights of the account that prepares, promotes and finishes: those of config/rbac.yaml, limited to
// the application's names. virtualServices are those of the parameter of this name, none where the application's own
// is the only one.
func Release(app application.Application, virtualServices ...string) ([]rbac.PolicyRule, error) {
	role, err := role()
	if err != nil {
		return nil, err
	}
	return limited(role.Rules, app, virtualServices, func(_, _ string) bool { return true }), nil
}

// stages is what stages need, by resource.
var stages = map[string][]string{
	"virtualservices": {"get", "watch", "create", "patch"}, // create: to make again what somebody deletes meanwhile
	"deployments":     {"get", "watch"},
	"replicasets":     {"list"},
	"pods":            {"list", "watch"},
	"pods/log":        {"get"},
	"leases":          {"get", "create", "patch"},
	"events":          {"create"},
}

// Stage are the rights of the account of the stages, which run for most of the time: they may move traffic, but
// change no Deployment.
func Stage(app application.Application, virtualServices ...string) ([]rbac.PolicyRule, error) {
	role, err := role()
	if err != nil {
		return nil, err
	}
	return limited(role.Rules, app, virtualServices, func(resource, verb string) bool {
		return slices.Contains(stages[resource], verb)
	}), nil
}

// limited are rules, of each resource and verb that is wanted, with names where there can be any.
func limited(rules []rbac.PolicyRule, app application.Application, virtualServices []string,
	wanted func(resource, verb string) bool) []rbac.PolicyRule {
	// several are watched as one collection
	collection := func(resource, verb string) bool {
		return resource == "virtualservices" && verb == "watch" && len(virtualServices) > 1
	}
	var all []rbac.PolicyRule
	for _, rule := range rules {
		for _, resource := range rule.Resources {
			names := named(resource, app, virtualServices)
			var byName, others []string
			for _, verb := range rule.Verbs {
				switch {
				case !wanted(resource, verb):
				case len(names) == 0 || slices.Contains(unlimited, verb) || collection(resource, verb):
					others = append(others, verb)
				default:
					byName = append(byName, verb)
				}
			}
			of := func(verbs, names []string) {
				if len(verbs) > 0 {
					all = append(all, rbac.PolicyRule{APIGroups: rule.APIGroups, Resources: []string{resource},
						ResourceNames: names, Verbs: verbs})
				}
			}
			of(byName, names)
			of(others, nil)
		}
	}
	return all
}

// role is the Role of config/rbac.yaml.
func role() (*rbac.Role, error) {
	documents := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(config.RBAC)))
	for {
		document, err := documents.Read()
		if err != nil {
			return nil, fmt.Errorf("reading config/rbac.yaml: no Role: %w", err)
		}
		found := &rbac.Role{}
		if err := yaml.Unmarshal(document, found); err != nil {
			return nil, fmt.Errorf("reading config/rbac.yaml: %w", err)
		}
		if found.Kind == "Role" {
			return found, nil
		}
	}
}
