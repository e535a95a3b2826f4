package demo

import (
	"bytes"
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/registry"

	"github.com/serin-cd/serin/e2e/sandbox"
	"github.com/serin-cd/serin/e2e/trial"
)

// TestExistingCluster plays in a cluster that is there already: a sandbox, of which the demo is told what it is told of
// any other. It plays the first release, and the whole story where SERIN_DEMO is whole.
func TestExistingCluster(t *testing.T) {
	if testing.Short() || os.Geteuid() != 0 {
		t.Skip("starts a cluster: needs root, and not with -short")
	}
	owner, err := sandbox.Up(t.Context(), sandbox.Options{Name: "ctx-demo", Out: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := owner.Down(); err != nil {
			t.Error(err)
		}
	})
	images := serve(t, owner)
	describe(t, owner, images.host)
	before := objects(t, owner)

	t.Run("plays", func(t *testing.T) {
		played, wants := acts[:1], []string{"initialized"}
		if os.Getenv("SERIN_DEMO") == "whole" {
			played, wants = acts, []string{"initialized", "promoted", "rolled-back"}
		}
		var out bytes.Buffer
		err := play(t.Context(), borrow(t), Options{Out: io.MultiWriter(&out, t.Output()), Interval: trial.Interval},
			played)
		if err != nil {
			t.Fatal(err)
		}
		_, table, _ := strings.Cut(out.String(), "VERSION  ")
		for _, want := range wants {
			if !strings.Contains(table, "  "+want+"  ") {
				t.Errorf("the table has no outcome %s:\n%s", want, table)
			}
		}
		for _, want := range []string{"/prepare-canary/", "/demo-app/"} {
			if read := images.read(); !strings.Contains(read, want) {
				t.Errorf("the node has read no %s from the registry, only\n%s", want, read)
			}
		}
		if diff := cmp.Diff(before, objects(t, owner)); diff != "" {
			t.Errorf("the cluster afterwards (-before +after):\n%s", diff)
		}
	})
	t.Run("leaves nothing where it is interrupted", func(t *testing.T) {
		ctx, interrupt := context.WithCancel(t.Context())
		defer interrupt()
		var out bytes.Buffer
		watched := writer(func(text []byte) (int, error) {
			if bytes.Contains(text, []byte("deployed in namespace serin-demo-")) {
				interrupt()
			}
			return out.Write(text)
		})
		if err := play(ctx, borrow(t), Options{Out: watched, Interval: trial.Interval}, acts[:1]); err == nil ||
			ctx.Err() == nil {
			t.Fatalf("got error %v, interrupted %v, want both\n%s", err, ctx.Err() != nil, &out)
		}
		if diff := cmp.Diff(before, objects(t, owner)); diff != "" {
			t.Errorf("the cluster afterwards (-before +after):\n%s", diff)
		}
	})
}

type writer func([]byte) (int, error)

func (w writer) Write(text []byte) (int, error) { return w(text) }

// describe sets the environment as somebody would for a cluster of theirs.
func describe(t *testing.T, owner *sandbox.Sandbox, registry string) {
	t.Helper()
	bin := t.TempDir()
	kubectl := "#!/bin/sh\nexec " + owner.Kube + " kubectl \"$@\"\n"
	if err := os.WriteFile(filepath.Join(bin, "kubectl"), []byte(kubectl), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	t.Setenv("KUBECONFIG", owner.Kubeconfig)
	t.Setenv("KUBECONTEXT", "serin-sandbox")
	t.Setenv("PROMETHEUS_URL", owner.Facts.Prometheus)
	t.Setenv("GATEWAY_URL", owner.Gateway)
	t.Setenv("KO_DOCKER_REPO", registry+"/serin")
}

// borrow is what the program demo makes of the environment.
func borrow(t *testing.T) *sandbox.Sandbox {
	t.Helper()
	sb, err := sandbox.Up(t.Context(), sandbox.Options{Name: "demo", Out: t.Output(),
		Existing: sandbox.FromEnvironment()})
	if err != nil {
		t.Fatal(err)
	}
	if !sb.Borrowed() {
		t.Fatalf("sandbox %s was started, want the cluster that is there", sb.Name)
	}
	return sb
}

// objects are the names of all that belongs to no namespace.
func objects(t *testing.T, sb *sandbox.Sandbox) []string {
	t.Helper()
	kinds := "namespaces,clusterroles,clusterrolebindings,customresourcedefinitions,persistentvolumes," +
		"priorityclasses,mutatingwebhookconfigurations,validatingwebhookconfigurations," +
		"gateways.networking.istio.io,virtualservices.networking.istio.io"
	out, err := sb.Kubectl(t.Context(), "get", kinds, "--all-namespaces", "-o", "name").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(out))
}

// images is a registry, and what was read from it by the node.
type images struct {
	host string

	mu    sync.Mutex
	paths []string
}

// serve serves a registry to the sandbox's node, on this machine's end of its link.
func serve(t *testing.T, sb *sandbox.Sandbox) *images {
	t.Helper()
	listener, err := net.Listen("tcp", net.JoinHostPort(sb.HostIP, "0"))
	if err != nil {
		t.Fatal(err)
	}
	all := &images{host: listener.Addr().String()}
	if err := sb.AllowRegistry(all.host); err != nil {
		t.Fatal(err)
	}
	store := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	server := &http.Server{ReadHeaderTimeout: time.Minute,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if node, _, _ := net.SplitHostPort(r.RemoteAddr); node == sb.NodeIP && r.Method == http.MethodGet {
				all.mu.Lock()
				all.paths = append(all.paths, r.URL.Path)
				all.mu.Unlock()
			}
			store.ServeHTTP(w, r)
		})}
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		<-done
	})
	return all
}

// read are the paths that the node has asked for, a line each.
func (i *images) read() string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return strings.Join(i.paths, "\n")
}
