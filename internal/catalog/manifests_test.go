package catalog_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/tektoncd/pipeline/pkg/apis/config"
	tekton "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"
	"knative.dev/pkg/apis"
	"sigs.k8s.io/yaml"

	"github.com/serin-cd/serin/internal/apitest"
)

// TestTektonAcceptsEachManifest does what Tekton's admission webhook does.
func TestTektonAcceptsEachManifest(t *testing.T) {
	flags, err := config.NewFeatureFlagsFromMap(map[string]string{})
	if err != nil {
		t.Fatal(err)
	}
	defaults := &config.Config{Defaults: config.DefaultConfig.DeepCopy(), FeatureFlags: flags}
	ctx := apis.WithinCreate(config.ToContext(t.Context(), defaults))
	for name, text := range manifests(t) {
		var object interface {
			apis.Defaultable
			apis.Validatable
		}
		switch kind(t, text) {
		case "Task":
			object = &tekton.Task{}
		case "Pipeline":
			object = &tekton.Pipeline{}
		case "PipelineRun":
			object = &tekton.PipelineRun{}
		default:
			continue
		}
		if err := yaml.UnmarshalStrict(text, object); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		object.SetDefaults(ctx)
		if err := object.Validate(ctx); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAPIServerAcceptsEachManifest(t *testing.T) {
	client, err := dynamic.NewForConfig(apitest.Config(t))
	if err != nil {
		t.Fatal(err)
	}
	namespace := apitest.Namespace(t)
	for name, text := range manifests(t) {
		object := &unstructured.Unstructured{}
		if err := yaml.Unmarshal(text, &object.Object); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := object.GetNamespace(); got != "" {
			t.Errorf("%s names namespace %s, want none", name, got)
		}
		resource := client.Resource(resourceOf(object)).Namespace(namespace)
		if _, err := resource.Create(t.Context(), object, metav1.CreateOptions{FieldValidation: "Strict"}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestNoManifestPinsAUser leaves the uid to the image, or to a platform that assigns one to each namespace, as
// OpenShift does: it refuses pods that name another.
func TestNoManifestPinsAUser(t *testing.T) {
	for name, text := range manifests(t) {
		for _, member := range []string{"runAsUser", "runAsGroup", "fsGroup", "supplementalGroups"} {
			if bytes.Contains(text, []byte(member+":")) {
				t.Errorf("%s has %s, want none", name, member)
			}
		}
	}
}

func resourceOf(o *unstructured.Unstructured) schema.GroupVersionResource {
	kind := o.GroupVersionKind()
	return kind.GroupVersion().WithResource(strings.ToLower(kind.Kind) + "s")
}

// manifests are all YAML documents of tasks, pipelines and config, by file and number.
func manifests(t *testing.T) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	for _, folder := range []string{"tasks", "pipelines", "config"} {
		err := filepath.WalkDir(filepath.Join(root, folder), func(file string, _ fs.DirEntry, err error) error {
			if err != nil || filepath.Ext(file) != ".yaml" {
				return err
			}
			text, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			documents := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text)))
			for i := 1; ; i++ {
				document, err := documents.Read()
				if errors.Is(err, io.EOF) {
					return nil
				}
				if err != nil {
					return err
				}
				all[file+" "+strconv.Itoa(i)] = document
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(all) < 12 {
		t.Fatalf("found %d manifests, want at least 12", len(all))
	}
	return all
}

func kind(t *testing.T, text []byte) string {
	t.Helper()
	var meta metav1.TypeMeta
	if err := yaml.Unmarshal(text, &meta); err != nil {
		t.Fatal(err)
	}
	return meta.Kind
}

// read returns the manifests of one kind.
func read[T any](t *testing.T, want string) map[string]T {
	t.Helper()
	all := map[string]T{}
	for name, text := range manifests(t) {
		if kind(t, text) != want {
			continue
		}
		var object T
		if err := yaml.UnmarshalStrict(text, &object); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		all[name] = object
	}
	return all
}
