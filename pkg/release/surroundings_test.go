package release_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serin-cd/serin/internal/releasetest"
)

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
