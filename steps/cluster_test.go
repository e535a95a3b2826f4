package steps_test

import (
	"fmt"
	"io"
	"maps"
	"net"
	"net/url"
	"path/filepath"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/client-go/util/jsonpath"

	"github.com/serin-cd/serin/internal/apitest"
	"github.com/serin-cd/serin/pkg/cluster/kube"
)

// resources are what scripts look at.
var resources = map[string]schema.GroupVersionResource{
	"deployments": kube.Deployments, "services": kube.Services, "leases": kube.Leases,
	"configmaps": kube.ConfigMaps, "events": kube.Events,
	"pipelineruns":             kube.PipelineRuns,
	"horizontalpodautoscalers": kube.HPAs, "scaledobjects": kube.ScaledObjects,
	"virtualservices":  {Group: "networking.istio.io", Version: "v1", Resource: "virtualservices"},
	"destinationrules": {Group: "networking.istio.io", Version: "v1", Resource: "destinationrules"},
}

// objects are the versions of what a program may change, but for the Lease, which each step renews, and events, which
// may be told again. The status of a Deployment is its controller's.
func (s *theatre) objects(ts *testscript.TestScript) map[string]string {
	all := map[string]string{}
	for name, resource := range resources {
		list, err := s.app.Cluster.Objects(resource, s.app.Namespace).List(s.t.Context(), metav1.ListOptions{})
		ts.Check(err)
		for _, o := range list.Items {
			key := name + "/" + o.GetName()
			switch name {
			case "leases", "events":
			case "deployments":
				all[key] = fmt.Sprint(o.GetGeneration(), o.GetAnnotations())
			default:
				all[key] = o.GetResourceVersion()
			}
		}
	}
	return all
}

func equal(a, b map[string]string) bool { return maps.Equal(a, b) }

// changed are the names under which two maps differ.
func changed(a, b map[string]string) []string {
	var names []string
	for name := range a {
		if a[name] != b[name] {
			names = append(names, name)
		}
	}
	for name := range b {
		if _, both := a[name]; !both {
			names = append(names, name)
		}
	}
	return names
}

func (s *theatre) get(ts *testscript.TestScript, _ bool, args []string) {
	resource, ok := resources[args[0]]
	if !ok {
		ts.Fatalf("resource %s is not known here", args[0])
	}
	objects := s.app.Cluster.Objects(resource, s.app.Namespace)
	var found map[string]any
	if len(args) == 3 {
		object, err := objects.Get(s.t.Context(), args[1], metav1.GetOptions{})
		ts.Check(err)
		found = object.Object
	} else {
		list, err := objects.List(s.t.Context(), metav1.ListOptions{})
		ts.Check(err)
		found = list.UnstructuredContent()
	}
	path := jsonpath.New(args[0])
	ts.Check(path.Parse(args[len(args)-1]))
	ts.Check(path.Execute(ts.Stdout(), found))
}

// way leads from a script's programs to the API server.
type way struct {
	address string
	server  string

	mu    sync.Mutex
	shut  bool
	tried int
	open  map[net.Conn]bool
}

func newWay(t *testing.T) *way {
	t.Helper()
	server, err := url.Parse(apitest.Config(t).Host)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &way{address: listener.Addr().String(), server: server.Host, open: map[net.Conn]bool{}}
	t.Cleanup(func() { listener.Close(); w.cut(true) })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return // closed: the test has ended
			}
			go w.lead(conn)
		}
	}()
	return w
}

// lead carries bytes both ways, until one end has no more.
func (w *way) lead(from net.Conn) {
	defer from.Close()
	to, err := net.Dial("tcp", w.server)
	if err != nil {
		return
	}
	defer to.Close()
	if !w.enter(from) {
		return
	}
	go func() {
		_, _ = io.Copy(to, from) // whatever ends it ends the connection
		to.Close()
	}()
	_, _ = io.Copy(from, to)
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.open, from)
}

func (w *way) enter(conn net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.shut {
		w.tried++
		return false
	}
	w.open[conn] = true
	return true
}

// cut ends all connections and lets none through, or lets them through again.
func (w *way) cut(shut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.shut, w.tried = shut, 0
	for conn := range w.open {
		conn.Close()
	}
	clear(w.open)
}

// tries is how many connections were refused since the way was cut.
func (w *way) tries() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.tried
}

// kubeconfig is a file that leads along this way.
func (w *way) kubeconfig(t *testing.T) string {
	t.Helper()
	config, file := apitest.Config(t), filepath.Join(t.TempDir(), "kubeconfig")
	cluster := clientcmdapi.Cluster{Server: "https://" + w.address, CertificateAuthorityData: config.CAData}
	err := clientcmd.WriteToFile(clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{"test": &cluster},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{"test": {Token: config.BearerToken}},
		Contexts:       map[string]*clientcmdapi.Context{"test": {Cluster: "test", AuthInfo: "test"}},
		CurrentContext: "test",
	}, file)
	if err != nil {
		t.Fatal(err)
	}
	return file
}
