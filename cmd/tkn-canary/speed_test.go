package main

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"github.com/serin-cd/serin/internal/apitest"
	"github.com/serin-cd/serin/internal/releasetest"
	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/kube"
)

// counted is a kubeconfig that leads to the API server by a proxy, which counts the requests.
func counted(t *testing.T) (kubeconfig string, calls *atomic.Int32) {
	t.Helper()
	config := apitest.Config(t)
	through, err := rest.TransportFor(config)
	if err != nil {
		t.Fatal(err)
	}
	to, err := url.Parse(config.Host)
	if err != nil {
		t.Fatal(err)
	}
	calls = &atomic.Int32{}
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		forward := httputil.NewSingleHostReverseProxy(to)
		forward.Transport = through
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(proxy.Close)
	written := api.NewConfig()
	written.Clusters["proxy"] = &api.Cluster{Server: proxy.URL}
	written.Contexts["proxy"] = &api.Context{Cluster: "proxy"}
	written.CurrentContext = "proxy"
	kubeconfig = filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*written, kubeconfig); err != nil {
		t.Fatal(err)
	}
	return kubeconfig, calls
}

// TestStatusOfMany shows 200 applications in a handful of calls. How long it takes `make bench` prints.
func TestStatusOfMany(t *testing.T) {
	const many, namespaces, most = 200, 4, 5
	kubeconfig, calls := counted(t)
	cluster, err := kube.New(apitest.Config(t))
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for range namespaces {
		app := application.Application{Namespace: apitest.Namespace(t)}
		for i := range many / namespaces {
			app.Name = fmt.Sprintf("app-%d", i)
			if _, err := releasetest.Released(t.Context(), cluster, app); err != nil {
				t.Fatal(err)
			}
			want = append(want, fmt.Sprintf("%s %s podinfo:1 podinfo:2 20 %% shifting", app.Namespace, app.Name))
		}
	}
	var out bytes.Buffer
	cmd := root()
	cmd.SetArgs([]string{"status", "-A", "--kubeconfig", kubeconfig})
	cmd.SetOut(&out)
	if err := cmd.ExecuteContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	var rows []string
	for row := range strings.Lines(out.String()) {
		rows = append(rows, strings.Join(strings.Fields(row), " "))
	}
	shown := strings.Join(rows, "\n")
	for _, row := range want {
		if !strings.Contains(shown, "\n"+row+" ") {
			t.Errorf("no row %q in:\n%.2000s", row, shown)
			break
		}
	}
	if n := calls.Load(); n > most {
		t.Errorf("%d requests, want at most %d", n, most)
	}
}
