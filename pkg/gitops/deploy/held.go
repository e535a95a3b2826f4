package deploy

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	networking "istio.io/client-go/pkg/apis/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/cluster/mesh"
	"github.com/serin-cd/serin/pkg/cluster/workload"
	"github.com/serin-cd/serin/pkg/release/weight"
	"github.com/serin-cd/serin/pkg/task/failure"
	"github.com/serin-cd/serin/pkg/task/parameter"
)

// holdings are what Serin holds in a namespace at one moment.
type holdings struct {
	cluster   *kube.Cluster
	namespace string
	apps      map[string]bool                    // that have a primary
	targets   map[string]*workload.Deployment    // by name; all Deployments of the namespace
	routes    map[string]application.Application // by VirtualService
	all       weight.Routes
}

// holdings reads them: an application is held from the moment on that it has a primary.
func (c *client) holdings() (holdings, error) {
	h := holdings{cluster: c.cluster, namespace: c.namespace, apps: map[string]bool{},
		targets: map[string]*workload.Deployment{}, routes: map[string]application.Application{}}
	list, err := kube.List(c.ctx, c.cluster.Objects(kube.Deployments, c.namespace), metav1.ListOptions{})
	if err != nil {
		return h, fmt.Errorf("listing the Deployments of namespace %s: %w", c.namespace, err)
	}
	for i := range list.Items {
		d, err := workload.FromObject(&list.Items[i])
		if err != nil {
			return h, err
		}
		h.targets[d.Name] = d
		app := application.Application{Namespace: c.namespace, Name: d.Labels[application.Label]}
		if app.Name != "" && d.Name == app.Primary() {
			h.apps[app.Name] = true
		}
	}
	if len(h.apps) == 0 {
		return h, nil
	}
	h.all, err = weight.List(c.ctx, c.cluster.VirtualServices(c.namespace), c.namespace)
	if meta.IsNoMatchError(err) || apierrors.IsNotFound(err) { // a cluster without Istio
		return h, nil
	}
	if err != nil {
		return h, err
	}
	for name := range h.apps {
		app := application.Application{Namespace: c.namespace, Name: name}
		selection := h.all.Selection(app)
		for _, route := range append([]string{selection.First(app)}, selection.Others()...) {
			h.routes[route] = app
		}
	}
	return h, nil
}

var (
	deployments     = schema.GroupKind{Group: "apps", Kind: "Deployment"}
	services        = schema.GroupKind{Kind: "Service"}
	virtualServices = schema.GroupKind{Group: "networking.istio.io", Kind: "VirtualService"}
)

// needs says whether an object must stay that the chart has no more: the Service and the routes of an application that
// Serin holds, and the Service of one that is about to be, which would have no callers until then.
func (h holdings) needs(kind schema.GroupKind, name string, seen *rendered) bool {
	switch kind {
	case services:
		return h.apps[name] || seen.deployments[name]
	case virtualServices:
		_, held := h.routes[name]
		return held
	}
	return false
}

// keep gives an object, as it was rendered, the live values of what Serin holds of it. The API server then takes it
// only while the live one is as it was read.
func (h holdings) keep(ctx context.Context, o *unstructured.Unstructured) error {
	name := o.GetName()
	switch kind := o.GroupVersionKind().GroupKind(); {
	case kind == deployments && h.apps[name] && h.targets[name] != nil:
		live := h.targets[name]
		o.SetResourceVersion(live.ResourceVersion)
		return unstructured.SetNestedField(o.Object, int64(live.Wanted()), "spec", "replicas")
	case kind == services && h.apps[name]:
		return h.keepSelector(ctx, o)
	case kind == virtualServices && h.routes[name].Name != "" && h.all.VirtualServices[name] != nil:
		return h.keepWeights(o, h.all.VirtualServices[name], h.routes[name])
	}
	return nil
}

// keepSelector leaves the Service with the pods that it has. One that is not there gets those of the primary's.
func (h holdings) keepSelector(ctx context.Context, o *unstructured.Unstructured) error {
	app := application.Application{Namespace: h.namespace, Name: o.GetName()}
	for _, name := range []string{app.Name, app.Primary()} {
		var live *unstructured.Unstructured
		err := kube.Retry(ctx, func(ctx context.Context) (err error) {
			live, err = h.cluster.Objects(kube.Services, h.namespace).Get(ctx, name, metav1.GetOptions{})
			return err
		})
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("reading Service %s: %w", name, err)
		}
		selector, _, err := unstructured.NestedStringMap(live.Object, "spec", "selector")
		if err != nil {
			return fmt.Errorf("reading Service %s: %w", name, err)
		}
		if name == app.Name {
			o.SetResourceVersion(live.GetResourceVersion())
		}
		return unstructured.SetNestedStringMap(o.Object, selector, "spec", "selector")
	}
	return nil
}

// keepWeights leaves the routes with the canary's share that they give it.
func (h holdings) keepWeights(o *unstructured.Unstructured, live *networking.VirtualService,
	app application.Application) error {
	selection := h.all.Selection(app)
	now, err := weight.Observe(live, app, selection)
	if err != nil {
		slog.Warn("applied as the chart has it: the routes that are there cannot be shifted", "virtualService",
			live.Name, "error", err.Error())
		return nil
	}
	o.SetResourceVersion(live.ResourceVersion)
	if now.Splits.Whole() {
		return nil // it was not taken over yet
	}
	names := selection.Routes
	if now.Record.Open() {
		names = now.Record.Routes
	}
	err = share(o, app, names, now.Weight())
	if err != nil && now.Weight() == 0 {
		slog.Warn("applied as the chart has it: the next run will refuse these routes", "virtualService", live.Name,
			"error", err.Error())
		return nil
	}
	if err != nil {
		return failure.Configf("keeping the canary's %d %% in VirtualService %s, whose routes the chart changes: wait "+
			"until the run has ended: %w", now.Weight(), live.Name, err)
	}
	return nil
}

// share gives the canary a weight in a rendered VirtualService. A route to the application's own Service is split
// first, as Serin has split the live one.
func share(o *unstructured.Unstructured, app application.Application, names []string, canary parameter.Weight) error {
	splits, err := splitsOf(o, app, names)
	if err != nil {
		return err
	}
	if splits.Whole() {
		if err := patch(o, splits.TakeOver(app)); err != nil {
			return err
		}
		if splits, err = splitsOf(o, app, names); err != nil {
			return err
		}
	}
	return patch(o, splits.Operations(canary))
}

func splitsOf(o *unstructured.Unstructured, app application.Application, names []string) (mesh.Splits, error) {
	text, err := json.Marshal(o.Object)
	vs := &networking.VirtualService{}
	if err == nil {
		err = json.Unmarshal(text, vs)
	}
	if err != nil {
		return nil, fmt.Errorf("reading VirtualService %s of the chart: %w", o.GetName(), err)
	}
	splits, _, err := mesh.FindSplits(vs, app, names...)
	return splits, err
}

// patch changes an object as the API server would.
func patch(o *unstructured.Unstructured, operations []kube.Operation) error {
	body, err := kube.Patch(operations...)
	if err != nil {
		return err
	}
	change, err := jsonpatch.DecodePatch(body)
	if err != nil {
		return err
	}
	text, err := json.Marshal(o.Object)
	if err == nil {
		text, err = change.Apply(text)
	}
	if err != nil {
		return err
	}
	object, err := runtime.Decode(unstructured.UnstructuredJSONScheme, text)
	if err != nil {
		return err
	}
	o.Object = object.(*unstructured.Unstructured).Object
	return nil
}
