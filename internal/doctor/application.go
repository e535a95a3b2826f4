package doctor

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	rbac "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/component-helpers/auth/rbac/validation"

	allowed "github.com/serin-cd/serin/internal/rights"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/release"
	"github.com/serin-cd/serin/pkg/release/prepare"
	"github.com/serin-cd/serin/pkg/task/failure"
	"github.com/serin-cd/serin/pkg/task/run"
)

var rulesReviews = schema.GroupVersionResource{Group: "authorization.k8s.io", Version: "v1",
	Resource: "selfsubjectrulesreviews"}

func account(ctx context.Context, p Patient) []Finding {
	_, err := p.Cluster.Objects(accounts, p.Namespace).Get(ctx, p.Account, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return wrong(fmt.Sprintf("namespace %s has no ServiceAccount %s", p.Namespace, p.Account),
			"apply Serin's manifest in this namespace")
	}
	if err != nil {
		return unseen(err)
	}
	return fine("ServiceAccount " + p.Account + " is there")
}

// rights asks the API server, as the runs' account, what that may do.
func rights(ctx context.Context, p Patient) []Finding {
	asked := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"namespace": p.Namespace}}}
	asked.SetAPIVersion("authorization.k8s.io/v1")
	asked.SetKind("SelfSubjectRulesReview")
	answer, err := p.As.Objects(rulesReviews, "").Create(ctx, asked, metav1.CreateOptions{})
	if err != nil {
		return unseen(fmt.Errorf("asking as ServiceAccount %s: %w", p.Account, err))
	}
	var may struct {
		Status struct {
			Rules []rbac.PolicyRule `json:"resourceRules"`
		} `json:"status"`
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(answer.Object, &may); err != nil {
		return unseen(err)
	}
	needed, err := allowed.Needed(p.app())
	if err != nil {
		return unseen(err)
	}
	covered, missing := validation.Covers(may.Status.Rules, needed)
	if covered {
		return fine(fmt.Sprintf("ServiceAccount %s may do all that a run does", p.Account))
	}
	verbs := map[string][]string{} // by resource
	for _, rule := range missing {
		for _, resource := range rule.Resources {
			verbs[resource] = append(verbs[resource], rule.Verbs...)
		}
	}
	lacks := map[Level][]string{}
	for _, resource := range slices.Sorted(maps.Keys(verbs)) {
		level := Error
		if slices.Contains(optional, resource) {
			level = Warning
		}
		slices.Sort(verbs[resource])
		lacks[level] = append(lacks[level], strings.Join(slices.Compact(verbs[resource]), ", ")+" "+resource)
	}
	var all []Finding
	for _, level := range []Level{Error, Warning} {
		if len(lacks[level]) > 0 {
			all = append(all, Finding{Level: level,
				Text:   fmt.Sprintf("ServiceAccount %s may not %s", p.Account, strings.Join(lacks[level], "; ")),
				Advice: "apply Serin's manifest in this namespace, or what tkn canary render --rbac writes"})
		}
	}
	return all
}

// optional are the resources without which a run goes on: kinds that not each cluster has, and policies that are only
// named.
var optional = []string{
	"scaledobjects", "horizontalpodautoscalers", "poddisruptionbudgets", "networkpolicies", "authorizationpolicies",
	"peerauthentications", "requestauthentications", "sidecars", "envoyfilters", "telemetries", "wasmplugins",
	"verticalpodautoscalers", "pods/log",
}

// examined rehearses what a run begins with: it refuses the same, and changes nothing.
func examined(ctx context.Context, p Patient) []Finding {
	if absent(ctx, p.Cluster, routes) {
		return nil
	}
	var reserved []prepare.Reservation
	r, err := release.New(p.Cluster, p.Application, run.ID{Namespace: p.Namespace, Name: "doctor", UID: "doctor"})
	if err == nil {
		err = r.Select(p.Routes)
	}
	if err == nil {
		r.Take(p.Preparation.Metadata)
		r.Autoscalers.Bounds = p.Preparation.Autoscaler.Bounds
		reserved, err = prepare.Examine(ctx, r, p.Preparation)
	}
	var all []Finding
	for _, one := range reserved {
		level := Warning
		if one.Advice == "" {
			level = OK
		}
		all = append(all, Finding{Level: level, Text: one.Text, Advice: one.Advice, Check: "surroundings"})
	}
	if err == nil {
		return append(fine(p.Application+" can be released"), all...)
	}
	for _, e := range failure.Each(err) {
		all = append(all, Finding{Level: Error, Text: e.Error(), Advice: "see what the text says"})
	}
	return all
}

// owner is a tool that applies objects again and again, and puts back what a run changes.
type owner struct {
	name   string
	advice func(o owned) string
}

// owned is a field of an object.
type owned struct{ group, kind, name, path string }

// ownerOf knows tools by the names under which they write. The rules are those of docs/operations.md.
func ownerOf(manager string) (owner, bool) {
	switch {
	case strings.HasPrefix(manager, "argocd"):
		return owner{"Argo CD", ignoreDifferences}, true
	case manager == "kustomize-controller":
		return owner{"Flux", kustomization}, true
	case manager == "helm-controller":
		return owner{"Flux", helmRelease}, true
	}
	return owner{}, false
}

func ignoreDifferences(o owned) string {
	where := fmt.Sprintf("jsonPointers: [%s]", o.path)
	if o.kind == "VirtualService" {
		where = "jqPathExpressions: ['.spec.http[].route[].weight']"
	}
	return fmt.Sprintf("add to the Application: ignoreDifferences: [{group: %q, kind: %s, name: %s, %s}], and "+
		"syncOptions: [RespectIgnoreDifferences=true]", o.group, o.kind, o.name, where)
}

func kustomization(o owned) string {
	target := fmt.Sprintf("{group: %q, kind: %s, name: %s}", o.group, o.kind, o.name)
	if o.kind == "Deployment" {
		return fmt.Sprintf(`add to the Kustomization: patches: [{target: %s, patch: '[{"op": "remove", "path": "%s"}]'}]`,
			target, o.path)
	}
	version := "v1"
	if o.group != "" {
		version = o.group + "/v1"
	}
	return fmt.Sprintf("add to the Kustomization: patches: [{target: %s, patch: '{apiVersion: %s, kind: %s, metadata: "+
		"{name: %s, annotations: {kustomize.toolkit.fluxcd.io/ssa: IfNotPresent}}}'}]", target, version, o.kind, o.name)
}

func helmRelease(o owned) string {
	return fmt.Sprintf("add to the HelmRelease: driftDetection: {ignore: [{target: {group: %q, kind: %s, name: %s}, "+
		"paths: [%s]}]}, and leave %s out of the chart", o.group, o.kind, o.name, o.path, o.path)
}

// owners finds tools that own the fields which a run changes.
func owners(ctx context.Context, p Patient) []Finding {
	var all []Finding
	for _, field := range []struct {
		kind     schema.GroupVersionResource
		singular string
		path     []string
	}{
		{kube.Deployments, "Deployment", []string{"spec", "replicas"}},
		{kube.Services, "Service", []string{"spec", "selector"}},
		{kube.VirtualServices, "VirtualService", []string{"spec", "http"}},
	} {
		found, err := p.Cluster.Objects(field.kind, p.Namespace).Get(ctx, p.Application, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return unseen(err)
		}
		for _, entry := range found.GetManagedFields() {
			o, ok := ownerOf(entry.Manager)
			if !ok || !kube.Owns(entry, field.path) {
				continue
			}
			pointer := "/" + strings.Join(field.path, "/")
			all = append(all, Finding{Level: Warning,
				Text: fmt.Sprintf("%s owns %s of %s %s, and puts back what a run changes there", o.name, pointer,
					field.singular, p.Application),
				Advice: o.advice(owned{field.kind.Group, field.singular, p.Application, pointer})})
		}
	}
	if len(all) == 0 {
		return fine("no tool that applies again and again owns what a run changes")
	}
	return all
}
