package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/restmapper"
)

// fieldManager owns what Apply writes.
const fieldManager = "serin-sandbox"

// Apply writes the objects of a YAML or JSON stream by server-side apply, in its order. Objects without a namespace go
// to default. A kind whose definition is in the same stream is waited for.
func (s *Sandbox) Apply(ctx context.Context, manifest []byte) error {
	a, err := s.applier()
	if err != nil {
		return err
	}
	return a.apply(ctx, manifest)
}

// applier is the clients that applying needs.
type applier struct {
	dynamic dynamic.Interface
	mapper  *restmapper.DeferredDiscoveryRESTMapper
	mu      sync.Mutex // the mapper may be reset
}

func (s *Sandbox) applier() (*applier, error) {
	config, err := s.REST()
	if err != nil {
		return nil, err
	}
	dyn, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	disco, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, err
	}
	return &applier{dynamic: dyn, mapper: restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(disco))},
		nil
}

func (a *applier) apply(ctx context.Context, manifest []byte) error {
	objects, err := decode(manifest)
	if err != nil {
		return err
	}
	return a.applyAll(ctx, objects)
}

func (a *applier) applyAll(ctx context.Context, objects []*unstructured.Unstructured) error {
	// Definitions are the slow ones, and independent of each other.
	var definitions, rest []*unstructured.Unstructured
	for _, o := range objects {
		if o.GetKind() == "CustomResourceDefinition" {
			definitions = append(definitions, o)
		} else {
			rest = append(rest, o)
		}
	}
	if err := a.define(ctx, definitions); err != nil {
		return err
	}
	for _, o := range rest {
		if err := a.applyOne(ctx, o); err != nil {
			return err
		}
	}
	return nil
}

func decode(manifest []byte) ([]*unstructured.Unstructured, error) {
	var objects []*unstructured.Unstructured
	d := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(manifest), 4096)
	for {
		o := &unstructured.Unstructured{}
		err := d.Decode(o)
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading a manifest after %d objects: %w", len(objects), err)
		}
		if len(o.Object) > 0 {
			objects = append(objects, o)
		}
	}
}

var definitionResource = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1",
	Resource: "customresourcedefinitions"}

// define applies definitions, all at once, and waits until the API server serves them.
func (a *applier) define(ctx context.Context, definitions []*unstructured.Unstructured) error {
	if len(definitions) == 0 {
		return nil
	}
	errs := make([]error, len(definitions))
	var group sync.WaitGroup
	for i, o := range definitions {
		group.Go(func() {
			client := a.dynamic.Resource(definitionResource)
			_, errs[i] = client.Apply(ctx, o.GetName(), o, metav1.ApplyOptions{FieldManager: fieldManager, Force: true})
			if errs[i] != nil {
				return
			}
			errs[i] = poll(ctx, time.Minute, o.GetName()+" to be established", func(ctx context.Context) error {
				got, err := client.Get(ctx, o.GetName(), metav1.GetOptions{})
				if err != nil {
					return err
				}
				return established(got)
			})
		})
	}
	group.Wait()
	a.mu.Lock()
	a.mapper.Reset()
	a.mu.Unlock()
	return errors.Join(errs...)
}

func established(definition *unstructured.Unstructured) error {
	conditions, _, _ := unstructured.NestedSlice(definition.Object, "status", "conditions")
	for _, c := range conditions {
		if m, ok := c.(map[string]any); ok && m["type"] == "Established" && m["status"] == "True" {
			return nil
		}
	}
	return errors.New("not yet")
}

func (a *applier) applyOne(ctx context.Context, o *unstructured.Unstructured) error {
	what := fmt.Sprintf("%s %s/%s", o.GetKind(), o.GetNamespace(), o.GetName())
	mapping, err := a.mapping(o.GroupVersionKind())
	if err != nil {
		return fmt.Errorf("applying %s: %w", what, err)
	}
	var client dynamic.ResourceInterface = a.dynamic.Resource(mapping.Resource)
	if mapping.Scope.Name() == meta.RESTScopeNameNamespace {
		if o.GetNamespace() == "" {
			o.SetNamespace(metav1.NamespaceDefault)
		}
		client = a.dynamic.Resource(mapping.Resource).Namespace(o.GetNamespace())
	}
	if o.GetName() == "" { // generateName: there is nothing to apply to
		_, err = client.Create(ctx, o, metav1.CreateOptions{FieldManager: fieldManager})
	} else {
		_, err = client.Apply(ctx, o.GetName(), o, metav1.ApplyOptions{FieldManager: fieldManager, Force: true})
	}
	if err != nil {
		return fmt.Errorf("applying %s: %w", what, err)
	}
	return nil
}

// mapping finds the resource of a kind, and asks again for what was defined meanwhile.
func (a *applier) mapping(kind schema.GroupVersionKind) (*meta.RESTMapping, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	m, err := a.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if meta.IsNoMatchError(err) || apierrors.IsNotFound(err) {
		a.mapper.Reset()
		m, err = a.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	}
	return m, err
}
