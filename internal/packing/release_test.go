package packing_test

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	authorization "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serin-cd/serin/internal/apitest"
	"github.com/serin-cd/serin/internal/packing"
)

const root = "../.."

func TestMain(m *testing.M) { apitest.Main(m) }

func TestManifestNamesEveryStep(t *testing.T) {
	manifest := manifest(t)
	steps, err := filepath.Glob(filepath.Join(root, "steps", "*", "main.go"))
	if err != nil {
		t.Fatal(err)
	}
	programs := strings.Join(packing.Programs(manifest), "\n") + "\n"
	for _, s := range steps {
		want := "github.com/serin-cd/serin/steps/" + filepath.Base(filepath.Dir(s)) + "\n"
		if !strings.Contains(programs, want) {
			t.Errorf("nothing runs %s", strings.TrimSpace(want))
		}
	}
	resolved := packing.Resolve(manifest, "registry.test/serin", "v1")
	if bytes.Contains(resolved, []byte("ko://")) {
		t.Error("a resolved manifest still has images as ko://")
	}
	if want := "image: registry.test/serin/shift-weight:v1\n"; !bytes.Contains(resolved, []byte(want)) {
		t.Errorf("a resolved manifest lacks %q", want)
	}
	if found := regexp.MustCompile(`(?m)^\s*namespace:`).Find(manifest); found != nil {
		t.Errorf("the manifest has %q, want no namespace", found)
	}
}

// TestAccountMayDoItsWorkAndNoMore applies a release as a user would.
func TestAccountMayDoItsWorkAndNoMore(t *testing.T) {
	namespace := apitest.Namespace(t)
	apitest.Apply(t, namespace, manifest(t))
	cases := map[string]struct {
		verb, group, resource, namespace string
		allowed                          bool
	}{
		"moves traffic":              {"patch", "networking.istio.io", "virtualservices", namespace, true},
		"watches pods":               {"watch", "", "pods", namespace, true},
		"reads no secrets":           {"get", "", "secrets", namespace, false},
		"deletes nothing":            {"delete", "apps", "deployments", namespace, false},
		"starts no runs":             {"create", "tekton.dev", "pipelineruns", namespace, false},
		"leaves other places alone":  {"patch", "networking.istio.io", "virtualservices", "kube-system", false},
		"gives itself no more":       {"patch", "rbac.authorization.k8s.io", "roles", namespace, false},
		"enters no other's pods":     {"create", "", "pods/exec", namespace, false},
		"keeps the run's own report": {"create", "", "configmaps", namespace, true},
	}
	reviews := apitest.Client(t).AuthorizationV1().SubjectAccessReviews()
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			review := &authorization.SubjectAccessReview{Spec: authorization.SubjectAccessReviewSpec{
				User: "system:serviceaccount:" + namespace + ":serin",
				ResourceAttributes: &authorization.ResourceAttributes{
					Verb: c.verb, Group: c.group, Resource: c.resource, Namespace: c.namespace,
				},
			}}
			answer, err := reviews.Create(t.Context(), review, metav1.CreateOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if answer.Status.Allowed != c.allowed {
				t.Errorf("%s %s is allowed: %v, want %v", c.verb, c.resource, answer.Status.Allowed, c.allowed)
			}
		})
	}
}

func TestArchiveHoldsEachImage(t *testing.T) {
	program := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(program, []byte("#!"), 0o755); err != nil {
		t.Fatal(err)
	}
	images := []packing.Image{
		{Ref: "serin.test/a:1", Program: "a", File: program}, {Ref: "serin.test/b:1", Program: "b", File: program},
	}
	var archive, again bytes.Buffer
	for _, w := range []io.Writer{&archive, &again} {
		if err := packing.Archive(w, images); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(archive.Bytes(), again.Bytes()) {
		t.Error("two archives of the same images differ")
	}
	files := unpack(t, &archive)
	var entries []struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
	if err := json.Unmarshal(files["manifest.json"], &entries); err != nil {
		t.Fatal(err)
	}
	if len(entries) != 2 || entries[1].RepoTags[0] != "serin.test/b:1" {
		t.Fatalf("manifest.json has %v, want two images", entries)
	}
	for _, e := range entries {
		for _, name := range append(e.Layers, e.Config) {
			if files[name] == nil {
				t.Errorf("the archive lacks %s of %v", name, e.RepoTags)
			}
		}
		var image struct {
			Config struct{ User string } `json:"config"`
		}
		if err := json.Unmarshal(files[e.Config], &image); err != nil {
			t.Fatal(err)
		}
		uid, _, _ := strings.Cut(image.Config.User, ":")
		if n, err := strconv.Atoi(uid); err != nil || n == 0 {
			t.Errorf("%v runs as %q, want a number other than 0: a kubelet verifies runAsNonRoot by it", e.RepoTags,
				image.Config.User)
		}
		for _, name := range e.Layers {
			anyoneReads(t, files[name])
		}
	}
}

// anyoneReads wants the files of a layer readable by any user, and programs executable.
func anyoneReads(t *testing.T, layer []byte) {
	t.Helper()
	for reader := tar.NewReader(bytes.NewReader(layer)); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		want := int64(0o004)
		if strings.HasPrefix(header.Name, "ko-app/") {
			want = 0o005
		}
		if header.Mode&want != want {
			t.Errorf("%s has mode %o, want it open to any user", header.Name, header.Mode)
		}
	}
}

// unpack reads the files of an archive.
func unpack(t *testing.T, archive io.Reader) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	reader := tar.NewReader(archive)
	for {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[header.Name], err = io.ReadAll(reader); err != nil {
			t.Fatal(err)
		}
	}
}

func manifest(t *testing.T) []byte {
	t.Helper()
	text, err := packing.Manifest(root)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
