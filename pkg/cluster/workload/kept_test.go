package workload_test

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/serin-cd/serin/internal/releasetest"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/cluster/workload"
)

// keptOf is the annotation with its present template that a promotion would give a primary, empty for none.
func keptOf(t *testing.T, env string, annotations map[string]string) string {
	t.Helper()
	u := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{
		"selector": map[string]any{"matchLabels": map[string]any{"app": "podinfo-primary"}},
		"template": map[string]any{"spec": map[string]any{"terminationGracePeriodSeconds": int64(30),
			"containers": []any{map[string]any{"name": "podinfo", "image": releasetest.Image("1"),
				"env": []any{map[string]any{"name": "BIG", "value": env}}}}}},
	}}}
	u.SetName("podinfo-primary")
	u.SetAnnotations(annotations)
	d, err := workload.FromObject(u)
	if err != nil {
		t.Fatal(err)
	}
	for _, op := range workload.Promote(d, nil, "new", stamp) {
		if strings.HasSuffix(op.Path, "previous-template") && op.Op == "add" {
			return op.Value.(string)
		}
	}
	return ""
}

// noise is text that does not get smaller.
func noise(n int) string {
	bytes := make([]byte, n/2)
	_, _ = rand.Read(bytes) // never fails
	return hex.EncodeToString(bytes)
}

func TestTemplateIsKeptWithinLimits(t *testing.T) {
	revision := map[string]string{"serin.dev/revision": "old"}
	if text := keptOf(t, strings.Repeat("x", 100_000), revision); text == "" || len(text) > 2000 {
		t.Errorf("a template that packs well takes %d bytes, want some, and few", len(text))
	}
	if text := keptOf(t, noise(200_000), revision); text != "" {
		t.Errorf("a template that does not takes %d bytes, want it left to the ReplicaSet", len(text))
	}
	if text := keptOf(t, "", map[string]string{"big": noise(192 << 10)}); text != "" {
		t.Error("beside large annotations a template is kept, want it left to the ReplicaSet")
	}
}

// TestKeptTemplateIsThatOfTheRevision does not restore what somebody has put there.
func TestKeptTemplateIsThatOfTheRevision(t *testing.T) {
	a := releasetest.New(t)
	r := a.Run("first")
	sets := r.Cluster.Objects(kube.ReplicaSets, a.Namespace)
	text := keptOf(t, "", map[string]string{"serin.dev/revision": "old"})
	cases := map[string]struct {
		text string
		want bool
	}{
		"as kept":          {text, true},
		"another revision": {strings.Replace(text, `"old"`, `"older"`, 1), false},
		"another sum":      {strings.Replace(text, `"sha256":"`, `"sha256":"0`, 1), false},
		"no template":      {`{"revision":"old"}`, false},
		"no JSON":          {"?", false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			d, err := r.Deployments.Get(t.Context(), "podinfo")
			if err != nil {
				t.Fatal(err)
			}
			d.Annotations = map[string]string{"serin.dev/previous-template": c.text}
			template, err := workload.TemplateOf(t.Context(), sets, d, "old")
			if err != nil || (template != nil) != c.want {
				t.Fatalf("%v, %v, want one: %v", template, err, c.want)
			}
			got, err := json.Marshal(template)
			if want := `{"spec":{"containers":[{"env":[{"name":"BIG","value":""}],"image":"example.test/podinfo:1",` +
				`"name":"podinfo"}],"terminationGracePeriodSeconds":30}}`; err != nil || c.want && string(got) != want {
				t.Errorf("template (-want +got, %v)\n%s", err, cmp.Diff(want, string(got)))
			}
		})
	}
}
