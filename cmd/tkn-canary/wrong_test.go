package main

import (
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/serin-cd/serin/internal/apitest"
	"github.com/serin-cd/serin/internal/releasetest"
	"github.com/serin-cd/serin/pkg/task/failure"
)

// TestKindsThatAreNotInstalled asks a real API server by way of a proxy, which asks it for kinds that there are not.
func TestKindsThatAreNotInstalled(t *testing.T) {
	a := releasetest.Bare(t)
	for group, c := range map[string]struct {
		want     string
		commands []string
	}{
		"tekton.dev": {"Tekton Pipelines is not installed there, or too old: tkn canary doctor says what is missing",
			[]string{"history", "watch shop", "start shop", "explain shop", "logs shop", "rollback shop"}},
		"networking.istio.io": {"Istio is not installed there, or too old: tkn canary doctor says what is missing",
			[]string{"status", "history", "abort shop", "eject shop", "remove shop"}},
	} {
		at := []string{"--kubeconfig", without(t, group), "-n", a.Namespace}
		for _, command := range c.commands {
			_, err := called(t, append(strings.Fields(command), at...)...)
			err = told(root(), err)
			if failure.Code(err) != failure.ExitConfig || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s without %s: error %v, want %q", command, group, err, c.want)
			}
		}
		got, err := called(t, append([]string{"doctor"}, at...)...)
		if failure.Code(err) != failure.ExitError || !strings.Contains(got, "→ install ") {
			t.Errorf("doctor without %s: error %v, want what is missing in\n%s", group, err, got)
		}
	}
}

// without is a kubeconfig of the API server as it is where a group of kinds is not installed.
func without(t *testing.T, group string) string {
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
	proxy := httptest.NewServer(&httputil.ReverseProxy{Transport: through, Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(to)
		path := strings.Replace(r.Out.URL.Path, "/apis/"+group+"/v1", "/apis/"+group+"/v0", 1)
		if definition, ok := strings.CutSuffix(path, "."+group); ok {
			path = definition + ".example.com"
		}
		r.Out.URL.Path = path
	}})
	t.Cleanup(proxy.Close)
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{"proxy": {Server: proxy.URL}},
		Contexts:       map[string]*clientcmdapi.Context{"proxy": {Cluster: "proxy"}},
		CurrentContext: "proxy",
	}, file); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestNamespaceThatIsNot is told by each command that finds nothing there.
func TestNamespaceThatIsNot(t *testing.T) {
	at := []string{"--kubeconfig", apitest.KubeconfigOf(t), "-n", "no-such"}
	for _, command := range []string{"status", "history", "environments", "watch shop", "explain shop", "logs shop",
		"start shop", "rollback shop --param app=shop", "abort shop", "adopt shop", "eject shop", "remove shop"} {
		_, err := called(t, append(strings.Fields(command), at...)...)
		if failure.Code(err) != failure.ExitConfig || !strings.Contains(err.Error(), "there is no namespace no-such") {
			t.Errorf("%s: error %v, want that there is no such namespace", command, err)
		}
	}
}
