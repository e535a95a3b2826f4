package steps_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"

	"github.com/serin-cd/serin/internal/apitest"
	"github.com/serin-cd/serin/internal/pipeline"
	"github.com/serin-cd/serin/internal/releasetest"
	"github.com/serin-cd/serin/internal/rights"
	"github.com/serin-cd/serin/pkg/cluster/application"
)

// TestRights plays releases with the accounts of `tkn canary render --rbac`: whatever else a program asks for, even
// something it could do without, fails the test.
func TestRights(t *testing.T) {
	t.Parallel()
	apitest.Config(t)
	mesh := newMesh(t)
	bin := build(t)
	mesh.scraped(t)
	app := releasetest.New(t)
	s := &theatre{t: t, app: app, way: newWay(t), proxies: mesh.of(app.Namespace)}
	of := application.Application{Namespace: app.Namespace, Name: "podinfo"}
	text, err := rights.Write(of, pipeline.Shipped().Stages())
	if err != nil {
		t.Fatal(err)
	}
	apply(t, app.Namespace, text)
	release, stage := rights.Accounts(of)
	accounts := map[string]string{"RELEASE": s.as(t, release), "STAGE": s.as(t, stage)}
	testscript.Run(t, testscript.Params{
		Files: []string{"testdata/rights/release.txtar"},
		Cmds:  s.commands(),
		Setup: func(env *testscript.Env) error {
			env.Setenv("PATH", bin)
			env.Setenv("PARAM_PROMETHEUS_URL", mesh.prometheus)
			env.Setenv("RUN_NAMESPACE", app.Namespace)
			for name, kubeconfig := range accounts {
				env.Setenv(name, kubeconfig)
			}
			return nil
		},
	})
}

// as is a kubeconfig of a ServiceAccount of the application's namespace.
func (s *theatre) as(t *testing.T, account string) string {
	t.Helper()
	file := s.way.kubeconfig(t)
	config, err := clientcmd.LoadFromFile(file)
	if err != nil {
		t.Fatal(err)
	}
	config.AuthInfos["test"].Impersonate = "system:serviceaccount:" + s.app.Namespace + ":" + account
	if err := clientcmd.WriteToFile(*config, file); err != nil {
		t.Fatal(err)
	}
	return file
}

// granted is exits for a program to which nothing was refused, not even what it does without.
func (s *theatre) granted(ts *testscript.TestScript, _ bool, args []string) {
	s.exits(ts, false, args)
	if text := ts.ReadFile("stderr"); strings.Contains(text, "is forbidden") {
		ts.Fatalf("%s has not all the rights that it asks for", args[1])
	}
}

// apply makes the objects of a YAML text.
func apply(t *testing.T, namespace string, text []byte) {
	t.Helper()
	client, err := dynamic.NewForConfig(apitest.Config(t))
	if err != nil {
		t.Fatal(err)
	}
	documents := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text)))
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		object := &unstructured.Unstructured{}
		if err := yaml.Unmarshal(document, &object.Object); err != nil {
			t.Fatal(err)
		}
		kind := object.GroupVersionKind()
		resource := kind.GroupVersion().WithResource(strings.ToLower(kind.Kind) + "s")
		if _, err := client.Resource(resource).Namespace(namespace).Create(t.Context(), object,
			metav1.CreateOptions{FieldValidation: "Strict"}); err != nil {
			t.Fatalf("%s %s: %v", kind.Kind, object.GetName(), err)
		}
	}
}
