package mesh_test

import (
	"net/http"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"

	"github.com/serin-cd/serin/internal/apitest"
	"github.com/serin-cd/serin/internal/releasetest"
	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/cluster/mesh"
	"github.com/serin-cd/serin/pkg/cluster/workload"
)

func TestMain(m *testing.M) { apitest.Main(m) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// place is the application podinfo in a namespace of its own.
type place struct {
	t        *testing.T
	app      application.Application
	services corev1client.ServiceInterface
}

func newPlace(t *testing.T) place {
	t.Helper()
	namespace := apitest.Namespace(t)
	app := application.Application{Namespace: namespace, Name: "podinfo"}
	return place{t, app, apitest.Client(t).CoreV1().Services(namespace)}
}

// cluster is reached with a configuration that was changed.
func (p place) cluster(changes ...func(*rest.Config)) *kube.Cluster {
	p.t.Helper()
	config := apitest.Config(p.t)
	for _, change := range changes {
		change(config)
	}
	cluster, err := kube.New(config)
	must(p.t, err)
	return cluster
}

// through has each request go through a transport.
func through(wrap func(http.RoundTripper) http.RoundTripper) func(*rest.Config) {
	return func(config *rest.Config) { config.Wrap(wrap) }
}

// nobody is an account without a role.
func nobody(config *rest.Config) { config.Impersonate = rest.ImpersonationConfig{UserName: "nobody"} }

func (p place) of(changes ...func(*rest.Config)) mesh.Services {
	return mesh.Services{Objects: p.cluster(changes...).Objects(kube.Services, p.app.Namespace), App: p.app}
}

// make makes a Service as Helm does: with two ports, one of which has a port on each node, and with things of its own.
func (p place) make(name string, selector map[string]string) {
	p.t.Helper()
	service := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"team": "web"}},
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeNodePort, Selector: selector, SessionAffinity: corev1.ServiceAffinityClientIP,
			Ports: []corev1.ServicePort{
				{Name: "http", Port: 80, TargetPort: intstr.FromString("web")},
				{Name: "grpc", Port: 9999, TargetPort: intstr.FromInt32(9999)},
			},
		},
	}
	_, err := p.services.Create(p.t.Context(), service, metav1.CreateOptions{FieldManager: "helm"})
	must(p.t, err)
}

func (p place) service(name string) *corev1.Service {
	p.t.Helper()
	found, err := p.services.Get(p.t.Context(), name, metav1.GetOptions{})
	must(p.t, err)
	return found
}

// write changes a Service as some field manager.
func (p place) write(name, manager, operations string) {
	p.t.Helper()
	as := metav1.PatchOptions{FieldManager: manager}
	_, err := p.services.Patch(p.t.Context(), name, types.JSONPatchType, []byte(operations), as)
	must(p.t, err)
}

var (
	primary = map[string]string{"app": "podinfo-primary"}
	target  = map[string]string{"app": "podinfo"}
	port80  = mesh.Shape{Ports: []any{map[string]any{"name": "http", "port": int64(80), "targetPort": int64(9898)}}}
)

// before calls do before the first request of a method.
func before(method string, do func() error) func(*rest.Config) {
	done := false
	return through(releasetest.Before(func(r *http.Request) error {
		if done || r.Method != method {
			return nil
		}
		done = true
		return do()
	}))
}

// deployment is a target whose container has these ports.
func deployment(ports ...int32) *workload.Deployment {
	d := &workload.Deployment{}
	d.Name = "podinfo"
	container := workload.Container{Name: "podinfo"}
	for _, n := range ports {
		container.Ports = append(container.Ports, workload.Port{ContainerPort: n, Protocol: "TCP"})
	}
	d.Spec.Template.Spec.Containers = []workload.Container{{Name: "proxy"}, container}
	return d
}
