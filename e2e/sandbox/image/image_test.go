package image_test

import (
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/serin-cd/serin/e2e/sandbox/image"
)

func TestWriteArchive(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "program")
	if err := os.WriteFile(program, []byte("#!"), 0o755); err != nil {
		t.Fatal(err)
	}
	images := []image.Image{
		{Ref: "serin.test/a:1", Files: map[string]string{"/bin/a": program}, Entrypoint: []string{"/bin/a"},
			Env: []string{"VERSION=1"}},
		{Ref: "serin.test/a:2", Files: map[string]string{"/bin/a": program}, Entrypoint: []string{"/bin/a"},
			User: "0:0"},
	}
	tag, err := name.NewTag("serin.test/a:1")
	if err != nil {
		t.Fatal(err)
	}
	var img v1.Image
	digests := map[string]bool{}
	for range 2 {
		file := filepath.Join(dir, "images.tar")
		if err := image.WriteArchive(file, images...); err != nil {
			t.Fatal(err)
		}
		if img, err = tarball.ImageFromPath(file, &tag); err != nil {
			t.Fatal(err)
		}
		digest, err := img.Digest()
		if err != nil {
			t.Fatal(err)
		}
		digests[digest.String()] = true
	}
	if len(digests) != 1 {
		t.Errorf("equal programs gave images %v, want one", digests)
	}
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if got := config.Config.User; got != "65532:65532" {
		t.Errorf("got user %s, want one without rights", got)
	}
	if diff := cmp.Diff([]string{"PATH=/usr/local/bin:/usr/bin:/bin:/ko-app", "VERSION=1"},
		config.Config.Env); diff != "" {
		t.Error(diff)
	}
}

func TestWriteArchiveRefuses(t *testing.T) {
	dir := t.TempDir()
	for ref, files := range map[string]map[string]string{
		"no tag":         {},
		"serin.test/a:1": {"/a": filepath.Join(dir, "missing")},
	} {
		if err := image.WriteArchive(filepath.Join(dir, "x.tar"), image.Image{Ref: ref, Files: files}); err == nil {
			t.Errorf("%s: got no error", ref)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestPushNamesImagesByDigest(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "program")
	if err := os.WriteFile(program, []byte("#!"), 0o755); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(registry.New(registry.Logger(log.New(t.Output(), "", 0))))
	t.Cleanup(server.Close)
	repository := strings.TrimPrefix(server.URL, "http://") + "/serin"
	if err := image.Pushable(repository + "/a"); err != nil {
		t.Fatal(err)
	}
	var images []image.Image
	for _, version := range []string{"1", "2"} {
		images = append(images, image.Image{Ref: repository + "/a:" + version, Files: map[string]string{"/a": program},
			Env: []string{"VERSION=" + version}})
	}
	archive := filepath.Join(dir, "images.tar")
	if err := image.WriteArchive(archive, images...); err != nil {
		t.Fatal(err)
	}
	pushed, err := image.Push(t.Context(), archive)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range images {
		ref, err := name.ParseReference(pushed[i.Ref])
		if err != nil {
			t.Fatalf("%s was pushed as %q: %v", i.Ref, pushed[i.Ref], err)
		}
		img, err := remote.Image(ref, remote.WithContext(t.Context()))
		if err != nil {
			t.Fatal(err)
		}
		config, err := img.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Contains(config.Config.Env, i.Env[0]) {
			t.Errorf("%s has the environment %v, want %s in it", ref, config.Config.Env, i.Env[0])
		}
	}
	server.Close()
	if err := image.Pushable(repository + "/a"); err == nil {
		t.Error("got no error from a registry that is away")
	}
	if _, err := image.Push(t.Context(), archive); err == nil ||
		!strings.Contains(err.Error(), "pushing "+repository+"/a:") {
		t.Errorf("got %v from a registry that is away, want an error that names the image", err)
	}
}
