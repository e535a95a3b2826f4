package kube_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/serin-cd/serin/pkg/cluster/kube"
)

// TestServerThatNobodyVouchesFor is told at once: another try would find the same certificate.
func TestServerThatNobodyVouchesFor(t *testing.T) {
	server := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	server.Config.ErrorLog = nil
	cluster, err := kube.New(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	_, err = cluster.Objects(kube.Services, "shop").Get(t.Context(), "shop", metav1.GetOptions{})
	if err == nil || !strings.Contains(err.Error(), "x509") || kube.Transient(err) ||
		time.Since(begun) > 5*time.Second {
		t.Errorf("error %v, transient %v, want one of the certificate that is final", err, kube.Transient(err))
	}
}

// TestImpatient gives up on a server that has never answered, not on one that is away meanwhile.
func TestImpatient(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	config := &rest.Config{Host: server.URL}
	kube.Impatient(config)
	cluster, err := kube.New(config)
	if err != nil {
		t.Fatal(err)
	}
	get := func() error {
		_, err := cluster.Objects(kube.Pipelines, "shop").Get(t.Context(), "canary", metav1.GetOptions{})
		return err
	}
	if err := get(); !apierrors.IsNotFound(err) || kube.Transient(err) || kube.Unserved(err) != "tekton.dev" {
		t.Errorf("error %v, want that tekton.dev is not installed", err)
	}
	server.Close()
	if err := get(); !kube.Transient(err) {
		t.Errorf("error %v of a server that has answered, want it tried again", err)
	}
	kube.Impatient(config)
	if cluster, err = kube.New(config); err != nil {
		t.Fatal(err)
	}
	var unreached *kube.Unreached
	if err := get(); !errors.As(err, &unreached) || kube.Transient(err) {
		t.Errorf("error %v of a server that has never answered, want it final", err)
	}
}

// TestListIsReadAgain while the server is busy, and not once it has refused.
func TestListIsReadAgain(t *testing.T) {
	calls := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch calls++; calls {
		case 1:
			w.WriteHeader(http.StatusServiceUnavailable)
			io.WriteString(w, `{"apiVersion": "v1", "kind": "Status", "status": "Failure", "reason": "ServiceUnavailable", "code": 503}`)
		case 2:
			io.WriteString(w, `{"apiVersion": "v1", "kind": "ServiceList", "items": [{"metadata": {"name": "shop"}}]}`)
		default:
			w.WriteHeader(http.StatusForbidden)
			io.WriteString(w, `{"apiVersion": "v1", "kind": "Status", "status": "Failure", "reason": "Forbidden", "code": 403}`)
		}
	}))
	t.Cleanup(server.Close)
	cluster, err := kube.New(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	all, err := kube.List(t.Context(), cluster.Objects(kube.Services, "shop"), metav1.ListOptions{})
	if err != nil || len(all.Items) != 1 || all.Items[0].GetName() != "shop" {
		t.Errorf("%v (%v), want the Service shop", all, err)
	}
	_, err = kube.List(t.Context(), cluster.Objects(kube.Services, "shop"), metav1.ListOptions{})
	if !apierrors.IsForbidden(err) || calls != 3 {
		t.Errorf("error %v after %d calls, want the refusal after 3", err, calls)
	}
}
