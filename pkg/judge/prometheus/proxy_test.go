package prometheus_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/serin-cd/serin/pkg/judge/prometheus"
	"github.com/serin-cd/serin/pkg/task/failure"
)

// TestProxyThatDeniesPOST lets people only read: the query is put by GET.
func TestProxyThatDeniesPOST(t *testing.T) {
	for _, status := range []int{http.StatusForbidden, http.StatusMethodNotAllowed, http.StatusNotImplemented} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			var asked []string
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked = append(asked, r.Method+" "+r.FormValue("query")+" "+r.FormValue("limit"))
				if r.Method == http.MethodPost {
					w.WriteHeader(status)
					return
				}
				_, _ = w.Write([]byte(`{"status":"success","data":{"resultType":"vector","result":[]}}`))
			}))
			defer server.Close()
			_, err := newClient(t, prometheus.Config{URL: server.URL}).Query(t.Context(), `sum(up{job="a b"})`, noon)
			want := []string{`POST sum(up{job="a b"}) 5001`, `GET sum(up{job="a b"}) 5001`}
			if diff := cmp.Diff(want, asked); err != nil || diff != "" {
				t.Errorf("asked (%v, -want +got):\n%s", err, diff)
			}
		})
	}
}

// TestPrometheusThatNobodyVouchesFor is a wrong parameter, and is not asked a second time.
func TestPrometheusThatNobodyVouchesFor(t *testing.T) {
	server := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	begun := time.Now()
	client := newClient(t, prometheus.Config{URL: server.URL}).Retrying(time.Now().Add(time.Minute), realClock{})
	_, err := client.Now(t.Context())
	if failure.Code(err) != failure.ExitConfig || !strings.Contains(err.Error(), "x509") ||
		!strings.Contains(err.Error(), "prometheus-ca-path") || time.Since(begun) > 5*time.Second {
		t.Errorf("error %v (exit %d), want prometheus-ca-path named, exit %d", err, failure.Code(err),
			failure.ExitConfig)
	}
}

type realClock struct{}

func (realClock) Now() time.Time                         { return time.Now() }
func (realClock) After(d time.Duration) <-chan time.Time { return time.After(d) }
