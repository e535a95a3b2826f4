package steps_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/serin-cd/serin/internal/apitest"
	"github.com/serin-cd/serin/internal/prometheustest"
)

// scraping has the proxies scraped often, so that scripts need not wait long.
const scraping = `global: {scrape_interval: 500ms, scrape_timeout: 500ms}
scrape_configs:
- job_name: istio-ingressgateway
  metrics_path: /
  static_configs: [{targets: [%q]}]
`

// mesh is a real Prometheus, which scrapes what plays the gateway's proxy for all scripts.
type mesh struct {
	prometheus string // its address

	mu    sync.Mutex
	all   []*proxies
	asked int // by Prometheus
}

// proxies count the requests of one namespace's podinfo.
type proxies struct {
	namespace string

	mu                 sync.Mutex
	goods, bads        float64 // of the canary, a second
	since              time.Time
	primary, good, bad float64 // counted by then
}

func newMesh(t *testing.T) *mesh {
	t.Helper()
	if _, err := exec.LookPath("prometheus"); err != nil {
		t.Skip("prometheus is not installed: on Debian, apt-get install prometheus")
	}
	m := &mesh{}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	proxy := &http.Server{Handler: m, ReadHeaderTimeout: time.Minute}
	go func() { _ = proxy.Serve(listener) }() // until it is closed
	t.Cleanup(func() { proxy.Close() })
	server, err := prometheustest.Serve(t.Context(), t.TempDir(), fmt.Sprintf(scraping, listener.Addr()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	m.prometheus = server.URL
	return m
}

// scraped waits until Prometheus has begun to scrape, which takes it some five seconds.
func (m *mesh) scraped(t *testing.T) {
	t.Helper()
	apitest.Eventually(t, func(context.Context) error {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.asked == 0 {
			return errors.New("Prometheus has not scraped the proxies yet")
		}
		return nil
	})
}

// of are the proxies of a namespace.
func (m *mesh) of(namespace string) *proxies {
	p := &proxies{namespace: namespace, since: time.Now()}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.all = append(m.all, p)
	return p
}

// ServeHTTP answers a scrape.
func (m *mesh) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.asked++
	for _, p := range m.all {
		p.mu.Lock()
		p.count()
		p.write(w, "podinfo-primary", "podinfo-primary", 200, p.primary)
		p.write(w, "podinfo-canary", "podinfo", 200, p.good)
		p.write(w, "podinfo-canary", "podinfo", 503, p.bad)
		p.mu.Unlock()
	}
}

func (p *proxies) write(w http.ResponseWriter, service, workload string, code int, value float64) {
	fmt.Fprintf(w, `istio_requests_total{reporter="source",source_workload="istio-ingressgateway",`+
		`destination_service_namespace="%s",destination_service_name="%s",`+
		`destination_workload_namespace="%[1]s",destination_workload="%[3]s",response_code="%[4]d"} %[5]f`+"\n",
		p.namespace, service, workload, code, value)
}

// count brings the counters to now: the primary answers forty requests a second.
func (p *proxies) count() {
	now := time.Now()
	seconds := now.Sub(p.since).Seconds()
	p.since = now
	p.primary += 40 * seconds
	p.good += p.goods * seconds
	p.bad += p.bads * seconds
}

// send has the canary answer so many good and bad requests a second from now on.
func (p *proxies) send(good, bad float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.count()
	p.goods, p.bads = good, bad
}
