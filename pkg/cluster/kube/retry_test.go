package kube_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

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
