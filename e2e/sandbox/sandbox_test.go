package sandbox_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	istio "istio.io/client-go/pkg/clientset/versioned"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serin-cd/serin/e2e/load"
	"github.com/serin-cd/serin/e2e/sandbox"
)

func needsCluster(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a cluster: not with -short")
	}
	if os.Geteuid() != 0 {
		t.Skip("starts a cluster: needs root")
	}
}

// bring starts a sandbox that ends with the test.
func bring(t *testing.T, o sandbox.Options) *sandbox.Sandbox {
	t.Helper()
	o.Out = t.Output()
	s, err := sandbox.Up(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Down(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// eventually tries until there is no error, for as long as a slow machine may need.
func eventually(t *testing.T, what string, try func() error) {
	t.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	for {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", what, err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// TestSandbox goes through what a release needs, in one sandbox, and ends it.
func TestSandbox(t *testing.T) {
	needsCluster(t)
	ctx := t.Context()
	before := snapshot(t)
	s := bring(t, sandbox.Options{Name: "go-test"})

	if _, err := sandbox.Up(ctx, sandbox.Options{Name: "go-test"}); err == nil {
		t.Fatal("a second sandbox of the same name was started")
	}
	apply(t, s, "testdata/weighted.yaml")
	eventually(t, "the gateway to serve", func() error {
		return served(ctx, s.Gateway, "app.example.com")
	})

	t.Run("weights are obeyed and seen by Prometheus", func(t *testing.T) { weights(t, s) })
	t.Run("a weight that is written moves the traffic", func(t *testing.T) { shift(t, s) })
	t.Run("a TaskRun reaches Services by name in a restricted namespace", func(t *testing.T) { taskRun(t, s) })
	t.Run("components stop and come back", func(t *testing.T) { restart(t, s) })
	t.Run("istiod validates what is stored", func(t *testing.T) { validated(t, s) })
	t.Run("the audit log tells who called", func(t *testing.T) { audited(t, s) })
	t.Run("a second one runs beside it", func(t *testing.T) { beside(t, s) })

	if err := s.Down(); err != nil {
		t.Fatal(err)
	}
	if err := s.Down(); err != nil {
		t.Errorf("ending it twice: %v", err)
	}
	compare(t, before)
}

func apply(t *testing.T, s *sandbox.Sandbox, file string) {
	t.Helper()
	manifest, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Apply(t.Context(), manifest); err != nil {
		t.Fatal(err)
	}
}

// served tells whether the host is answered by the application, for many requests in a row: a new route reaches the
// gateway before the last endpoint does.
func served(ctx context.Context, gateway, host string) error {
	for range 30 {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, gateway, nil)
		if err != nil {
			return err
		}
		req.Host = host
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		res.Body.Close()
		if res.Header.Get("X-Version") == "" {
			return fmt.Errorf("answered by the gateway itself: %s", res.Status)
		}
	}
	return nil
}

func weights(t *testing.T, s *sandbox.Sandbox) {
	report, err := load.Run(t.Context(), load.Options{URL: s.Gateway, Host: "app.example.com", Rate: 200,
		Duration: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	total, canary := report.Total, report.Total.Versions["4.0.0-errors"]
	// A load that falls behind at its very end sends a few less.
	if total.Requests < 980 || total.Versions["1.0.0"].Failed != 0 {
		t.Errorf("got %+v, want about 1000 answers, none of the primary's a failure", total)
	}
	// 4 standard deviations about 20 %
	if share := float64(canary.Requests) / float64(total.Requests); share < 0.15 || share > 0.25 {
		t.Errorf("got %.1f%% of requests to the canary, want about 20%%", 100*share)
	}
	if third := canary.Requests / 3; canary.Failed < third-1 || canary.Failed > third+1 {
		t.Errorf("got %d failures among %d answers of the canary, want every third", canary.Failed, canary.Requests)
	}
	eventually(t, "Prometheus to have seen the canary's answers", func() error {
		n, err := query(t.Context(), s.Facts.Prometheus,
			`sum(istio_requests_total{reporter="source",destination_workload="app",destination_workload_namespace="weighted"})`)
		if err == nil && n < float64(canary.Requests) {
			err = fmt.Errorf("it has %v, want %d", n, canary.Requests)
		}
		return err
	})
	failed, err := query(t.Context(), s.Facts.Prometheus,
		`sum(istio_requests_total{destination_workload="app",response_code="500"})`)
	if err != nil || failed < float64(canary.Failed) {
		t.Errorf("got %v failures of the canary in Prometheus (%v), want %d or more", failed, err, canary.Failed)
	}
	eventually(t, "Prometheus to tell the primary's latency, by two scrapes", func() error {
		_, err := query(t.Context(), s.Facts.Prometheus,
			`histogram_quantile(0.99, sum(rate(istio_request_duration_milliseconds_bucket{destination_workload="app-primary"}[1m])) by (le))`)
		return err
	})
}

// query is one number from Prometheus.
func query(ctx context.Context, prometheus, promql string) (float64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet,
		prometheus+"/api/v1/query?query="+url.QueryEscape(promql), nil)
	if err != nil {
		return 0, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	var answer struct {
		Data struct{ Result []struct{ Value [2]any } }
	}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		return 0, err
	}
	if len(answer.Data.Result) == 0 {
		return 0, fmt.Errorf("no series for %s", promql)
	}
	return strconv.ParseFloat(answer.Data.Result[0].Value[1].(string), 64)
}

func shift(t *testing.T, s *sandbox.Sandbox) {
	ctx := t.Context()
	config, err := s.REST()
	if err != nil {
		t.Fatal(err)
	}
	mesh, err := istio.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	services := mesh.NetworkingV1().VirtualServices("weighted")
	vs, err := services.Get(ctx, "app", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	vs.Spec.Http[0].Route[0].Weight, vs.Spec.Http[0].Route[1].Weight = 0, 100
	if _, err := services.Update(ctx, vs, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	written := time.Now()
	eventually(t, "all traffic to go to the canary", func() error {
		report, err := load.Run(ctx, load.Options{URL: s.Gateway, Host: "app.example.com", Rate: 100,
			Duration: 200 * time.Millisecond})
		if err == nil && report.Total.Versions["4.0.0-errors"].Requests != report.Total.Requests {
			err = fmt.Errorf("got %+v", report.Total.Versions)
		}
		return err
	})
	t.Logf("obeyed after less than %s", time.Since(written).Round(10*time.Millisecond))
}

func taskRun(t *testing.T, s *sandbox.Sandbox) {
	created := time.Now()
	apply(t, s, "testdata/taskrun.yaml")
	out, err := s.Kubectl(t.Context(), "--namespace=weighted", "wait", "--for=condition=Succeeded", "--timeout=60s",
		"taskrun/ask").CombinedOutput()
	if err != nil {
		state, _ := s.Kubectl(t.Context(), "--namespace=weighted", "get", "taskrun,pod", "-o", "yaml").CombinedOutput()
		t.Fatalf("%v: %s\n%s", err, out, state)
	}
	t.Logf("took %s", time.Since(created).Round(100*time.Millisecond))
}

func restart(t *testing.T, s *sandbox.Sandbox) {
	ctx := t.Context()
	state := func(name string) sandbox.Component {
		all, err := s.Components(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range all {
			if c.Name == name {
				return c
			}
		}
		t.Fatalf("there is no %s among %v", name, all)
		return sandbox.Component{}
	}
	first := state(sandbox.Prometheus)
	if err := s.Stop(ctx, sandbox.Prometheus); err != nil {
		t.Fatal(err)
	}
	if got := state(sandbox.Prometheus); got.State != "stopped" || got.PID != 0 {
		t.Errorf("got %+v after stopping, want it stopped", got)
	}
	if _, err := query(ctx, s.Facts.Prometheus, "1"); err == nil {
		t.Error("a stopped Prometheus answers")
	}
	if err := s.Start(ctx, sandbox.Prometheus); err != nil {
		t.Fatal(err)
	}
	eventually(t, "Prometheus to remember what it saw before", func() error {
		_, err := query(ctx, s.Facts.Prometheus,
			`count_over_time(istio_requests_total{destination_workload="app-primary"}[10m])`)
		return err
	})
	if got := state(sandbox.Prometheus); got.PID == first.PID || got.Restarts != 0 {
		t.Errorf("got %+v, want another process than %d, and no crash counted", got, first.PID)
	}
	if err := s.Kill(ctx, sandbox.APIServer); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the API server to be started again", func() error {
		return s.Kubectl(ctx, "get", "--raw", "/readyz").Run()
	})
	if got := state(sandbox.APIServer); got.Restarts < 1 {
		t.Errorf("got %+v, want a restart counted", got)
	}
	if err := s.Start(ctx, "nonsense"); err == nil || !strings.Contains(err.Error(), "nonsense") {
		t.Errorf("got %v, want an error that names the component", err)
	}
}

// validated writes a weight that Istio's definitions take and istiod does not; without istiod nothing is taken.
func validated(t *testing.T, s *sandbox.Sandbox) {
	ctx := t.Context()
	weigh := func(weight int) (string, error) {
		patch := fmt.Sprintf(`[{"op":"add","path":"/spec/http/0/route/0/weight","value":%d}]`, weight)
		out, err := s.Kubectl(ctx, "--namespace=weighted", "patch", "virtualservice", "app", "--type=json",
			"--patch="+patch).CombinedOutput()
		return string(out), err
	}
	if out, err := weigh(-5); err == nil || !strings.Contains(out, "rev.validation.istio.io") {
		t.Errorf("got %q (%v), want a weight of -5 refused by istiod", out, err)
	}
	if err := s.Stop(ctx, sandbox.Istiod); err != nil {
		t.Fatal(err)
	}
	if out, err := weigh(1); err == nil || !strings.Contains(out, "failed calling webhook") {
		t.Errorf("got %q (%v), want no write without istiod", out, err)
	}
	if err := s.Start(ctx, sandbox.Istiod); err != nil {
		t.Fatal(err)
	}
	eventually(t, "istiod to let a write pass again", func() error {
		_, err := weigh(0)
		return err
	})
}

func audited(t *testing.T, s *sandbox.Sandbox) {
	f, err := os.Open(s.AuditLog)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	users := map[string]int{}
	d := json.NewDecoder(f)
	for {
		var e struct {
			UserAgent string
			User      struct{ Username string }
		}
		if err := d.Decode(&e); err == io.EOF {
			break
		} else if err != nil { // the line that is being written
			break
		}
		users[e.User.Username]++
	}
	for _, want := range []string{"serin-sandbox", "istiod", "system:node:node",
		"system:serviceaccount:tekton-pipelines:tekton-pipelines-controller"} {
		if users[want] == 0 {
			t.Errorf("got no calls of %s, only of %v", want, users)
		}
	}
}

// beside starts a second sandbox and asks both for their node.
func beside(t *testing.T, s *sandbox.Sandbox) {
	other := bring(t, sandbox.Options{Name: "go-test-2", Bare: true})
	if other.NodeIP == s.NodeIP {
		t.Fatalf("both have the address %s", s.NodeIP)
	}
	for _, it := range []*sandbox.Sandbox{s, other} {
		out, err := it.Kubectl(t.Context(), "get", "nodes", "-o",
			"jsonpath={.items[*].status.addresses[0].address}").Output()
		if err != nil || string(out) != it.NodeIP {
			t.Errorf("got node %s (%v) in sandbox %s, want %s", out, err, it.Name, it.NodeIP)
		}
	}
	// It has nothing of what a cluster must have to be used as it is, and its error says so, all at once.
	t.Setenv("KUBECONFIG", other.Kubeconfig)
	_, err := sandbox.Up(t.Context(), sandbox.Options{Existing: sandbox.Existing{Context: "serin-sandbox"}})
	for _, want := range []string{"pipelineruns", "virtualservices", "PROMETHEUS_URL", "GATEWAY_URL", "KO_DOCKER_REPO",
		"POD_PROMETHEUS_URL"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error that names %s", err, want)
		}
	}
	t.Setenv("KUBECONFIG", s.Kubeconfig)
	images := httptest.NewServer(registry.New())
	defer images.Close()
	used, err := sandbox.Up(t.Context(), sandbox.Options{Existing: sandbox.Existing{
		Context: "serin-sandbox", Prometheus: s.Facts.Prometheus, Gateway: s.Gateway,
		Registry: strings.TrimPrefix(images.URL, "http://") + "/serin",
	}})
	if err != nil {
		t.Fatal(err)
	}
	if used.PodPrometheus != s.PodPrometheus || !maps.Equal(used.GatewaySelector, s.GatewaySelector) {
		t.Errorf("got %s for pods and gateway %v, want what a sandbox has by default: %s, %v", used.PodPrometheus,
			used.GatewaySelector, s.PodPrometheus, s.GatewaySelector)
	}
	if err := used.Apply(t.Context(),
		[]byte(`{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "used"}}`)); err != nil {
		t.Error(err)
	}
	if err := used.Down(); err != nil {
		t.Error(err)
	}
	if _, err := s.Kubectl(t.Context(), "get", "configmap", "used").Output(); err != nil {
		t.Errorf("the cluster that was used is gone: %v", err)
	}
}
