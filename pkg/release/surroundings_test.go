package release_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	admission "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"

	"github.com/serin-cd/serin/config"
	"github.com/serin-cd/serin/internal/apitest"
	"github.com/serin-cd/serin/internal/releasetest"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	policies "github.com/serin-cd/serin/pkg/cluster/policy"
	"github.com/serin-cd/serin/pkg/cluster/workload"
	"github.com/serin-cd/serin/pkg/release"
	"github.com/serin-cd/serin/pkg/release/prepare"
	"github.com/serin-cd/serin/pkg/task/failure"
)

// surroundings is all that a refusal must leave as it was, routes included.
func surroundings(t *testing.T, a *releasetest.App) map[string]any {
	t.Helper()
	all := map[string]any{}
	for name, o := range snapshot(t, a) {
		object, _ := o.(map[string]any)
		if strings.HasPrefix(name, "deployments/") { // its pods may come and go still
			unstructured.RemoveNestedField(object, "status")
			unstructured.RemoveNestedField(object, "metadata", "resourceVersion")
		}
		if !strings.HasPrefix(name, "events/") || object["reason"] == "Synced" {
			all[name] = object
		}
	}
	for _, kind := range []string{"virtualservices", "destinationrules"} {
		of := virtualServices
		of.Resource = kind
		list, err := a.Cluster.Objects(of, a.Namespace).List(t.Context(), metav1.ListOptions{})
		must(t, err)
		for _, o := range list.Items {
			all[kind+"/"+o.GetName()] = o.Object
		}
	}
	return all
}

// refusedWhole wants a first release refused with an exit code and a text, and everything left as it was.
func refusedWhole(t *testing.T, a *releasetest.App, r *release.Release, code int, text string) {
	t.Helper()
	before := surroundings(t, a)
	_, err := a.Prepare(r)
	if failure.Code(err) != code || !strings.Contains(fmt.Sprint(err), text) {
		t.Errorf("error %v (exit %d), want %s in it (exit %d)", err, failure.Code(err), text, code)
	}
	if diff := cmp.Diff(before, surroundings(t, a)); diff != "" {
		t.Errorf("what there is has changed (-before +after):\n%s", diff)
	}
}

// TestServicesThatLeadElsewhere are not made to lead to the primary, and none is left without pods.
func TestServicesThatLeadElsewhere(t *testing.T) {
	cases := map[string]struct{ services, want string }{
		"ExternalName": {`
apiVersion: v1
kind: Service
metadata: {name: podinfo}
spec: {type: ExternalName, externalName: example.test, ports: [{port: 80}]}
`, "reading Service podinfo: it is an ExternalName"},
		"pods of others": {`
apiVersion: v1
kind: Service
metadata: {name: podinfo}
spec: {selector: {app: web}, ports: [{port: 80}]}
`, "reading Service podinfo: it selects app=web"},
		"no selector": {`
apiVersion: v1
kind: Service
metadata: {name: podinfo}
spec: {ports: [{port: 80}]}
`, "reading Service podinfo: it has no selector"},
		"another one": {`
apiVersion: v1
kind: Service
metadata: {name: podinfo}
spec: {selector: {app: podinfo}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: podinfo-headless}
spec: {selector: {app: podinfo}, clusterIP: None, ports: [{port: 80}]}
`, "reading Service podinfo-headless: it selects pods of podinfo (app=podinfo)"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := releasetest.New(t)
			a.Apply(c.services)
			refusedWhole(t, a, a.Run("run"), failure.ExitConfig, c.want)
		})
	}
}

// TestSettingsOfTheServiceAreKept by those that the route leads to instead of it.
func TestSettingsOfTheServiceAreKept(t *testing.T) {
	a := releasetest.New(t)
	a.Apply(`
apiVersion: v1
kind: Service
metadata: {name: podinfo}
spec:
  selector: {app: podinfo}
  type: LoadBalancer
  loadBalancerIP: 192.0.2.1
  ipFamilyPolicy: PreferDualStack
  internalTrafficPolicy: Local
  trafficDistribution: PreferClose
  sessionAffinity: ClientIP
  publishNotReadyAddresses: true
  ports: [{name: http, port: 80, targetPort: 9898, nodePort: 30123, appProtocol: kubernetes.io/h2c}]
`)
	a.First()
	for _, name := range []string{"podinfo-primary", "podinfo-canary"} {
		s, err := a.Client.CoreV1().Services(a.Namespace).Get(t.Context(), name, metav1.GetOptions{})
		must(t, err)
		near := ""
		if s.Spec.TrafficDistribution != nil {
			near = *s.Spec.TrafficDistribution
		}
		got := []any{s.Spec.Type, *s.Spec.IPFamilyPolicy, *s.Spec.InternalTrafficPolicy, near,
			s.Spec.SessionAffinity, s.Spec.PublishNotReadyAddresses, s.Spec.Ports[0].NodePort}
		want := []any{corev1.ServiceTypeClusterIP, corev1.IPFamilyPolicyPreferDualStack,
			corev1.ServiceInternalTrafficPolicyLocal, "PreferClose", corev1.ServiceAffinityClientIP, true, int32(0)}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// policy has the API server refuse Deployments of the namespace for which an expression is false.
func policy(t *testing.T, a *releasetest.App, expression string, reason metav1.StatusReason) {
	t.Helper()
	client := a.Client.AdmissionregistrationV1()
	fail, name := admission.Fail, a.Namespace+"-deployments"
	_, err := client.ValidatingAdmissionPolicies().Create(t.Context(), &admission.ValidatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: admission.ValidatingAdmissionPolicySpec{FailurePolicy: &fail,
			MatchConstraints: &admission.MatchResources{
				NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{
					"kubernetes.io/metadata.name": a.Namespace}},
				ResourceRules: []admission.NamedRuleWithOperations{{RuleWithOperations: admission.RuleWithOperations{
					Operations: []admission.OperationType{admission.Create, admission.Update},
					Rule: admission.Rule{APIGroups: []string{"apps"}, APIVersions: []string{"v1"},
						Resources: []string{"deployments"}}}}}},
			Validations: []admission.Validation{{Expression: expression, Message: "not here", Reason: &reason}},
		}}, metav1.CreateOptions{})
	must(t, err)
	_, err = client.ValidatingAdmissionPolicyBindings().Create(t.Context(),
		&admission.ValidatingAdmissionPolicyBinding{ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec: admission.ValidatingAdmissionPolicyBindingSpec{PolicyName: name,
				ValidationActions: []admission.ValidationAction{admission.Deny}}}, metav1.CreateOptions{})
	must(t, err)
	t.Cleanup(func() {
		_ = client.ValidatingAdmissionPolicyBindings().Delete(context.Background(), name, metav1.DeleteOptions{})
		_ = client.ValidatingAdmissionPolicies().Delete(context.Background(), name, metav1.DeleteOptions{})
	})
	apitest.Eventually(t, func(ctx context.Context) error {
		d := a.Deployment("podinfo")
		probe := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "probe"}, Spec: *d.Spec.DeepCopy()}
		*probe.Spec.Replicas = 0
		probe.Spec.Template.Labels = map[string]string{"app": "podinfo-primary"}
		probe.Spec.Selector.MatchLabels = probe.Spec.Template.Labels
		_, err := a.Client.AppsV1().Deployments(a.Namespace).Create(ctx, probe,
			metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if err == nil {
			return errors.New("the policy does not hold yet")
		}
		return nil
	})
}

// TestPoliciesThatRefuse the primary, or the target at rest, do so before anything is made.
func TestPoliciesThatRefuse(t *testing.T) {
	cases := map[string]struct {
		expression string
		reason     metav1.StatusReason
	}{
		"a target at rest":            {"object.spec.replicas > 0", metav1.StatusReasonInvalid},
		"a target at rest, forbidden": {"object.spec.replicas > 0", metav1.StatusReasonForbidden},
		"the primary, forbidden": {"object.spec.selector.matchLabels['app'] == 'podinfo'",
			metav1.StatusReasonForbidden},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := releasetest.New(t)
			policy(t, a, c.expression, c.reason)
			refusedWhole(t, a, a.Run("run"), failure.ExitConfig, "not here")
		})
	}
}

// TestImageThatAPolicyRefuses is no reason to try again.
func TestImageThatAPolicyRefuses(t *testing.T) {
	a := releasetest.New(t)
	a.First()
	policy(t, a, "object.metadata.name != 'probe' && !object.spec.template.spec.containers[0].image.contains('evil')",
		metav1.StatusReasonForbidden)
	p := releasetest.Preparation()
	p.Image = "evil.test/podinfo:2"
	before := surroundings(t, a)
	_, _, err := prepare.Run(t.Context(), a.Run("run"), p)
	if failure.Code(err) != failure.ExitConfig || !strings.Contains(fmt.Sprint(err), "not here") {
		t.Errorf("error %v (exit %d), want it refused (exit %d)", err, failure.Code(err), failure.ExitConfig)
	}
	if diff := cmp.Diff(before, surroundings(t, a)); diff != "" {
		t.Errorf("what there is has changed (-before +after):\n%s", diff)
	}
}

// TestRightsThatAreMissing, each by itself, are noticed before anything is made, or not needed for a first release.
func TestRightsThatAreMissing(t *testing.T) {
	var role struct{ Rules []rbacv1.PolicyRule }
	for document := range strings.SplitSeq(string(config.RBAC), "\n---\n") {
		if strings.Contains(document, "\nkind: Role\n") {
			must(t, yaml.Unmarshal([]byte(document), &role))
		}
	}
	for _, rule := range role.Rules {
		for _, resource := range rule.Resources {
			if slices.Contains([]string{"leases", "configmaps", "pipelineruns", "taskruns", "pods/log"}, resource) {
				continue // of other steps
			}
			for _, verb := range rule.Verbs {
				for _, own := range []bool{true, false} {
					t.Run(fmt.Sprint(verb, " ", resource, " own ", own), func(t *testing.T) {
						t.Parallel()
						withoutRight(t, resource, verb, own)
					})
				}
			}
		}
	}
}

// withoutRight releases an application for the first time, without one right, and with a Service and a VirtualService
// of its own or without.
func withoutRight(t *testing.T, resource, verb string, own bool) {
	a := releasetest.New(t, onePod)
	a.Apply(releasetest.ScaledObject)
	budget(t, a, "podinfo", byApp)
	if own {
		a.ApexService()
		a.Apply("apiVersion: networking.istio.io/v1\nkind: VirtualService" + inMesh)
	}
	a.Install("../../config/rbac.yaml", 3)
	roles := a.Client.RbacV1().Roles(a.Namespace)
	role, err := roles.Get(t.Context(), "serin", metav1.GetOptions{})
	must(t, err)
	without(role, resource, verb)
	_, err = roles.Update(t.Context(), role, metav1.UpdateOptions{})
	must(t, err)
	as := func(next http.RoundTripper) http.RoundTripper {
		return impersonating{next, "system:serviceaccount:" + a.Namespace + ":serin"}
	}
	reading := "services"
	if resource == "services" {
		reading = "horizontalpodautoscalers"
	}
	apitest.Eventually(t, func(ctx context.Context) error { // the server learns of rights a moment later
		of := map[string]schema.GroupVersionResource{"services": kube.Services, "horizontalpodautoscalers": kube.HPAs}
		_, err := a.Run("reader", as).Cluster.Objects(of[reading], a.Namespace).List(ctx, metav1.ListOptions{})
		return err
	})
	before := surroundings(t, a)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	_, _, err = prepare.Run(ctx, a.Run("run", as), releasetest.Preparation())
	if err == nil {
		return
	}
	if !strings.Contains(err.Error(), "cannot "+verb+" resource") {
		t.Errorf("error %v, want the right named", err)
	}
	if diff := cmp.Diff(before, surroundings(t, a)); diff != "" {
		t.Errorf("%v: what there is has changed (-before +after):\n%s", err, diff)
	}
}

// without takes a right from a Role.
func without(role *rbacv1.Role, resource, verb string) {
	var left []rbacv1.PolicyRule
	for _, rule := range role.Rules {
		if slices.Contains(rule.Resources, resource) {
			rule.Verbs = slices.DeleteFunc(rule.Verbs, func(v string) bool { return v == verb })
		}
		if len(rule.Verbs) > 0 {
			left = append(left, rule)
		}
	}
	role.Rules = left
}

// TestTargetWithAnotherSelector is a Deployment that was deleted and made anew, because its selector cannot be changed.
func TestTargetWithAnotherSelector(t *testing.T) {
	a := releasetest.New(t, onePod)
	a.First()
	before := a.Deployment("podinfo")
	a.Delete("podinfo")
	labels, two := map[string]string{"app.kubernetes.io/name": "podinfo"}, int32(1)
	again := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "podinfo"}, Spec: *before.Spec.DeepCopy()}
	again.Spec.Selector = &metav1.LabelSelector{MatchLabels: labels}
	again.Spec.Replicas, again.Spec.Template.Labels = &two, maps.Clone(labels)
	again.Spec.Template.Spec.Containers[0].Image = releasetest.Image("2")
	_, err := a.Client.AppsV1().Deployments(a.Namespace).Create(t.Context(), again, metav1.CreateOptions{})
	must(t, err)
	r := a.Run("second")
	outcome, err := a.Prepare(r)
	if err != nil || outcome != prepare.Proceed {
		t.Fatalf("outcome %q (%v), want %q", outcome, err, prepare.Proceed)
	}
	s, err := a.Client.CoreV1().Services(a.Namespace).Get(t.Context(), "podinfo-canary", metav1.GetOptions{})
	must(t, err)
	if diff := cmp.Diff(labels, s.Spec.Selector); diff != "" {
		t.Errorf("Service podinfo-canary selects (-want +got):\n%s", diff)
	}
}

// TestRouteOfTwoApplications is refused to the second: there is place for one record.
func TestRouteOfTwoApplications(t *testing.T) {
	a := routed(t)
	_, err := a.Prepare(selecting(t, a.Run("first")))
	must(t, err)
	first, _ := states(t, a)
	text := strings.Replace(first.Record.String(), `"app":"podinfo"`, `"app":"web"`, 1)
	patch, err := kube.Patch(kube.Add("/metadata/annotations/serin.dev~1run", text))
	must(t, err)
	_, err = a.Cluster.VirtualServices(a.Namespace).Patch(t.Context(), "front", types.JSONPatchType, patch,
		metav1.PatchOptions{FieldManager: kube.FieldManager})
	must(t, err)
	a.Push("2")
	a.Eventually("the target is at rest", func() bool {
		d := a.Deployment("podinfo")
		return d.Status.ObservedGeneration == d.Generation && d.Status.Replicas == 0
	})
	refusedWhole(t, a, selecting(t, a.Run("second")), failure.ExitConfig,
		"reading VirtualService front: it has the record of application web")
}

// TestWhatIsNotReleasedIsNamed, because the first release takes nothing over of it.
func TestWhatIsNotReleasedIsNamed(t *testing.T) {
	a := releasetest.New(t)
	a.ApexService()
	apitest.Apply(t, a.Namespace, []byte(`
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: front}
spec: {hosts: [shop.test], gateways: [public], http: [{route: [{destination: {host: podinfo}}]}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: others}
spec: {hosts: [web.test], gateways: [public], http: [{route: [{destination: {host: web}}]}]}
`))
	p := releasetest.Preparation()
	p.Gateways = []string{"mesh"}
	_, _, err := prepare.Run(t.Context(), a.Run("first"), p)
	must(t, err)
	a.WantEvents("VirtualService front leads to podinfo, and none of its callers gets to a canary: name it in " +
		"virtual-services")
	if all := strings.Join(a.Events(), "\n"); strings.Contains(all, "VirtualService others") {
		t.Errorf("events %s, want others not in them", all)
	}
}

// TestPoliciesThatAreNotInstalled hold for nobody, and are not waited for.
func TestPoliciesThatAreNotInstalled(t *testing.T) {
	a := releasetest.New(t, onePod)
	target, err := a.Run("reader").Target(t.Context())
	must(t, err)
	copied, err := workload.CopyOf(target)
	must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	lost, gained, err := policies.Differ(ctx,
		func(of schema.GroupVersionResource, namespace string) dynamic.ResourceInterface {
			of.Group = "none." + of.Group
			return a.Cluster.Objects(of, namespace)
		}, a.Namespace, target, copied)
	if err != nil || lost != nil || gained != nil {
		t.Errorf("lost %v, gained %v (%v), want none", lost, gained, err)
	}
}

// TestVerticalPodAutoscalerIsNamed, which goes on to size pods that serve nobody.
func TestVerticalPodAutoscalerIsNamed(t *testing.T) {
	a := releasetest.New(t)
	crds := a.Cluster.Objects(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1",
		Resource: "customresourcedefinitions"}, "")
	crd := &unstructured.Unstructured{}
	must(t, yaml.Unmarshal([]byte(`
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: verticalpodautoscalers.autoscaling.k8s.io
  annotations: {api-approved.kubernetes.io: "https://github.com/kubernetes/kubernetes/pull/63797"}
spec:
  group: autoscaling.k8s.io
  names: {kind: VerticalPodAutoscaler, plural: verticalpodautoscalers}
  scope: Namespaced
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, properties: {spec: {
    type: object, x-kubernetes-preserve-unknown-fields: true}}}}}]
`), &crd.Object))
	_, err := crds.Create(t.Context(), crd, metav1.CreateOptions{})
	must(t, err)
	t.Cleanup(func() { _ = crds.Delete(context.Background(), crd.GetName(), metav1.DeleteOptions{}) })
	vpa := &unstructured.Unstructured{}
	must(t, yaml.Unmarshal([]byte(`
apiVersion: autoscaling.k8s.io/v1
kind: VerticalPodAutoscaler
metadata: {name: sizes}
spec: {targetRef: {apiVersion: apps/v1, kind: Deployment, name: podinfo}}
`), &vpa.Object))
	apitest.Eventually(t, func(ctx context.Context) error {
		_, err := a.Cluster.Objects(schema.GroupVersionResource{Group: "autoscaling.k8s.io", Version: "v1",
			Resource: "verticalpodautoscalers"}, a.Namespace).Create(ctx, vpa, metav1.CreateOptions{})
		return err
	})
	a.First()
	a.WantEvents("VerticalPodAutoscaler sizes sizes pods of podinfo, and not those of podinfo-primary")
}

// TestLabelsOfAnother are also on the pods of another Deployment, to which the canary's Service would lead.
func TestLabelsOfAnother(t *testing.T) {
	for _, kind := range []string{"Deployment", "Job"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			a := releasetest.New(t)
			switch kind {
			case "Deployment":
				a.Apply(`
apiVersion: apps/v1
kind: Deployment
metadata: {name: podinfo-worker}
spec:
  selector: {matchLabels: {app: podinfo, role: worker}}
  template:
    metadata: {labels: {app: podinfo, role: worker}}
    spec: {containers: [{name: worker, image: "example.test/worker:1"}]}
`)
				a.Eventually("the worker runs", func() bool {
					return a.Deployment("podinfo-worker").Status.ReadyReplicas == 1
				})
				refusedWhole(t, a, a.Run("run"), failure.ExitConfig,
					"its labels app=podinfo select pods of Deployment podinfo-worker too")
			case "Job":
				owned := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "migrate-x", Labels: map[string]string{
					"app": "podinfo"}, OwnerReferences: []metav1.OwnerReference{{APIVersion: "batch/v1", Kind: "Job",
					Name: "migrate", UID: "1", Controller: new(true)}}},
					Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "a", Image: "a"}}}}
				_, err := a.Client.CoreV1().Pods(a.Namespace).Create(t.Context(), owned, metav1.CreateOptions{})
				must(t, err)
				a.First()
			}
		})
	}
}
