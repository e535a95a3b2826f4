package outside_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/serin-cd/serin/internal/apitest"
	"github.com/serin-cd/serin/internal/outside"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/judge/prometheus"
)

func TestMain(m *testing.M) { apitest.Main(m, apitest.Controllers) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// machine has a namespace in which a Service prometheus is, with a pod behind it where there is an address.
func machine(t *testing.T, address string) outside.Machine {
	t.Helper()
	m := outside.Machine{Config: apitest.Config(t), Namespace: apitest.Namespace(t)}
	var err error
	m.Cluster, err = kube.New(m.Config)
	must(t, err)
	client := apitest.Client(t)
	_, err = client.CoreV1().Services(m.Namespace).Create(t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "prometheus"},
		Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "web", Port: 9090}}}}, metav1.CreateOptions{})
	must(t, err)
	if address == "" {
		return m
	}
	host, port, err := net.SplitHostPort(address)
	must(t, err)
	number, err := net.LookupPort("tcp", port)
	must(t, err)
	pods := client.CoreV1().Pods(m.Namespace)
	pod, err := pods.Create(t.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "prometheus-0"},
		Spec: corev1.PodSpec{NodeName: "none", Containers: []corev1.Container{{Name: "prometheus", Image: "p"}}}},
		metav1.CreateOptions{})
	must(t, err)
	pod.Status.Phase, pod.Status.PodIP, pod.Status.PodIPs = corev1.PodRunning, host, []corev1.PodIP{{IP: host}}
	_, err = pods.UpdateStatus(t.Context(), pod, metav1.UpdateOptions{})
	must(t, err)
	behind := &corev1.ObjectReference{Kind: "Pod", Name: pod.Name, Namespace: m.Namespace}
	// the API server's proxy reads these, which controllers make of a Service with a selector
	apitest.Apply(t, m.Namespace, fmt.Appendf(nil, `
apiVersion: v1
kind: Endpoints
metadata: {name: prometheus}
subsets:
- addresses: [{ip: %s, targetRef: {kind: Pod, name: prometheus-0, namespace: %s}}]
  ports: [{name: web, port: %d}]
`, host, m.Namespace, number))
	_, err = client.DiscoveryV1().EndpointSlices(m.Namespace).Create(t.Context(), &discovery.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Name: "prometheus", Labels: map[string]string{
			discovery.LabelServiceName: "prometheus"}},
		AddressType: discovery.AddressTypeIPv4,
		Ports:       []discovery.EndpointPort{{Name: ptr.To("web"), Port: ptr.To(int32(number))}},
		Endpoints:   []discovery.Endpoint{{Addresses: []string{host}, TargetRef: behind}}}, metav1.CreateOptions{})
	must(t, err)
	return m
}

// server answers what Prometheus does to time(), at an address that a pod may have. It wants headers.
func server(t *testing.T, want http.Header) string {
	t.Helper()
	answers := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for name := range want {
			if got := r.Header.Get(name); got != want.Get(name) {
				t.Errorf("%s %q, want %q", name, got, want.Get(name))
			}
		}
		if r.URL.Path != "/base/api/v1/query" || r.FormValue("query") != "time()" {
			t.Errorf("asked for %s?%s", r.URL, r.Form.Encode())
		}
		fmt.Fprint(w, `{"status":"success","data":{"resultType":"scalar","result":[1,"1"]}}`)
	}))
	listener, err := net.Listen("tcp", outward(t)+":0")
	must(t, err)
	answers.Listener.Close()
	answers.Listener = listener
	answers.Start()
	t.Cleanup(answers.Close)
	return listener.Addr().String()
}

// outward is an address of this machine that is not the loopback's, which no endpoint may have.
func outward(t *testing.T) string {
	t.Helper()
	all, err := net.InterfaceAddrs()
	must(t, err)
	for _, a := range all {
		if ip, ok := a.(*net.IPNet); ok && ip.IP.IsGlobalUnicast() && ip.IP.To4() != nil {
			return ip.IP.String()
		}
	}
	t.Skip("this machine has no address but the loopback's")
	return ""
}

func TestReachedThroughTheAPIServer(t *testing.T) {
	m := machine(t, server(t, http.Header{"X-Scope-Orgid": {"shop"}, "Authorization": {""}}))
	for _, host := range []string{"prometheus", "prometheus." + m.Namespace, "prometheus." + m.Namespace + ".svc",
		"prometheus." + m.Namespace + ".svc.cluster.local"} {
		config := prometheus.Config{URL: "http://" + host + ":9090/base", Headers: `{"X-Scope-OrgID": "shop"}`}
		reached, err := m.Reach(t.Context(), config)
		must(t, err)
		defer reached.Close()
		if want := "through the API server's proxy to Service " + m.Namespace + "/prometheus"; reached.Way != want {
			t.Errorf("%s: %s, want %s", host, reached.Way, want)
		}
	}
}

func TestReachedDirectly(t *testing.T) {
	address := server(t, nil)
	reached, err := machine(t, "").Reach(t.Context(), prometheus.Config{URL: "http://" + address + "/base"})
	must(t, err)
	defer reached.Close()
	if reached.Way != "directly" {
		t.Errorf("reached %s, want directly", reached.Way)
	}
}

func TestNotReached(t *testing.T) {
	empty := machine(t, "")
	dead := machine(t, outward(t)+":1")
	narrow := dead
	narrow.Config = apitest.Config(t)
	narrow.Config.Impersonate.UserName = "somebody"
	var err error
	narrow.Cluster, err = kube.New(narrow.Config)
	must(t, err)
	cases := map[string]struct {
		m      outside.Machine
		url    string
		absent bool
		text   string
	}{
		"no Service": {empty, "http://thanos:9090", true, "has no Service thanos"},
		"no pod":     {empty, "http://prometheus:9090", true, "no ready pod, or other address, stands behind it"},
		"another port": {dead, "http://prometheus:9091", true,
			"Service prometheus has no port 9091, but 9090"},
		"no answer": {dead, "http://prometheus:9090", false, "through the API server's proxy to Service"},
		"no rights": {narrow, "http://prometheus." + dead.Namespace + ":9090", false, "403 Forbidden"},
		"elsewhere": {empty, "http://127.0.0.1:1", false, "directly: querying http://127.0.0.1:1: connection refused"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := c.m.Reach(t.Context(), prometheus.Config{URL: c.url})
			if err == nil || errors.Is(err, outside.ErrAbsent) != c.absent || !strings.Contains(err.Error(), c.text) {
				t.Errorf("error %v, absent %v, want %q, %v", err, errors.Is(err, outside.ErrAbsent), c.text, c.absent)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := dead.Reach(ctx, prometheus.Config{URL: "http://127.0.0.1:1"}); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end: %v", err)
	}
}
