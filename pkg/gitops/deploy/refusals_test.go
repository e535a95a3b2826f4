package deploy_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/serin-cd/serin/internal/apitest"
	"github.com/serin-cd/serin/internal/releasetest"
	"github.com/serin-cd/serin/pkg/gitops/deploy"
	"github.com/serin-cd/serin/pkg/task/failure"
	"github.com/serin-cd/serin/pkg/task/parameter"
)

// TestHelmWasKilled finds a release on which somebody is at work, or was killed.
func TestHelmWasKilled(t *testing.T) {
	e := newEnvironment(t, deploy.Server)
	ctx, kill := context.WithCancel(t.Context())
	config := apitest.Config(t)
	config.Wrap(releasetest.Before(func(q *http.Request) error {
		if q.Method == http.MethodPatch && strings.Contains(q.URL.Path, "/deployments/") {
			kill()
		}
		return ctx.Err()
	}))
	if _, err := deploy.Apply(ctx, config, e.config()); err == nil {
		t.Fatal("applied, want it killed")
	}
	_, err := deploy.Apply(t.Context(), apitest.Config(t), e.config())
	if err == nil || !strings.Contains(err.Error(), "somebody else is at work, or was killed: try again in ") {
		t.Errorf("error %v, want that somebody is at work", err)
	}
	secrets := e.Client.CoreV1().Secrets(e.Namespace)
	list, err := secrets.List(t.Context(), metav1.ListOptions{LabelSelector: "owner=helm"})
	if err != nil || len(list.Items) != 1 {
		t.Fatalf("%d revisions (%v), want 1", len(list.Items), err)
	}
	aged(t, &list.Items[0])
	if _, err := secrets.Update(t.Context(), &list.Items[0], metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	e.apply(`version: "1"`, "podinfo")
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	cases := map[string]struct{ file, text, want string }{
		"nothing to apply": {"README.md", "", "it has no Chart.yaml, no env/Chart.yaml and no helmfile.yaml: set " +
			"directory to the folder that has one"},
		"a dependency of nowhere": {"Chart.yaml", "{apiVersion: v2, name: env, version: 1.0.0, dependencies: " +
			"[{name: a, version: 1.0.0}]}", "reading dependency a 1.0.0 of chart env: it has no repository, and " +
			"folder charts has none such: add either"},
		"a folder that is not there": {"Chart.yaml", "{apiVersion: v2, name: env, version: 1.0.0, dependencies: " +
			"[{name: a, version: 1.0.0, repository: 'file://../a'}]}", "reading chart a 1.0.0 of file://../a: "},
		"templates of helmfile": {"helmfile.yaml", "releases: {{ .Values.all }}", "it has templates, which helmfile " +
			"renders: run helmfile yourself"},
		"environments of helmfile": {"helmfile.yaml", "environments: {}", `unknown field "environments"`},
		"another namespace": {"helmfile.yaml", "releases: [{name: a, namespace: other, chart: ./a}]", "release a is " +
			"of namespace other, want shop, which is applied: leave it out of there"},
		"a repository that is not named": {"helmfile.yaml", "releases: [{name: a, chart: charts/a}]", "release a has " +
			"chart a of repository charts, which repositories does not have: add it"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			if err := os.WriteFile(filepath.Join(folder, c.file), []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := deploy.Apply(t.Context(), &rest.Config{Host: "127.0.0.1:1"},
				deploy.Config{Source: folder, Namespace: "shop", Mode: deploy.Auto,
					Deadline: parameter.Duration(time.Minute)})
			if failure.Code(err) != failure.ExitConfig || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v (exit %d), want %s", err, failure.Code(err), c.want)
			}
		})
	}
}

// aged makes the revision of a release, as Helm keeps it, an hour old.
func aged(t *testing.T, revision *corev1.Secret) {
	t.Helper()
	packed, err := base64.StdEncoding.DecodeString(string(revision.Data["release"]))
	if err != nil {
		t.Fatal(err)
	}
	unpacked, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	object := map[string]any{}
	if err := json.NewDecoder(unpacked).Decode(&object); err != nil {
		t.Fatal(err)
	}
	object["info"].(map[string]any)["last_deployed"] = time.Now().Add(-time.Hour).Format(time.RFC3339)
	var again bytes.Buffer
	pack := gzip.NewWriter(&again)
	if err := errors.Join(json.NewEncoder(pack).Encode(object), pack.Close()); err != nil {
		t.Fatal(err)
	}
	revision.Data["release"] = []byte(base64.StdEncoding.EncodeToString(again.Bytes()))
}
