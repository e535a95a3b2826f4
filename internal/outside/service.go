package outside

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"

	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/judge/prometheus"
)

// service is the Service in front of a Prometheus.
type service struct {
	Machine

	scheme, name, namespace, port string
}

// String is its name, as texts have it.
func (s service) String() string { return s.namespace + "/" + s.name }

// exists is ErrAbsent where nothing can answer. Where that may not be read, ways are tried all the same.
func (s service) exists(ctx context.Context) error {
	_, _, err := s.endpoint(ctx)
	if apierrors.IsForbidden(err) || errors.Is(err, errPodless) {
		return nil
	}
	return err
}

// ways lead through the API server. Its proxy keeps tokens to itself.
func (s service) ways(config prometheus.Config) []way {
	proxied := way{"through the API server's proxy to Service " + s.String(),
		func(context.Context) (*prometheus.Client, func(), error) { return s.proxied(config) }}
	forwarded := way{"by a port-forward to Service " + s.String(),
		func(ctx context.Context) (*prometheus.Client, func(), error) { return s.forwarded(ctx, config) }}
	if config.TokenPath != "" {
		return []way{forwarded}
	}
	return []way{proxied, forwarded}
}

// proxied asks by the API server's proxy.
func (s service) proxied(config prometheus.Config) (*prometheus.Client, func(), error) {
	base, err := s.at("services", s.scheme+":"+s.name+":"+s.port, "proxy")
	if err != nil {
		return nil, nil, err
	}
	transport, err := rest.TransportFor(s.Config)
	if err != nil {
		return nil, nil, err
	}
	client, err := prometheus.Over(config, proxy{transport, base})
	return client, func() {}, err
}

// at is a place of the API server, below the namespace.
func (s service) at(path ...string) (*url.URL, error) {
	server, _, err := rest.DefaultServerUrlFor(s.Config)
	if err != nil {
		return nil, err
	}
	if server.Path == "" {
		server.Path = "/"
	}
	return server.JoinPath(append([]string{"api/v1/namespaces", s.namespace}, path...)...), nil
}

// proxy sends what is for a Service to the API server.
type proxy struct {
	http.RoundTripper
	base *url.URL
}

// RoundTrip implements http.RoundTripper.
func (p proxy) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	to := p.base.JoinPath(r.URL.Path)
	to.RawQuery = r.URL.RawQuery
	r.URL, r.Host = to, ""
	return p.RoundTripper.RoundTrip(r)
}

// forwarded asks by a port-forward to a pod behind the Service.
func (s service) forwarded(ctx context.Context, config prometheus.Config) (*prometheus.Client, func(), error) {
	pod, port, err := s.endpoint(ctx)
	if err != nil {
		return nil, nil, err
	}
	transport, err := config.Transport()
	if err != nil {
		return nil, nil, err
	}
	address, closed, err := s.forward(ctx, pod, port)
	if err != nil {
		return nil, nil, err
	}
	transport.Proxy = nil
	transport.DialContext = dialTo(address)
	client, err := prometheus.Over(config, transport)
	if err != nil {
		closed()
		return nil, nil, err
	}
	return client, func() { transport.CloseIdleConnections(); closed() }, nil
}

// errPodless means that addresses which are no pods' stand behind a Service.
var errPodless = errors.New("no pod stands behind it")

// endpoint is a pod behind the Service that is ready, and the port that it listens at.
func (s service) endpoint(ctx context.Context) (pod string, port int32, err error) {
	name, err := s.portName(ctx)
	if err != nil {
		return "", 0, err
	}
	slices, err := s.slices(ctx)
	if err != nil {
		return "", 0, err
	}
	err = fmt.Errorf("%w: Service %s: no ready pod, or other address, stands behind it", ErrAbsent, s)
	for _, slice := range slices {
		for _, p := range slice.Ports {
			if p.Port == nil || ptr.Deref(p.Name, "") != name {
				continue
			}
			for _, e := range slice.Endpoints {
				switch {
				case !ptr.Deref(e.Conditions.Ready, true):
				case e.TargetRef != nil && e.TargetRef.Kind == "Pod":
					return e.TargetRef.Name, *p.Port, nil
				default:
					err = errPodless
				}
			}
		}
	}
	return "", 0, err
}

// portName is the name of the Service's port, by which EndpointSlices know it.
func (s service) portName(ctx context.Context) (string, error) {
	object, err := s.Cluster.Objects(kube.Services, s.namespace).Get(ctx, s.name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return "", fmt.Errorf("%w: namespace %s has no Service %s", ErrAbsent, s.namespace, s.name)
	}
	if err != nil {
		return "", err
	}
	var read corev1.Service
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &read); err != nil {
		return "", err
	}
	var has []string
	for _, p := range read.Spec.Ports {
		if strconv.Itoa(int(p.Port)) == s.port {
			return p.Name, nil
		}
		has = append(has, strconv.Itoa(int(p.Port)))
	}
	return "", fmt.Errorf("%w: Service %s has no port %s, but %s", ErrAbsent, s.name, s.port,
		strings.Join(has, ", "))
}
