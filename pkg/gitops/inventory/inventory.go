package inventory

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/gitops/environments"
	"github.com/serin-cd/serin/pkg/release/status"
	"github.com/serin-cd/serin/pkg/task/parameter"
	"github.com/serin-cd/serin/pkg/task/run"
)

// Application is one in all environments that have it.
type Application struct {
	Name   string  `json:"app"`
	Places []Place `json:"environments"` // in the order of promotion
}

// Place is an application in an environment.
type Place struct {
	Environment string           `json:"environment"`
	Namespace   string           `json:"namespace"`
	Version     string           `json:"version"`            // that serves
	Released    bool             `json:"released"`           // by Serin, at least once
	Stopped     bool             `json:"stopped,omitempty"`  // it is not Serin's, and wants no pods
	Canary      string           `json:"canary,omitempty"`   // version, while a run has the application
	Weight      parameter.Weight `json:"weight,omitempty"`   // of the canary, in percent
	Rejected    string           `json:"rejected,omitempty"` // version, if the last run did not promote it
	Phase       run.Phase        `json:"phase,omitempty"`
	Outcome     run.Outcome      `json:"outcome,omitempty"` // of the last run
	Reason      string           `json:"reason,omitempty"`
	Problem     string           `json:"problem,omitempty"` // with the record or the route
	Run         string           `json:"run,omitempty"`
	Since       time.Time        `json:"since,omitzero"`
	URL         string           `json:"url,omitempty"`
}

// In is the one in an environment.
func (a Application) In(environment string) (Place, bool) {
	i := slices.IndexFunc(a.Places, func(p Place) bool { return p.Environment == environment })
	if i < 0 {
		return Place{}, false
	}
	return a.Places[i], true
}

// Helm writes this label, and so do the charts that it applies.
const (
	managedLabel = "app.kubernetes.io/managed-by"
	helm         = "Helm"
)

// survey is what a namespace has.
type survey struct {
	released []status.Application
	others   []status.Other
}

// List is the inventory of environments, by the names of the applications: those that Serin has released, and those
// whose Deployment Helm manages, or which have the name of one in another environment.
func List(ctx context.Context, c *kube.Cluster, all []environments.Environment) ([]Application, error) {
	surveys, err := look(ctx, c, all)
	if err != nil {
		return nil, err
	}
	known := map[string]bool{}
	for _, s := range surveys {
		for _, a := range s.released {
			known[a.Name] = true
		}
		for _, o := range s.others {
			if o.Labels[managedLabel] == helm {
				known[o.Name] = true
			}
		}
	}
	places := map[string][]Place{}
	for _, e := range all {
		for _, a := range surveys[e.Namespace].released {
			places[a.Name] = append(places[a.Name], released(e, a))
		}
		for _, o := range surveys[e.Namespace].others {
			if known[o.Name] {
				places[o.Name] = append(places[o.Name], Place{Environment: e.Name, Namespace: e.Namespace,
					Version: o.Serving.Name, Stopped: o.Replicas == 0, URL: address(o.Hosts)})
			}
		}
	}
	var found []Application
	for name, in := range places {
		found = append(found, Application{name, in})
	}
	slices.SortFunc(found, func(x, y Application) int { return cmp.Compare(x.Name, y.Name) })
	return found, nil
}

// look surveys the namespaces of the environments: all at once if there are several and the rights allow that.
func look(ctx context.Context, c *kube.Cluster, all []environments.Environment) (map[string]survey, error) {
	namespaces := Namespaces(all)
	found := map[string]survey{}
	if len(namespaces) > 1 {
		released, others, err := status.Survey(ctx, c, "")
		if err == nil {
			for _, a := range released {
				s := found[a.Namespace]
				s.released = append(s.released, a)
				found[a.Namespace] = s
			}
			for _, o := range others {
				s := found[o.Namespace]
				s.others = append(s.others, o)
				found[o.Namespace] = s
			}
			return found, nil
		}
		if !apierrors.IsForbidden(err) {
			return nil, err
		}
	}
	for _, namespace := range namespaces {
		var s survey
		var err error
		if s.released, s.others, err = status.Survey(ctx, c, namespace); err != nil {
			return nil, fmt.Errorf("looking into the environments: %w", err)
		}
		found[namespace] = s
	}
	return found, nil
}

// Namespaces are those of environments, each once, in their order.
func Namespaces(all []environments.Environment) (namespaces []string) {
	for _, e := range all {
		if !slices.Contains(namespaces, e.Namespace) {
			namespaces = append(namespaces, e.Namespace)
		}
	}
	return namespaces
}

func released(e environments.Environment, a status.Application) Place {
	p := Place{Environment: e.Name, Namespace: e.Namespace, Version: a.Serving.Name, Released: true, Weight: a.Weight,
		Phase: a.Phase, Outcome: a.Outcome, Reason: a.Reason, Problem: a.Problem, Run: a.Run, Since: a.Since,
		URL: address(a.Hosts)}
	if a.Canary != nil && a.Busy() {
		p.Canary = a.Canary.Name
	}
	if a.Rejected != nil {
		p.Rejected = a.Rejected.Name
	}
	return p
}

// address is that of the first host which is known outside the cluster.
func address(hosts []string) string {
	for _, host := range hosts {
		if strings.Contains(host, ".") && !strings.Contains(host, "*") && !strings.HasSuffix(host, ".svc") &&
			!strings.Contains(host, ".svc.") {
			return "http://" + host
		}
	}
	return ""
}

// String is the place in a cell of a table: the version that serves, and what else there is to know beside it.
func (p Place) String() string {
	version := cmp.Or(p.Version, "-")
	switch {
	case p.Problem != "":
		return version + " (broken)"
	case p.Canary != "":
		return fmt.Sprintf("%s → %s %d %%", version, p.Canary, p.Weight)
	case p.Stopped:
		return version + " (no pods)"
	case p.Released && p.Phase == run.Closed && !p.Outcome.Done() && p.Outcome != run.Superseded:
		return fmt.Sprintf("%s (%s)", version, strings.TrimSpace(p.Rejected+" "+cmp.Or(string(p.Outcome), "unfinished")))
	}
	return version
}
