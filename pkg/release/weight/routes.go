package weight

import (
	"cmp"
	"context"
	"fmt"

	networking "istio.io/client-go/pkg/apis/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/cluster/mesh"
	"github.com/serin-cd/serin/pkg/release/record"
)

// Routes are the VirtualServices of a namespace at one moment.
type Routes struct {
	VirtualServices map[string]*networking.VirtualService // by name

	records map[string]map[string]*record.Record // by application, then by VirtualService
}

// newRoutes reads each record once.
func newRoutes(all map[string]*networking.VirtualService) Routes {
	routes := Routes{all, map[string]map[string]*record.Record{}}
	for name, vs := range all {
		rec, err := record.Parse(vs.Annotations[application.RunAnnotation])
		if err != nil {
			continue
		}
		app := rec.Of(name)
		if routes.records[app] == nil {
			routes.records[app] = map[string]*record.Record{}
		}
		routes.records[app][name] = rec
	}
	return routes
}

type lister interface {
	List(context.Context, metav1.ListOptions) (*networking.VirtualServiceList, error)
}

type getter interface {
	Get(context.Context, string, metav1.GetOptions) (*networking.VirtualService, error)
}

// List reads all VirtualServices of a namespace in one call.
func List(ctx context.Context, virtualServices lister, namespace string) (Routes, error) {
	all, err := ListAll(ctx, virtualServices, namespace)
	if err != nil {
		return Routes{}, err
	}
	if routes, ok := all[namespace]; ok {
		return routes, nil
	}
	return newRoutes(nil), nil
}

// Named reads these VirtualServices of a namespace, for an account that may not list them.
func Named(ctx context.Context, virtualServices getter, namespace string, names []string) (Routes, error) {
	all := map[string]*networking.VirtualService{}
	for _, name := range names {
		err := kube.Retry(ctx, func(ctx context.Context) error {
			vs, err := virtualServices.Get(ctx, name, metav1.GetOptions{})
			if err == nil {
				all[name] = vs
			}
			return err
		})
		if err != nil && !apierrors.IsNotFound(err) {
			return Routes{}, fmt.Errorf("reading VirtualService %s.%s: %w", name, namespace, err)
		}
	}
	return newRoutes(all), nil
}

// Records are the records that name an application, by the VirtualService that they are on, copies among them.
func (all Routes) Records(app application.Application) map[string]*record.Record {
	return all.records[app.Name]
}

// Applications are the names of those that the VirtualServices may be of: the ones that their records name, or their
// own names where they have none.
func (all Routes) Applications() sets.Set[string] {
	names, recorded := sets.KeySet(all.records), sets.New[string]()
	for _, records := range all.records {
		for name := range records {
			recorded.Insert(name)
		}
	}
	return names.Union(sets.KeySet(all.VirtualServices).Difference(recorded))
}

// Selection is that of the newest record of an application; an open one goes before those that are closed. It is empty
// where no record has one.
func (all Routes) Selection(app application.Application) mesh.Selection {
	var newest *record.Record
	for _, rec := range all.Records(app) {
		if newest == nil || rec.Open() && !newest.Open() ||
			rec.Open() == newest.Open() && rec.Created.After(newest.Created) {
			newest = rec
		}
	}
	if newest == nil {
		return mesh.Selection{}
	}
	return newest.Selection
}

// First is the VirtualService that an application's record is on, as far as the records tell; nil where there is none.
func (all Routes) First(app application.Application) *networking.VirtualService {
	return all.VirtualServices[all.Selection(app).First(app)]
}

// ListAll reads all VirtualServices of a namespace, or of all where it is empty, in one call: the routes by namespace.
func ListAll(ctx context.Context, virtualServices lister, namespace string) (map[string]Routes, error) {
	list, err := kube.List(ctx, virtualServices, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("listing the VirtualServices of %s: %w", cmp.Or(namespace, "all namespaces"), err)
	}
	found := map[string]map[string]*networking.VirtualService{}
	for _, vs := range list.Items {
		if found[vs.Namespace] == nil {
			found[vs.Namespace] = map[string]*networking.VirtualService{}
		}
		found[vs.Namespace][vs.Name] = vs
	}
	all := map[string]Routes{}
	for in, routes := range found {
		all[in] = newRoutes(routes)
	}
	return all, nil
}
