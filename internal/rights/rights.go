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

// named are the names to which a verb on a resource can be limited; none where RBAC cannot, and where names are not
// known before: those of pods, ReplicaSets, runs, reports, and of the user's own autoscaler and budget. virtualServices
// are the application's, none where there is only the one of its name.
func named(resource, verb string, app application.Application, virtualServices []string) []string {
	if slices.Contains(unlimited, verb) {
		return nil
	}
	switch resource {
	case "virtualservices":
		switch {
		case verb == "watch" && len(virtualServices) > 1: // as one collection
			return nil
		case len(virtualServices) > 0:
			return virtualServices
		}
		return []string{app.Name}
	case "deployments":
		return []string{app.Name, app.Primary()}
	case "services":
		return []string{app.Name, app.Primary(), app.Canary()}
	case "leases":
		return []string{app.Lease()}
	case "horizontalpodautoscalers", "poddisruptionbudgets":
		if verb != "get" {
			return []string{app.Primary()}
		}
	case "scaledobjects":
		if verb == "delete" { // the user's is paused
			return []string{app.Primary()}
		}
	}
	return nil
}

// unlimited are verbs that RBAC cannot limit to names.
var unlimited = []string{"create", "list", "deletecollection"}

// Release are the rights of the account that prepares, promotes and finishes: those of config/rbac.yaml, limited to
// the application's names. virtualServices are those of the parameter of this name.
func Release(app application.Application, virtualServices ...string) ([]rbac.PolicyRule, error) {
	role, err := role()
	if err != nil {
		return nil, err
	}
	return limited(role.Rules, app, virtualServices, func(_, _ string) bool { return true }), nil
}

// Needed are the rights of a run of an application, or of any where it has no name.
func Needed(app application.Application) ([]rbac.PolicyRule, error) {
	if app.Name != "" {
		return Release(app)
	}
	role, err := role()
	if err != nil {
		return nil, err
	}
	return role.Rules, nil
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
	var all []rbac.PolicyRule
	for _, rule := range rules {
		for _, resource := range rule.Resources {
			var byName, others []string
			var names []string
			for _, verb := range rule.Verbs {
				only := named(resource, verb, app, virtualServices)
				switch {
				case !wanted(resource, verb):
				case len(only) == 0:
					others = append(others, verb)
				default:
					byName, names = append(byName, verb), only
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
