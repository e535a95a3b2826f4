package schemas_test

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"

	"github.com/serin-cd/serin/internal/apitest"
)

func TestMain(m *testing.M) { apitest.Main(m) }

var definitions = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1",
	Resource: "customresourcedefinitions"}

// defined are the kinds whose definitions are in testdata, which the API server serves by then.
func defined(t *testing.T, client dynamic.Interface) map[schema.GroupVersionKind]schema.GroupVersionResource {
	t.Helper()
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) < 3 {
		t.Fatalf("found definitions %v: %v, want at least 3", files, err)
	}
	all := map[schema.GroupVersionKind]schema.GroupVersionResource{}
	for _, file := range files {
		crd := parsed(t, read(t, file))
		if _, err := client.Resource(definitions).Create(t.Context(), crd,
			metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
			t.Fatalf("%s: %v", file, err)
		}
		group, _, _ := unstructured.NestedString(crd.Object, "spec", "group")
		kind, _, _ := unstructured.NestedString(crd.Object, "spec", "names", "kind")
		plural, _, _ := unstructured.NestedString(crd.Object, "spec", "names", "plural")
		versions, _, _ := unstructured.NestedSlice(crd.Object, "spec", "versions")
		version := schema.GroupVersion{Group: group, Version: versions[0].(map[string]any)["name"].(string)}
		resource := version.WithResource(plural)
		all[version.WithKind(kind)] = resource
		apitest.Eventually(t, func(ctx context.Context) error {
			_, err := client.Resource(resource).List(ctx, metav1.ListOptions{})
			return err
		})
	}
	return all
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func parsed(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	object := &unstructured.Unstructured{}
	if err := yaml.UnmarshalStrict([]byte(text), &object.Object); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return object
}

// examples are the objects of other projects in this documentation.
func examples(t *testing.T, text string) []*unstructured.Unstructured {
	t.Helper()
	var all []*unstructured.Unstructured
	for _, m := range regexp.MustCompile("(?ms)^```yaml\n(.*?)^```$").FindAllStringSubmatch(text, -1) {
		if object := parsed(t, m[1]); strings.Contains(object.GetAPIVersion(), "argoproj.io") ||
			strings.Contains(object.GetAPIVersion(), "fluxcd.io") {
			all = append(all, object)
		}
	}
	return all
}

// TestExamplesFitTheirSchemas wants a member that its project does not know refused too.
func TestExamplesFitTheirSchemas(t *testing.T) {
	client, err := dynamic.NewForConfig(apitest.Config(t))
	if err != nil {
		t.Fatal(err)
	}
	kinds, namespace := defined(t, client), apitest.Namespace(t)
	var seen []string
	for _, object := range examples(t, read(t, "../operations.md")) {
		seen = append(seen, object.GetKind())
		object.SetNamespace(namespace)
		resource := kinds[object.GroupVersionKind()]
		strict := metav1.CreateOptions{FieldValidation: "Strict", DryRun: []string{metav1.DryRunAll}}
		if _, err := client.Resource(resource).Namespace(namespace).Create(t.Context(), object,
			strict); err != nil {
			t.Errorf("%s: %v", object.GetKind(), err)
		}
		_ = unstructured.SetNestedField(object.Object, true, "spec", "unheardOf") // a map takes it
		if _, err := client.Resource(resource).Namespace(namespace).Create(t.Context(), object,
			strict); err == nil {
			t.Errorf("%s with a member that nobody knows is accepted", object.GetKind())
		}
	}
	if want := []string{"Application", "Kustomization", "HelmRelease"}; !slices.Equal(seen, want) {
		t.Errorf("examples %v, want %v", seen, want)
	}
}

// TestArgoCDKeepsWhatItIgnores: without the option a sync writes what ignoreDifferences only hides.
func TestArgoCDKeepsWhatItIgnores(t *testing.T) {
	for _, object := range examples(t, read(t, "../operations.md")) {
		if object.GetKind() != "Application" {
			continue
		}
		options, _, err := unstructured.NestedStringSlice(object.Object, "spec", "syncPolicy", "syncOptions")
		if err != nil || !slices.Contains(options, "RespectIgnoreDifferences=true") {
			t.Errorf("sync options %v (%v), want RespectIgnoreDifferences=true", options, err)
		}
		return
	}
	t.Error("found no Application")
}
