package mesh

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/cluster/workload"
	"github.com/serin-cd/serin/pkg/task/failure"
)

// objects is what is asked of the API for Services; the dynamic client has it as it is.
type objects interface {
	Get(context.Context, string, metav1.GetOptions, ...string) (*unstructured.Unstructured, error)
	List(context.Context, metav1.ListOptions) (*unstructured.UnstructuredList, error)
	Create(context.Context, *unstructured.Unstructured, metav1.CreateOptions, ...string) (*unstructured.Unstructured,
		error)
	Patch(context.Context, string, types.PatchType, []byte, metav1.PatchOptions, ...string) (*unstructured.Unstructured,
		error)
}

// Services are an application's: the apex, the primary's and the canary's.
type Services struct {
	Objects  objects
	App      application.Application
	Metadata application.Metadata // what Serin's own take over from the apex
	Mode     kube.Mode            // whether writes count
}

// Shape is what the Services of primary and canary have in common with the apex.
type Shape struct {
	Ports               []any
	Labels, Annotations map[string]string
	Settings            map[string]any // other members of the spec

	// Shared says that the Services of primary and canary have these ports.
	Shared bool
}

// Gateway is the port that gateways have to name: the one that is wanted, or the first that carries HTTP. It is 0 for
// Services that have only one, unless one is wanted. One that the Services do not have is an error of configuration.
func (s Shape) Gateway(wanted int64) (int64, error) {
	var numbers []string
	first := int64(0)
	for _, p := range s.Ports {
		port, _ := p.(map[string]any)
		number, _ := port["port"].(int64)
		if number == wanted {
			return wanted, nil
		}
		if first == 0 && carriesHTTP(port) {
			first = number
		}
		numbers = append(numbers, fmt.Sprint(number))
	}
	if wanted != 0 {
		return 0, failure.Configf("reading port: %d, want one of the Service's: %s", wanted,
			strings.Join(numbers, ", "))
	}
	if len(s.Ports) < 2 {
		return 0, nil
	}
	return first, nil
}

// carriesHTTP says whether Istio takes a Service's port for HTTP, by its appProtocol or by its name. One that tells
// neither is found out by Istio.
func carriesHTTP(port map[string]any) bool {
	protocol, _ := port["appProtocol"].(string)
	if name, _ := port["name"].(string); protocol == "" {
		protocol, _, _ = strings.Cut(name, "-")
	}
	switch strings.ToLower(strings.TrimPrefix(protocol, "kubernetes.io/")) {
	case "tcp", "tls", "https", "udp", "mongo", "mysql", "redis":
		return false
	}
	transport, _ := port["protocol"].(string)
	return transport == "" || transport == "TCP"
}

// Shape is that of the apex Service; where there is none, it has one port, http, to the target's first
// container port of TCP.
func (s Services) Shape(ctx context.Context, target *workload.Deployment, port int32) (Shape, error) {
	apex, err := s.find(ctx, s.App.Name)
	if err != nil {
		return Shape{}, err
	}
	if apex != nil {
		return s.shape(apex)
	}
	if port == 0 {
		port = 80
	}
	for _, c := range target.Spec.Template.Spec.Containers {
		for _, p := range c.Ports {
			if p.Protocol != "" && p.Protocol != "TCP" {
				continue
			}
			ports := []any{map[string]any{"name": "http", "port": int64(port), "targetPort": int64(p.ContainerPort)}}
			return Shape{Ports: ports}, nil
		}
	}
	return Shape{}, failure.Configf("making Service %s: Deployment %s names no container port, want one, or a Service "+
		"%s", s.App, target.Name, s.App.Name)
}

// common are the members of the apex's spec that the Services of primary and canary have too, besides the ports: which
// addresses of the pods are found, and how a caller is given one.
var common = []string{"ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy", "trafficDistribution",
	"sessionAffinity", "sessionAffinityConfig", "publishNotReadyAddresses"}

func (s Services) shape(apex *unstructured.Unstructured) (Shape, error) {
	settings := map[string]any{}
	for _, name := range common {
		if value, there, _ := unstructured.NestedFieldCopy(apex.Object, "spec", name); there {
			settings[name] = value
		}
	}
	ports, _, err := unstructured.NestedSlice(apex.Object, "spec", "ports")
	for _, p := range ports {
		if port, ok := p.(map[string]any); ok {
			delete(port, "nodePort")
		}
	}
	return Shape{Ports: ports, Labels: s.Metadata.Of(apex.GetLabels()),
		Annotations: s.Metadata.Of(apex.GetAnnotations()), Settings: settings}, err
}

// Ensure makes a Service that selects these pods, or points it at them. It names who had written the
// selector where it changed one that was there.
func (s Services) Ensure(ctx context.Context, name string, selector map[string]string, shape Shape) (writer string,
	err error) {
	err = kube.Retry(ctx, func(ctx context.Context) error {
		now, err := s.get(ctx, name)
		if err == nil && now == nil {
			return s.create(ctx, name, selector, shape)
		}
		if err != nil {
			return err
		}
		writer, err = s.point(ctx, now, selector)
		return err
	})
	return writer, err
}

// Rehearse is an error where Ensure could not make a Service of that name, or would change one that is not Serin's.
func (s Services) Rehearse(ctx context.Context, name string, shape Shape) error {
	found, err := s.find(ctx, name)
	if err != nil {
		return err
	}
	if found == nil {
		return kube.Retry(ctx, func(ctx context.Context) error {
			return s.create(ctx, name, map[string]string{application.Label: s.App.Name}, shape)
		})
	}
	if found.GetLabels()[application.Label] != s.App.Name {
		return failure.Configf("reading Service %s: Serin did not make it (no label %s: %s), and would change it: "+
			"rename it, or release %s under another name", name, application.Label, s.App.Name, s.App.Name)
	}
	return nil
}

// Apex reads the application's own Service; nil where there is none.
func (s Services) Apex(ctx context.Context) (*unstructured.Unstructured, error) {
	return s.find(ctx, s.App.Name)
}

// RehearseApex is an error where the apex Service, as it was read, could not be pointed at these pods.
func (s Services) RehearseApex(ctx context.Context, apex *unstructured.Unstructured, selector map[string]string) error {
	if apex == nil {
		return nil
	}
	s.Mode = kube.Rehearsal
	_, err := s.point(ctx, apex, selector)
	return err
}

// Rest points the apex Service, as it was read, at these pods, as Ensure does; one that is missing is made. If its
// ports are not those that the Services of primary and canary were made with, they get them first.
func (s Services) Rest(ctx context.Context, apex *unstructured.Unstructured, target *workload.Deployment,
	selector map[string]string, port int32) (writer string, err error) {
	if apex == nil {
		shape, err := s.Shape(ctx, target, port)
		if err != nil {
			return "", err
		}
		return s.Ensure(ctx, s.App.Name, selector, shape)
	}
	if err := s.follow(ctx, apex); err != nil {
		return "", err
	}
	first := true
	err = kube.Retry(ctx, func(ctx context.Context) (err error) {
		if !first {
			if apex, err = s.get(ctx, s.App.Name); err != nil || apex == nil {
				return err
			}
		}
		first = false
		writer, err = s.point(ctx, apex, selector)
		return err
	})
	return writer, err
}

// find reads a Service, nil where there is none, and asks again while the API server is away.
func (s Services) find(ctx context.Context, name string) (found *unstructured.Unstructured, err error) {
	err = kube.Retry(ctx, func(ctx context.Context) error {
		found, err = s.get(ctx, name)
		return err
	})
	return found, err
}

func (s Services) get(ctx context.Context, name string) (*unstructured.Unstructured, error) {
	found, err := s.Objects.Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading Service %s: %w", name, err)
	}
	return found, nil
}

func (s Services) create(ctx context.Context, name string, selector map[string]string, shape Shape) error {
	service := &unstructured.Unstructured{Object: map[string]any{}}
	service.SetAPIVersion("v1")
	service.SetKind("Service")
	service.SetName(name)
	labels := map[string]string{application.Label: s.App.Name}
	maps.Copy(labels, shape.Labels)
	for key, value := range selector { // else who finds the apex by its label finds the same pods a second time
		if _, there := labels[key]; there {
			labels[key] = value
		}
	}
	service.SetLabels(labels)
	annotations := maps.Clone(shape.Annotations)
	if name == s.App.Name && shape.Shared {
		annotations = map[string]string{application.PortsAnnotation: digest(shape.Ports)}
	}
	service.SetAnnotations(annotations)
	if len(shape.Settings) > 0 {
		service.Object["spec"] = runtime.DeepCopyJSON(shape.Settings)
	}
	err := unstructured.SetNestedStringMap(service.Object, selector, "spec", "selector")
	if err == nil {
		err = unstructured.SetNestedSlice(service.Object, shape.Ports, "spec", "ports")
	}
	if err == nil {
		_, err = s.Objects.Create(ctx, service, s.Mode.Create())
	}
	if err != nil {
		return fmt.Errorf("making Service %s: %w", name, err)
	}
	return nil
}

// point changes the selector while it is as it was read; nothing where it selects these pods already.
func (s Services) point(ctx context.Context, now *unstructured.Unstructured, selector map[string]string) (writer string,
	err error) {
	before, there, err := unstructured.NestedStringMap(now.Object, "spec", "selector")
	if err != nil || maps.Equal(before, selector) {
		return "", err
	}
	var old any
	if there {
		old = before
	}
	ops := []kube.Operation{kube.Test("/spec/selector", old), kube.Add("/spec/selector", selector)}
	if now.GetName() == s.App.Name {
		ops = append(ops, s.marked(now)...)
	}
	body, err := kube.Patch(ops...)
	if err == nil {
		_, err = s.Objects.Patch(ctx, now.GetName(), types.JSONPatchType, body, s.Mode.Patch())
	}
	if err != nil {
		return "", fmt.Errorf("pointing Service %s: %w", now.GetName(), err)
	}
	writer = kube.Writer(now, "spec", "selector")
	if s.Mode == kube.Rehearsal {
		return writer, nil
	}
	slog.Info("service pointed", "service", now.GetName(), "from", before, "to", selector, "writer", writer)
	return writer, nil
}
