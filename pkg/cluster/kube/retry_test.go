package kube_test

import (
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

// TestListIsReadAgain while the server is busy, and not once it has refused.
func TestListIsReadAgain(t *testing.T) {
	answers := []int{http.StatusServiceUnavailable, http.StatusOK, http.StatusForbidden}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(answers[0])
		if answers[0] == http.StatusOK {
			io.WriteString(w, `{"apiVersion": "v1", "kind": "ServiceList", "items": [{"metadata": {"name": "shop"}}]}`)
		}
		answers = answers[1:]
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
	if !apierrors.IsForbidden(err) || len(answers) > 0 {
		t.Errorf("error %v with %d answers left, want the refusal", err, len(answers))
	}
}
