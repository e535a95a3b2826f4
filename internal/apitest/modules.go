package apitest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"
	syaml "sigs.k8s.io/yaml"
)

// modules are the folders of the Go modules that the server is made from.
type modules struct{ serin, istio, tekton string }

func locate() (modules, error) {
	serin, err := output("go", "list", "-m", "-f", "{{.Dir}}", "github.com/serin-cd/serin")
	if err != nil {
		return modules{}, fmt.Errorf("locating modules: %w", err)
	}
	serin = strings.TrimSpace(serin)
	// There, because the e2e module does without Tekton's.
	out, err := output("go", "-C", serin, "list", "-m", "-f", "{{.Dir}}", "istio.io/api",
		"github.com/tektoncd/pipeline")
	if err != nil {
		return modules{}, fmt.Errorf("locating modules: %w", err)
	}
	dirs := strings.Fields(out)
	if len(dirs) != 2 {
		return modules{}, fmt.Errorf("locating modules: %q, want 2 folders: run `go mod download`", out)
	}
	return modules{serin, dirs[0], dirs[1]}, nil
}

// kube is the binary that holds the control plane: the one that SERIN_KUBE names, else the sandbox's.
func (m modules) kube() (string, error) {
	if kube := os.Getenv("SERIN_KUBE"); kube != "" {
		return kube, nil
	}
	out, err := output("go", "-C", filepath.Join(m.serin, "e2e"), "run", "./cmd/sandbox", "build", "kube")
	if err != nil {
		return "", fmt.Errorf("building kube: %w", err)
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	return lines[len(lines)-1], nil
}

func output(name string, args ...string) (string, error) {
	out, err := exec.Command(name, args...).Output()
	if exit := (&exec.ExitError{}); errors.As(err, &exit) {
		return "", fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, bytes.TrimSpace(exit.Stderr))
	}
	return string(out), err
}

var definitions = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1",
	Resource: "customresourcedefinitions"}

// define makes the custom resources of Istio, Tekton, Flagger and KEDA, and waits until each is served.
func (s *Server) define(ctx context.Context, m modules) error {
	files, err := filepath.Glob(filepath.Join(m.tekton, "config", "300-crds", "*.yaml"))
	if err != nil {
		return err
	}
	client, err := dynamic.NewForConfig(s.admin)
	if err != nil {
		return err
	}
	var served []schema.GroupVersionResource
	for _, file := range slices.Insert(files, 0,
		filepath.Join(m.istio, "kubernetes", "customresourcedefinitions.gen.yaml"),
		filepath.Join(m.serin, "internal", "apitest", "testdata", "flagger", "crd.yaml"),
		filepath.Join(m.serin, "internal", "apitest", "testdata", "keda", "scaledobjects.yaml")) {
		crds, err := readAll(file)
		if err != nil {
			return fmt.Errorf("reading %s: %w", file, err)
		}
		for _, crd := range crds {
			resource := slim(crd)
			if _, err := client.Resource(definitions).Create(ctx, crd, metav1.CreateOptions{}); err != nil {
				return fmt.Errorf("defining %s: %w", crd.GetName(), err)
			}
			served = append(served, resource)
		}
	}
	for _, resource := range served {
		err := poll(ctx, func(ctx context.Context) error {
			_, err := client.Resource(resource).List(ctx, metav1.ListOptions{Limit: 1})
			return err
		})
		if err != nil {
			return fmt.Errorf("waiting for %s: %w", resource.Resource, err)
		}
	}
	return nil
}

// slim leaves one version in a definition, v1 where there is one, and takes the descriptions out of
// its schema: the server then starts in half the time. It returns the resource.
func slim(crd *unstructured.Unstructured) schema.GroupVersionResource {
	spec, _ := crd.Object["spec"].(map[string]any)
	versions, _ := spec["versions"].([]any)
	kept, _ := versions[0].(map[string]any)
	for _, v := range versions {
		if v, ok := v.(map[string]any); ok && (v["name"] == "v1" || v["storage"] == true && kept["name"] != "v1") {
			kept = v
		}
	}
	kept["storage"], kept["served"] = true, true
	spec["versions"] = []any{kept}
	delete(spec, "conversion")
	undescribed(kept["schema"])

	resource := schema.GroupVersionResource{}
	resource.Group, _ = spec["group"].(string)
	resource.Version, _ = kept["name"].(string)
	resource.Resource, _, _ = unstructured.NestedString(spec, "names", "plural")
	return resource
}

// undescribed deletes the descriptions, which are strings; a property may have the same name.
func undescribed(node any) {
	switch node := node.(type) {
	case map[string]any:
		if _, text := node["description"].(string); text {
			delete(node, "description")
		}
		for _, child := range node {
			undescribed(child)
		}
	case []any:
		for _, child := range node {
			undescribed(child)
		}
	}
}

// readAll reads the objects of a file with several YAML documents.
func readAll(file string) ([]*unstructured.Unstructured, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var objects []*unstructured.Unstructured
	documents := yaml.NewYAMLReader(bufio.NewReader(f))
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, err
		}
		object := &unstructured.Unstructured{}
		if err := syaml.Unmarshal(document, &object.Object); err != nil {
			return nil, err
		}
		if len(object.Object) > 0 {
			objects = append(objects, object)
		}
	}
}
