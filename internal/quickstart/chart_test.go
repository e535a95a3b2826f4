package quickstart_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"helm.sh/helm/v4/pkg/action"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/serin-cd/serin/internal/apitest"
	"github.com/serin-cd/serin/internal/quickstart"
	"github.com/serin-cd/serin/pkg/gitops/deploy"
	"github.com/serin-cd/serin/pkg/task/parameter"
)

func TestMain(m *testing.M) { apitest.Main(m) }

// write writes an application into a new directory.
func write(t *testing.T, pack string) string {
	t.Helper()
	directory := filepath.Join(t.TempDir(), "shop")
	if _, err := quickstart.Write(shop(pack), directory); err != nil {
		t.Fatal(err)
	}
	return directory
}

func TestHelmLintsTheChart(t *testing.T) {
	for _, pack := range quickstart.Packs {
		for _, on := range []bool{false, true} {
			lint := action.NewLint()
			lint.Strict = true
			found := lint.Run([]string{filepath.Join(write(t, pack), "chart")},
				map[string]any{"canary": map[string]any{"enabled": on}})
			if len(found.Errors) > 0 || found.TotalChartsLinted != 1 {
				t.Errorf("%s, canary %v: %v", pack, on, found.Errors)
			}
		}
	}
}

func TestTheSchemaRefuses(t *testing.T) {
	chart := filepath.Join(write(t, "go-http"), "chart")
	analysis := func(key string, value any) map[string]any {
		return map[string]any{"canary": map[string]any{"canaryAnalysis": map[string]any{key: value}}}
	}
	cases := map[string]struct {
		values map[string]any
		want   string
	}{
		"the tutorial's shape": {map[string]any{"canary": map[string]any{"enable": true}}, "'enable'"},
		"a word":               {map[string]any{"canary": map[string]any{"enabled": "yes"}}, "want boolean"},
		"a weight":             {analysis("stepWeight", 120), "maximum"},
		"an interval":          {analysis("interval", "a minute"), "does not match pattern"},
		"another metric":       {analysis("metrics", map[string]any{"latency": map[string]any{}}), "'latency'"},
		"a misspelt key":       {map[string]any{"replicas": 2}, "'replicas'"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			found := action.NewLint().Run([]string{chart}, c.values)
			var all []string
			for _, err := range found.Errors {
				all = append(all, err.Error())
			}
			if text := strings.Join(all, "\n"); !strings.Contains(text, c.want) {
				t.Errorf("errors %q, want %s", text, c.want)
			}
		})
	}
}

// TestTheClusterTakesTheChart applies an environment that has the chart, and then switches its canary on.
func TestTheClusterTakesTheChart(t *testing.T) {
	config, namespace := apitest.Config(t), apitest.Namespace(t)
	directory := write(t, "python-http")
	files := map[string]string{
		"Chart.yaml": "{apiVersion: v2, name: env, version: 0.0.1, dependencies: [{name: shop, version: 0.0.1, " +
			"repository: 'file://../chart'}]}",
		"values.yaml": "{}",
	}
	env := filepath.Join(directory, "env")
	if err := os.Mkdir(env, 0o700); err != nil {
		t.Fatal(err)
	}
	put := func(name, text string) {
		if err := os.WriteFile(filepath.Join(env, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range files {
		put(name, text)
	}
	apply := func() deploy.Outcome {
		out, err := deploy.Apply(t.Context(), config, deploy.Config{Source: directory, Directory: "env",
			Own: namespace, Mode: deploy.Auto, Deadline: parameter.Duration(time.Minute)})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	if diff := cmp.Diff(deploy.Outcome{Changed: []string{"shop"}}, apply()); diff != "" {
		t.Errorf("canary off (-want +got):\n%s", diff)
	}
	put("values.yaml", "shop: {canary: {enabled: true, host: shop.203.0.113.7.nip.io}}")
	if diff := cmp.Diff(deploy.Outcome{Canaries: []string{"shop"}}, apply()); diff != "" {
		t.Errorf("canary on (-want +got):\n%s", diff)
	}
	target, err := apitest.Client(t).AppsV1().Deployments(namespace).Get(t.Context(), "shop", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"gateways":"shop","hosts":"shop.203.0.113.7.nip.io","interval":"1m"}`
	if got := target.Annotations["serin.dev/parameters"]; got != want || target.Labels["serin.dev/canary"] != "true" {
		t.Errorf("parameters %s of %v, want %s", got, target.Labels, want)
	}
	if _, err := apitest.Client(t).CoreV1().Services(namespace).Get(t.Context(), "shop",
		metav1.GetOptions{}); err != nil {
		t.Errorf("the Service is not kept: %v", err)
	}
	objects, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	gateways := schema.GroupVersionResource{Group: "networking.istio.io", Version: "v1", Resource: "gateways"}
	if _, err := objects.Resource(gateways).Namespace(namespace).Get(t.Context(), "shop",
		metav1.GetOptions{}); err != nil {
		t.Errorf("no Gateway: %v", err)
	}
}
