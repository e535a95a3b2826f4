package doctor_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/serin-cd/serin/internal/prometheustest"
)

// monitoring is a Prometheus that has scraped the proxies of podinfo, in namespaces in which it did so in another way.
type monitoring struct{ url *url.URL }

// The namespaces.
const (
	sound     = "sound"     // each 15 s, by both reporters
	slow      = "slow"      // each 45 s
	waypoints = "waypoints" // by another reporter
	uncoded   = "uncoded"   // without response_code
	unplaced  = "unplaced"  // without the label of the namespace
	idle      = "idle"      // no request is new
	silent    = "silent"    // not at all
)

func monitor(t *testing.T) monitoring {
	t.Helper()
	now := time.Now().Truncate(time.Second)
	var all []prometheustest.Series
	add := func(namespace string, gap time.Duration, growth float64, labels string) {
		for _, of := range []struct{ service, workload string }{
			{"podinfo", "podinfo"}, {"podinfo-primary", "podinfo-primary"}, {"podinfo-canary", "podinfo"},
		} {
			text := fmt.Sprintf(`istio_requests_total{%s,destination_service_name="%s",destination_workload="%s"`, labels,
				of.service, of.workload)
			if namespace == unplaced {
				text += `,mesh="two"`
			} else {
				text += fmt.Sprintf(`,mesh="one",destination_service_namespace="%[1]s",destination_workload_namespace="%[1]s"`, namespace)
			}
			// on until all tests have ended
			from, to := now.Add(-20*time.Minute), now.Add(20*time.Minute)
			all = append(all, prometheustest.Steady(text+"}", from, to, gap, 10, growth))
		}
	}
	add(sound, 15*time.Second, 30, `reporter="source",response_code="200"`)
	add(sound, 15*time.Second, 30, `reporter="destination",response_code="200"`)
	add(slow, 45*time.Second, 30, `reporter="source",response_code="200"`)
	add(waypoints, 15*time.Second, 30, `reporter="waypoint",response_code="200"`)
	add(uncoded, 15*time.Second, 30, `reporter="source"`)
	add(unplaced, 15*time.Second, 30, `reporter="source",response_code="200"`)
	add(idle, 15*time.Second, 0, `reporter="source",response_code="200"`)
	address, err := url.Parse(prometheustest.Start(t, all...))
	must(t, err)
	return monitoring{address}
}

// of is its address for a test's namespace, which it takes for one of its own. Its clock may be ahead.
func (m monitoring) of(t *testing.T, namespace, known string, ahead time.Duration) string {
	t.Helper()
	pass := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(m.url) }}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		if r.Form.Get("query") == "time()" && ahead != 0 {
			at := time.Now().Add(ahead).Unix()
			fmt.Fprintf(w, `{"status":"success","data":{"resultType":"scalar","result":[%d,"%d"]}}`, at, at)
			return
		}
		r.Method, r.ContentLength, r.Body = http.MethodGet, 0, http.NoBody
		r.URL.RawQuery = strings.ReplaceAll(r.Form.Encode(), namespace, known)
		pass.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL
}
