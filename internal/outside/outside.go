// Package outside asks the Prometheus of a cluster from a machine that is not in it.
package outside

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"k8s.io/client-go/rest"

	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/judge/prometheus"
)

// limit is how long one way may take to answer.
const limit = 5 * time.Second

// ErrAbsent means that the cluster has no Prometheus at an address of its own.
var ErrAbsent = errors.New("no such Prometheus")

// Machine is where somebody sits who has a kubeconfig.
type Machine struct {
	Cluster   *kube.Cluster
	Config    *rest.Config // of the same cluster
	Namespace string       // in which a name without one is meant
}

// Reached is a Prometheus that has answered.
type Reached struct {
	*prometheus.Client
	Way string // in words

	close func()
}

// Close gives up the way to it.
func (r *Reached) Close() { r.close() }

// way is one in which a Prometheus may be reached.
type way struct {
	name string
	open func(context.Context) (*prometheus.Client, func(), error)
}

// Reach finds the first way in which a Prometheus answers. A name that a Service of the cluster has is asked through
// the API server, by its proxy and then by a port-forward; all else, and that too in the end, as it stands. The error
// says what came of each way.
func (m Machine) Reach(ctx context.Context, config prometheus.Config) (*Reached, error) {
	if _, err := prometheus.New(config); err != nil {
		return nil, err
	}
	ways := []way{{"directly", func(context.Context) (*prometheus.Client, func(), error) {
		client, err := prometheus.New(config)
		return client, func() {}, err
	}}}
	var absent error
	var failed []string
	if s, ok := m.service(config.URL); ok {
		absent = s.exists(ctx)
		switch {
		case absent == nil:
			ways = append(s.ways(config), ways...)
		case !errors.Is(absent, ErrAbsent):
			failed = append(failed, fmt.Sprintf("looking for Service %s: %s", s, absent))
		}
	}
	for _, w := range ways {
		reached, err := w.try(ctx)
		if err == nil {
			return reached, nil
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		failed = append(failed, fmt.Sprintf("%s: %s", w.name, err))
	}
	if errors.Is(absent, ErrAbsent) {
		return nil, absent
	}
	return nil, fmt.Errorf("reaching Prometheus at %s from here: %s", config.URL, strings.Join(failed, "; "))
}

// try asks for the time, which only Prometheus tells.
func (w way) try(ctx context.Context) (*Reached, error) {
	client, closed, err := w.open(ctx)
	if err != nil {
		return nil, err
	}
	asking, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("no answer within %s", limit))
	defer cancel()
	if _, err = client.Now(asking); err != nil {
		closed()
		return nil, err
	}
	return &Reached{Client: client, Way: w.name, close: closed}, nil
}

// service is the Service that an address names, if it has the form of one.
func (m Machine) service(address string) (service, bool) {
	u, err := url.Parse(address)
	if err != nil {
		return service{}, false
	}
	s := service{Machine: m, scheme: u.Scheme, name: u.Hostname(), namespace: m.Namespace, port: u.Port()}
	if s.port == "" {
		s.port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	labels := strings.Split(strings.TrimSuffix(u.Hostname(), "."), ".")
	switch {
	case len(labels) == 2, len(labels) > 2 && labels[2] == "svc":
		s.name, s.namespace = labels[0], labels[1]
	case len(labels) != 1 || labels[0] == "localhost" || net.ParseIP(u.Hostname()) != nil:
		return s, false
	}
	return s, true
}
