package policy

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/cluster/workload"
)

// kinds are the policies that select pods by label, and the members of their specs that do. A list below such a member
// holds label selectors in any depth: a NetworkPolicy also names the pods that may call.
var kinds = []struct {
	kind     string
	resource schema.GroupVersionResource
	members  []string
}{
	{
		"NetworkPolicy",
		schema.GroupVersionResource{Group: "networking.k8s.io", Version: "v1", Resource: "networkpolicies"},
		[]string{"podSelector"},
	},
	{"AuthorizationPolicy", istio("security", "authorizationpolicies"), []string{"selector"}},
	{"PeerAuthentication", istio("security", "peerauthentications"), []string{"selector"}},
	{"RequestAuthentication", istio("security", "requestauthentications"), []string{"selector"}},
	{"Sidecar", istio("networking", "sidecars"), []string{"workloadSelector"}},
	{"EnvoyFilter", alpha(istio("networking", "envoyfilters"), "v1alpha3"), []string{"workloadSelector"}},
	{"Telemetry", istio("telemetry", "telemetries"), []string{"selector"}},
	{"WasmPlugin", alpha(istio("extensions", "wasmplugins"), "v1alpha1"), []string{"selector"}},
}

func istio(group, resource string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: group + ".istio.io", Version: "v1", Resource: resource}
}

// alpha is a resource that has no version v1.
func alpha(of schema.GroupVersionResource, version string) schema.GroupVersionResource {
	of.Version = version
	return of
}

// Differ are the policies of a namespace that tell the target's pods from the primary's, as KIND NAME, sorted: lost are
// those that name the target's by a label which the primary's have not, and gained those that name the primary's alone,
// such as all pods but the target's. Kinds that are not installed have none, and of those that may not be read that is
// logged.
func Differ(ctx context.Context, objects func(schema.GroupVersionResource, string) dynamic.ResourceInterface,
	namespace string, target *workload.Deployment, copied workload.Copy) (lost, gained []string, err error) {
	pods := labels.Set(target.Spec.Template.Metadata.Labels)
	primary := labels.Set(copied.Labels(maps.Clone(pods)))
	for _, k := range kinds {
		all, err := list(ctx, objects(k.resource, namespace), k.kind)
		if err != nil {
			return nil, nil, fmt.Errorf("listing the %s of %s: %w", k.resource.Resource, namespace, err)
		}
		for _, o := range all {
			if selects(o.Object["spec"], k.members, pods, primary) {
				lost = append(lost, k.kind+" "+o.GetName())
			}
			if selects(o.Object["spec"], k.members, primary, pods) {
				gained = append(gained, k.kind+" "+o.GetName())
			}
		}
	}
	slices.Sort(lost)
	slices.Sort(gained)
	return lost, gained, nil
}

// vertical are VerticalPodAutoscalers, which refer to what they size.
var vertical = schema.GroupVersionResource{Group: "autoscaling.k8s.io", Version: "v1",
	Resource: "verticalpodautoscalers"}

// Vertical are the names of the VerticalPodAutoscalers of a Deployment, sorted; none where they are not installed, or
// may not be read, which is logged.
func Vertical(ctx context.Context, objects func(schema.GroupVersionResource, string) dynamic.ResourceInterface,
	namespace, deployment string) (names []string, err error) {
	all, err := list(ctx, objects(vertical, namespace), "VerticalPodAutoscaler")
	if err != nil {
		return nil, fmt.Errorf("listing the %s of %s: %w", vertical.Resource, namespace, err)
	}
	for _, o := range all {
		ref, _, _ := unstructured.NestedStringMap(o.Object, "spec", "targetRef")
		if ref["kind"] == "Deployment" && ref["name"] == deployment {
			names = append(names, o.GetName())
		}
	}
	slices.Sort(names)
	return names, nil
}

// list reads all objects of a kind. That the server knows no such kind would count as transient.
func list(ctx context.Context, objects dynamic.ResourceInterface, kind string) (all []unstructured.Unstructured,
	err error) {
	err = kube.Retry(ctx, func(ctx context.Context) error {
		read, err := objects.List(ctx, metav1.ListOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		if err == nil {
			all = read.Items
		}
		return err
	})
	if apierrors.IsForbidden(err) {
		slog.Warn("not known which policies hold for the target's pods alone: give the account the rule of "+
			"config/rbac.yaml", "kind", kind, "error", err.Error())
		return nil, nil
	}
	return all, err
}

// selects says whether a selector below a node selects these pods and not those.
func selects(node any, members []string, these, those labels.Set) bool {
	switch n := node.(type) {
	case []any:
		return slices.ContainsFunc(n, func(member any) bool { return selects(member, members, these, those) })
	case map[string]any:
		for key, value := range n {
			if slices.Contains(members, key) {
				if s := selector(value); s.Matches(these) && !s.Matches(those) {
					return true
				}
			}
			if selects(value, members, these, those) {
				return true
			}
		}
	}
	return false
}

// selector reads a label selector of Kubernetes, or a workload selector of Istio, which calls its labels so. One that
// cannot be read selects nothing.
func selector(node any) labels.Selector {
	object, _ := node.(map[string]any)
	var read struct {
		metav1.LabelSelector

		Labels map[string]string `json:"labels,omitempty"`
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object, &read); err != nil {
		return labels.Nothing()
	}
	if read.Labels != nil {
		read.MatchLabels = read.Labels
	}
	s, err := metav1.LabelSelectorAsSelector(&read.LabelSelector)
	if err != nil {
		return labels.Nothing()
	}
	return s
}
