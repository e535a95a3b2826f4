package start

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/cluster/workload"
	"github.com/serin-cd/serin/pkg/task/failure"
)

// What a Deployment says of its releases. Who applies it does not matter: a chart, Argo CD or Flux.
const (
	CanaryLabel          = "serin.dev/canary"     // "true": its changes are released by canary
	PipelineAnnotation   = "serin.dev/pipeline"   // name of the Pipeline that releases it
	ParametersAnnotation = "serin.dev/parameters" // parameters of the run, as a JSON object of strings
)

// Change is an application whose target holds another revision than its primary.
type Change struct {
	App        application.Application
	Revision   string            // of the target
	Serving    string            // of the primary, empty before the first release
	Pipeline   string            // that the target names, empty for none
	Parameters map[string]string // that the target names
}

// Changed finds, in one call, the applications of a namespace that are to be released: those with these names, or if
// none is given those whose Deployment has the label. One without a primary was never released.
func Changed(ctx context.Context, cluster *kube.Cluster, namespace string, names []string) ([]Change, error) {
	list, err := kube.List(ctx, cluster.Objects(kube.Deployments, namespace), metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("listing the Deployments of namespace %s: %w", namespace, err)
	}
	all := map[string]*workload.Deployment{}
	for i := range list.Items {
		d, err := workload.FromObject(&list.Items[i])
		if err != nil {
			return nil, err
		}
		all[d.Name] = d
	}
	var refusals failure.Refusals
	var changes []Change
	for _, name := range wanted(all, names) {
		if all[name] == nil {
			refusals.Addf("starting releases: namespace %s has no Deployment %s: apply it first, or take it out of "+
				"apps", namespace, name)
			continue
		}
		c, err := changeOf(application.Application{Namespace: namespace, Name: name}, all)
		if err != nil {
			refusals.Addf("starting releases: %w", err)
		} else if c.Revision != c.Serving {
			changes = append(changes, c)
		}
	}
	return changes, refusals.Err()
}

// wanted are the names of the applications whose changes are released, in order.
func wanted(all map[string]*workload.Deployment, names []string) []string {
	if len(names) == 0 {
		for name, d := range all {
			if d.Labels[CanaryLabel] == "true" {
				names = append(names, name)
			}
		}
	}
	names = slices.Clone(names)
	for i := range names {
		names[i] = strings.TrimSpace(names[i])
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func changeOf(app application.Application, all map[string]*workload.Deployment) (Change, error) {
	if err := app.Validate(); err != nil {
		return Change{}, err
	}
	target := all[app.Name]
	c := Change{App: app, Revision: target.Revision(), Pipeline: target.Annotations[PipelineAnnotation]}
	if primary := all[app.Primary()]; primary != nil {
		c.Serving = primary.Annotations[application.RevisionAnnotation]
	}
	text := target.Annotations[ParametersAnnotation]
	if text == "" {
		return c, nil
	}
	if err := json.Unmarshal([]byte(text), &c.Parameters); err != nil {
		return Change{}, fmt.Errorf("reading annotation %s of Deployment %s: %w, want a JSON object of strings such "+
			`as {"hosts": "shop.example.com"}`, ParametersAnnotation, app.Name, err)
	}
	return c, nil
}

// over are the parameters of a change above others, which hold for all applications.
func (c Change) over(others map[string]string) map[string]string {
	all := map[string]string{onBusy: "supersede"} // a newer commit is what people want, not its turn
	maps.Copy(all, others)
	maps.Copy(all, c.Parameters)
	all["app"] = c.App.Name
	return all
}

const onBusy = "on-busy"
