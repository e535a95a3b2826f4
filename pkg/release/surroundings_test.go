package release_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/serin-cd/serin/internal/releasetest"
	"github.com/serin-cd/serin/pkg/release"
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
