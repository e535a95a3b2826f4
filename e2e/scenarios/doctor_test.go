package scenarios

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serin-cd/serin/e2e/trial"
)

// diagnosed runs doctor on the application, and wants these findings beside those that are ok: LEVEL CHECK, and what
// the text contains.
func (p *play) diagnosed(what string, want map[string]string, args ...string) {
	p.Helper()
	want = maps.Clone(want)
	if want == nil {
		want = map[string]string{}
	}
	want["warning janitor"] = "it is suspended" // as in each scenario that does not need it
	code := 0
	for level := range want {
		if strings.HasPrefix(level, "error ") {
			code = 1
		}
	}
	text := p.tkn(code, append([]string{"doctor", "shop", "-o", "json", "--param", "gateways=public", "--param",
		"hosts=" + p.app.Host, "--param", "interval=" + trial.Interval}, args...)...)
	var all []struct{ Check, Level, Text string }
	if err := json.NewDecoder(strings.NewReader(text)).Decode(&all); err != nil {
		p.Fatalf("%s: %v\n%s", what, err, text)
	}
	found := map[string]bool{}
	for _, f := range all {
		key := f.Level + " " + f.Check
		if f.Level != "ok" && (want[key] == "" || !strings.Contains(f.Text, want[key])) {
			p.Errorf("%s: %s: %s, which is not so", what, key, f.Text)
		}
		found[key] = true
	}
	for key, contained := range want {
		if !found[key] {
			p.Errorf("%s: no %s: %s, in\n%s", what, key, contained, text)
		}
	}
}

// TestDoctor examines a sound application, and then with what is wrong about Prometheus.
func TestDoctor(t *testing.T) {
	p := deploy(t)
	direct := p.app.Sandbox.Prometheus
	p.first(60)
	p.eventually("the proxies are scraped twice", func(trial.State) bool { return p.scraped(direct) >= 30 })
	p.diagnosed("a sound one", nil, "--prometheus-url", direct)

	p.diagnosed("no Prometheus", map[string]string{
		"error prometheus": "namespace istio-system has no Service thanos"},
		"--prometheus-url", "http://thanos.istio-system:9090")
	p.diagnosed("one that does not answer", map[string]string{
		"warning prometheus": "connection refused"}, "--prometheus-url", "http://127.0.0.1:1")
	p.diagnosed("the other reporter", map[string]string{
		"error metrics": "is there by reporter source and destination_service_name"},
		"--prometheus-url", direct, "--param", "reporter=destination")
	p.diagnosed("a check between two scrapes", map[string]string{
		"error scrapes": "the proxies are scraped each 5s, and a run looks each 4s"},
		"--prometheus-url", direct, "--param", "interval=4s")
	p.diagnosed("another clock", map[string]string{
		"warning clocks": "Prometheus's clock is 40s ahead of the API server's"}, "--prometheus-url",
		p.ahead(direct, 40))
	p.diagnosed("no requests of the mesh", map[string]string{
		"error metrics": "Prometheus has no istio_requests_total"}, "--prometheus-url", direct, "--prometheus-matchers",
		`job="kubelet"`)
}

// TestPrometheusFromALaptop asks one by a name of the cluster, and lets an abort wait for what it tells.
func TestPrometheusFromALaptop(t *testing.T) {
	p := deploy(t)
	own := p.prometheus()
	name := p.inCluster(own)
	p.first(60)
	p.eventually("the proxies are scraped twice", func(trial.State) bool { return p.scraped(own.url) >= 30 })
	p.diagnosed("by the proxy", nil, "--prometheus-url", name)
	p.wantText(p.tkn(0, "doctor", "--prometheus-url", name),
		`answers: asked through the API server's proxy to Service `+p.app.Namespace+`-mon/prometheus`)
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("hidden"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.wantText(p.tkn(0, "doctor", "--prometheus-url", name, "--prometheus-token-path", token),
		`answers: asked by a port-forward to Service `+p.app.Namespace+`-mon/prometheus`)

	p.push(trial.V2)
	second := p.startWith("second", map[string]string{"prometheus-url": name})
	p.eventually("the canary has 20 %", func(s trial.State) bool { return s.Weight == 20 })
	p.wantText(p.tkn(0, "abort", "shop", "--wait"),
		`(?s)all traffic to the primary, waiting.*asking Prometheus at `+name+`, as PipelineRun second has it, through `+
			`the API server's proxy.*the canary is at rest`)
	if _, err := second.Wait(p.Context(), 4*time.Minute); err != nil {
		t.Fatal(err)
	}
	p.atRest("the abort")
	p.serves(trial.V1)
	p.nothingLost()
}

// inCluster gives a Prometheus of the node a Service with a pod behind it, as where it runs in the cluster, and returns
// its address there. The pod shares the node's network, and only stands for it.
func (p *play) inCluster(own *prometheus) string {
	p.Helper()
	ctx := context.WithoutCancel(p.Context())
	namespace := p.app.Namespace + "-mon"
	client := p.app.Client.CoreV1()
	if _, err := client.Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}},
		metav1.CreateOptions{}); err != nil {
		p.Fatal(err)
	}
	p.Cleanup(func() {
		if err := client.Namespaces().Delete(ctx, namespace, metav1.DeleteOptions{}); err != nil {
			p.Error(err)
		}
	})
	if _, err := p.app.Kubectl(ctx, fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: {name: prometheus-0, namespace: %[1]s, labels: {app: prometheus}}
spec:
  hostNetwork: true
  containers: [{name: prometheus, image: %[3]s, env: [{name: PORT, value: "0"}]}]
---
apiVersion: v1
kind: Service
metadata: {name: prometheus, namespace: %[1]s}
spec: {selector: {app: prometheus}, ports: [{name: web, port: 9090, targetPort: %[2]s}]}
`, namespace, own.port(), trial.V1.Image()), "apply", "-f", "-", "-n", namespace); err != nil {
		p.Fatal(err)
	}
	return "http://prometheus." + namespace + ":9090"
}

// scraped is how many requests to the application Prometheus knows of twice at least.
func (p *play) scraped(address string) float64 {
	p.Helper()
	query := fmt.Sprintf(`sum(increase(istio_requests_total{destination_service_namespace=%q}[1m]))`, p.app.Namespace)
	answer, err := http.Get(address + "/api/v1/query?query=" + url.QueryEscape(query))
	if err != nil {
		return 0
	}
	defer answer.Body.Close()
	var read struct {
		Data struct {
			Result []struct {
				Value [2]any `json:"value"`
			} `json:"result"`
		} `json:"data"`
	}
	if err := json.NewDecoder(answer.Body).Decode(&read); err != nil || len(read.Data.Result) == 0 {
		return 0
	}
	var n float64
	_, _ = fmt.Sscan(fmt.Sprint(read.Data.Result[0].Value[1]), &n)
	return n
}

// ahead is a Prometheus whose clock is so many seconds ahead.
func (p *play) ahead(address string, seconds int64) string {
	p.Helper()
	to, err := url.Parse(address)
	if err != nil {
		p.Fatal(err)
	}
	pass := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) }}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ParseForm() == nil && r.Form.Get("query") == "time()" {
			at := time.Now().Unix() + seconds
			fmt.Fprintf(w, `{"status":"success","data":{"resultType":"scalar","result":[%d,"%d"]}}`, at, at)
			return
		}
		r.Method, r.ContentLength, r.Body = http.MethodGet, 0, http.NoBody
		r.URL.RawQuery = r.Form.Encode()
		pass.ServeHTTP(w, r)
	}))
	p.Cleanup(server.Close)
	return server.URL
}
