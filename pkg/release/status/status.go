// Package status says what the objects of applications tell about their releases. It changes nothing.
package status

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/cluster/workload"
	"github.com/serin-cd/serin/pkg/release/record"
	"github.com/serin-cd/serin/pkg/release/weight"
	"github.com/serin-cd/serin/pkg/task/parameter"
	"github.com/serin-cd/serin/pkg/task/run"
)

// Application is one with its last release, which may be under way.
type Application struct {
	Namespace string           `json:"namespace"`
	Name      string           `json:"app"`
	Serving   Version          `json:"serving"`            // of the primary
	Canary    *Version         `json:"canary,omitempty"`   // while a run has the application
	Weight    parameter.Weight `json:"weight"`             // of the canary in the route, in percent
	Phase     run.Phase        `json:"phase,omitempty"`    // of the last run; empty where there was none
	Outcome   run.Outcome      `json:"outcome,omitempty"`  // of the last run, once it has ended
	Reason    string           `json:"reason,omitempty"`   // of the outcome
	Run       string           `json:"run,omitempty"`      // name of the PipelineRun
	Since     time.Time        `json:"since,omitzero"`     // when the last weight was written, or the run ended
	Weights   []run.Stage      `json:"weights,omitempty"`  // that the last run has written
	Problem   string           `json:"problem,omitempty"`  // with the record or the route
	KeptUntil time.Time        `json:"keptUntil,omitzero"` // until when the pods of a canary that failed stay up
	Rejected  *Version         `json:"rejected,omitempty"` // that the last run did not promote, while the target has it
	Hosts     []string         `json:"hosts,omitempty"`    // of the route
	// Ejecting says that the application was being ejected, and that was cut off: its Deployment serves already, and
	// the primary is still there.
	Ejecting bool `json:"ejecting,omitempty"`

	record *record.Record
}

// Version is what pods run.
type Version struct {
	Name     string   `json:"version,omitempty"` // in a word, as people call it
	Images   []string `json:"images,omitempty"`  // of all containers
	Revision string   `json:"revision,omitempty"`
}

// String names the images without where they come from.
func (v Version) String() string {
	var short []string
	for _, image := range v.Images {
		short = append(short, Shortened(image))
	}
	return cmp.Or(strings.Join(short, ", "), v.Revision, "-")
}

// Shortened is an image without where it comes from.
func Shortened(image string) string { return image[strings.LastIndex(image, "/")+1:] }

// Owner is the last run; nothing where there was none.
func (a Application) Owner() run.ID {
	if a.record == nil {
		return run.ID{}
	}
	return a.record.ID
}

// Busy says whether a run has the application.
func (a Application) Busy() bool { return a.record.Open() }

// List is the status of all applications of a namespace that Serin has ever released, or of all namespaces if it is
// empty, in two calls.
func List(ctx context.Context, c *kube.Cluster, namespace string) ([]Application, error) {
	all, _, err := Survey(ctx, c, namespace)
	return all, err
}

// Survey is List, with the Deployments besides that are of no application which Serin has released.
func Survey(ctx context.Context, c *kube.Cluster, namespace string) (all []Application, others []Other, err error) {
	routes, err := weight.ListAll(ctx, c.VirtualServices(namespace), namespace)
	if err != nil {
		return nil, nil, err
	}
	deployments, err := deployments(ctx, c, namespace)
	if err != nil {
		return nil, nil, err
	}
	for _, in := range sets.List(sets.KeySet(routes)) {
		for _, name := range sets.List(routes[in].Applications()) {
			app := application.Application{Namespace: in, Name: name}
			if a, ok := of(app, routes[in], deployments); ok {
				all = append(all, a)
			}
		}
	}
	return all, left(all, routes, deployments), nil
}

// deployments are those of a namespace, by namespace and name.
func deployments(ctx context.Context, c *kube.Cluster,
	namespace string) (map[application.Application]*workload.Deployment, error) {
	list, err := kube.List(ctx, c.Objects(kube.Deployments, namespace), v1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("listing the Deployments of %s: %w", cmp.Or(namespace, "all namespaces"), err)
	}
	all := map[application.Application]*workload.Deployment{}
	for i := range list.Items {
		if d, err := workload.FromObject(&list.Items[i]); err == nil {
			all[application.Application{Namespace: d.Namespace, Name: d.Name}] = d
		}
	}
	return all, nil
}

// of is the status of an application, if Serin has ever released it.
func of(app application.Application, routes weight.Routes,
	deployments map[application.Application]*workload.Deployment) (Application, bool) {
	vs := routes.First(app)
	primary := deployments[application.Application{Namespace: app.Namespace, Name: app.Primary()}]
	if vs == nil || vs.Annotations[application.RunAnnotation] == "" && (primary == nil || primary.Promoted() == "") {
		return Application{}, false
	}
	a := Application{Namespace: app.Namespace, Name: app.Name}
	state, err := weight.Observe(vs, app, routes.Selection(app))
	if err != nil {
		a.Problem = err.Error()
	} else if a.Problem = state.Damage(); a.Problem == "" {
		a.Weight = state.Weight()
	}
	if primary != nil {
		a.Serving = version(primary, primary.Promoted())
	}
	target := deployments[app]
	if target != nil && target.Wanted() > 0 {
		a.KeptUntil = target.KeptUntil()
	}
	a.Ejecting = state.Record == nil && a.Problem == "" && primary != nil && target != nil && target.Stamp() == ""
	a.Hosts = vs.Spec.Hosts
	if rec := state.Record; rec != nil {
		a.tell(rec)
		if target != nil && !rec.Open() && !rec.Outcome.Done() && target.Revision() == rec.Revision &&
			rec.Revision != a.Serving.Revision {
			v := version(target, rec.Revision)
			a.Rejected = &v
		}
		if target != nil && rec.Open() {
			v := version(target, rec.Revision)
			a.Canary = &v
		}
	}
	return a, true
}

// tell takes over what a record says.
func (a *Application) tell(rec *record.Record) {
	a.record = rec
	a.Phase, a.Outcome, a.Reason, a.Run = rec.Phase, rec.Outcome, rec.Reason, rec.ID.Name
	a.Weights = rec.Stages
	switch {
	case !rec.Ended.IsZero():
		a.Since = rec.Ended
	case len(rec.Stages) > 0:
		a.Since = rec.Stages[len(rec.Stages)-1].At
	default:
		a.Since = rec.Created
	}
}

func version(d *workload.Deployment, revision string) Version {
	v := Version{Name: inAWord(d), Revision: revision}
	for _, c := range d.Spec.Template.Spec.Containers {
		if !slices.Contains(v.Images, c.Image) {
			v.Images = append(v.Images, c.Image)
		}
	}
	return v
}
