package apitest

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Logs makes a pod with containers of these names, on a node of its own whose kubelet serves what is written to each as
// its log, until it is closed.
func Logs(t testing.TB, namespace, pod string, containers ...string) map[string]*io.PipeWriter {
	t.Helper()
	readers, writers := map[string]*io.PipeReader{}, map[string]*io.PipeWriter{}
	for _, name := range containers {
		readers[name], writers[name] = io.Pipe()
	}
	kubelet := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		at := strings.LastIndex(r.URL.Path, "/")
		log := readers[r.URL.Path[at+1:]]
		if log == nil {
			http.NotFound(w, r)
			return
		}
		_ = http.NewResponseController(w).Flush()
		_, _ = io.Copy(flushed{w}, log)
	}))
	t.Cleanup(func() {
		for _, w := range writers {
			w.Close()
		}
		kubelet.Close()
	})
	client := Client(t)
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: namespace + "-" + pod}}
	made, err := client.CoreV1().Nodes().Create(t.Context(), node, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = client.CoreV1().Nodes().Delete(context.WithoutCancel(t.Context()), node.Name, metav1.DeleteOptions{})
	})
	host, port, err := net.SplitHostPort(kubelet.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	number, err := strconv.ParseInt(port, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	made.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: host}}
	made.Status.DaemonEndpoints.KubeletEndpoint.Port = int32(number)
	if _, err := client.CoreV1().Nodes().UpdateStatus(t.Context(), made, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: pod}, Spec: corev1.PodSpec{NodeName: node.Name}}
	for _, name := range containers {
		p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: name, Image: "example.test/step"})
	}
	if _, err := client.CoreV1().Pods(namespace).Create(t.Context(), p, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	return writers
}

// flushed sends what is written at once.
type flushed struct{ http.ResponseWriter }

func (f flushed) Write(b []byte) (int, error) {
	n, err := f.ResponseWriter.Write(b)
	if err == nil {
		err = http.NewResponseController(f.ResponseWriter).Flush()
	}
	return n, err
}
