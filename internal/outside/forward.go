package outside

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	discovery "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/streaming/pkg/httpstream"
)

var endpointSlices = schema.GroupVersionResource{Group: discovery.GroupName, Version: "v1",
	Resource: "endpointslices"}

func (s service) slices(ctx context.Context) ([]discovery.EndpointSlice, error) {
	list, err := s.Cluster.Objects(endpointSlices, s.namespace).List(ctx,
		metav1.ListOptions{LabelSelector: discovery.LabelServiceName + "=" + s.name})
	if err != nil {
		return nil, err
	}
	var all []discovery.EndpointSlice
	err = list.EachListItem(func(o runtime.Object) error {
		var slice discovery.EndpointSlice
		err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.(*unstructured.Unstructured).Object, &slice)
		all = append(all, slice)
		return err
	})
	return all, err
}

// forward opens a port of this machine that leads to a pod's, until it is closed.
func (s service) forward(ctx context.Context, pod string, port int32) (address string, closed func(), err error) {
	dial, err := s.dialer(pod)
	if err != nil {
		return "", nil, err
	}
	open, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ready := make(chan struct{})
	f, err := portforward.NewOnAddressesForStreamingWithContext(open, dial, []string{"127.0.0.1"},
		[]string{fmt.Sprintf("0:%d", port)}, ready, io.Discard, io.Discard)
	if err != nil {
		cancel()
		return "", nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- f.ForwardPorts() }()
	select {
	case err = <-ended:
		cancel()
		return "", nil, err
	case <-ctx.Done():
		cancel()
		return "", nil, context.Cause(ctx)
	case <-time.After(limit):
		cancel()
		return "", nil, fmt.Errorf("no connection to pod %s within %s", pod, limit)
	case <-ready:
	}
	ports, err := f.GetPorts()
	if err == nil && len(ports) == 0 {
		err = errors.New("no port was opened")
	}
	if err != nil {
		cancel()
		return "", nil, err
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(int(ports[0].Local))), cancel, nil
}

// dialer connects to a pod as kubectl does: by a websocket, or by SPDY if the server, or a proxy before it, knows none.
func (s service) dialer(pod string) (httpstream.Dialer, error) {
	to, err := s.at("pods", pod, "portforward")
	if err != nil {
		return nil, err
	}
	transport, upgrader, err := spdy.RoundTripperFor(s.Config)
	if err != nil {
		return nil, err
	}
	older := spdy.NewDialerForStreaming(upgrader, &http.Client{Transport: transport}, http.MethodPost, to)
	newer, err := portforward.NewSPDYOverWebsocketDialerForStreaming(to, s.Config)
	if err != nil {
		return nil, err
	}
	return portforward.NewFallbackDialerForStreaming(newer, older, func(err error) bool {
		return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
	}), nil
}

// dialTo connects to one address, whatever is asked for.
func dialTo(address string) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}
}
