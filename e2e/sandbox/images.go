package sandbox

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/serin-cd/serin/e2e/sandbox/image"
	"github.com/serin-cd/serin/e2e/sandbox/internal/build"
	"github.com/serin-cd/serin/e2e/sandbox/internal/progress"
)

// nodeImages are needed before any pod starts.
func nodeImages(built programs) []image.Image {
	return []image.Image{
		{Ref: "serin.test/pause:1", Files: map[string]string{"/pause": built.kube("pause")},
			Entrypoint: []string{"/pause"}},
		{Ref: "serin.test/coredns:1", Files: map[string]string{"/coredns": built.kube("coredns")},
			Entrypoint: []string{"/coredns"}, User: "0:0"},
	}
}

func tektonImages(built programs) []image.Image {
	var all []image.Image
	for _, name := range []string{"controller", "webhook", "entrypoint"} {
		all = append(all, image.Image{
			Ref:        tektonImage(name),
			Files:      map[string]string{"/ko-app/" + name: filepath.Join(built.tekton, name)},
			Entrypoint: []string{"/ko-app/" + name},
		})
	}
	return all
}

func tektonImage(name string) string { return "serin.test/tekton-" + name + ":" + build.TektonVersion }

// appImages are app in several versions, good and bad, by tags of a repository: a version is an image's tag and
// environment, as it is where somebody releases. Bad ones say so in their tag.
func appImages(repository, program string) []image.Image {
	var all []image.Image
	app := func(version string, env ...string) {
		all = append(all, image.Image{
			Ref:        repository + ":" + version,
			Files:      map[string]string{"/app": program},
			Entrypoint: []string{"/app"},
			Env:        append([]string{"VERSION=" + version}, env...),
		})
	}
	app("1.0.0")
	app("2.0.0")
	app("3.0.0")
	app("4.0.0-errors", "FAIL_EVERY=3", "FAIL_STATUS=500")
	app("4.1.0-broken", "FAIL_EVERY=1", "FAIL_STATUS=503")
	app("4.2.0-slow", "DELAY=1500ms")
	app("4.3.0-unready", "NEVER_READY=true")
	app("4.4.0-late", "FAIL_EVERY=3", "FAIL_STATUS=500", "FAIL_AFTER=40s")
	app("4.5.0-crashing", "CRASH_AFTER=20s")
	return all
}

// archive returns the file with the images, which is written once for one content.
func archive(name string, images []image.Image) (string, error) {
	cache, err := build.CacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "images")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	// The programs' paths have a digest of their sources in them.
	key := sha256.Sum256([]byte(fmt.Sprintf("1 %+v", images)))
	file := filepath.Join(dir, fmt.Sprintf("%s-%x.tar", name, key[:8]))
	if _, err := os.Stat(file); err == nil {
		return file, nil
	}
	return file, image.WriteArchive(file, images...)
}

// LoadImages imports an archive of images (docker or OCI layout) into the node. Use tags other than latest.
func (s *Sandbox) LoadImages(ctx context.Context, archive string) error {
	if s.node == nil {
		return fmt.Errorf("loading images: %s is not a sandbox's node; push them to %s", s.Name, s.Registry)
	}
	path, err := filepath.Abs(archive)
	if err != nil {
		return err
	}
	out, err := s.Command(ctx, "ctr", "--address", ctrSocket, "--namespace", "k8s.io", "images", "import",
		path).CombinedOutput()
	if err != nil {
		return fmt.Errorf("importing %s into the node: %w\n%s", archive, err, lastLines(string(out), 5))
	}
	return nil
}

// demoApp is the repository of app, below Registry.
const demoApp = "demo-app"

// PushApp builds the application app and pushes it, in all of its versions, to Registry. It returns what a container
// runs, by version.
func (s *Sandbox) PushApp(ctx context.Context, out io.Writer) (map[string]string, error) {
	p := progress.New(out)
	built, err := buildParts(ctx, p, "app")
	if err != nil {
		return nil, err
	}
	repository := s.Registry + "/" + demoApp
	images, err := archive(demoApp, appImages(repository, built[0].Path))
	if err != nil {
		return nil, err
	}
	pushed, err := image.Push(ctx, images)
	if err != nil {
		return nil, err
	}
	byVersion := map[string]string{}
	for ref, digested := range pushed {
		byVersion[strings.TrimPrefix(ref, repository+":")] = digested
	}
	return byVersion, nil
}

// AllowRegistry lets the node pull from a registry at host:port, on HostIP for instance, that speaks plain HTTP.
func (s *Sandbox) AllowRegistry(host string) error {
	if s.node == nil {
		return fmt.Errorf("allowing registry %s: %s is not a sandbox's node", host, s.Name)
	}
	dir := filepath.Join(registriesDir(s.node.cfg), host)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	// containerd 1.6 reads no file that has a server alone
	hosts := fmt.Sprintf("server = %[1]q\n[host.%[1]q]\n  capabilities = [\"pull\", \"resolve\"]\n", "http://"+host)
	return os.WriteFile(filepath.Join(dir, "hosts.toml"), []byte(hosts), 0o644)
}

// waitContainerd returns when containerd answers.
func (s *Sandbox) waitContainerd(ctx context.Context) error {
	return poll(ctx, time.Minute, "containerd to answer", func(ctx context.Context) error {
		return s.Command(ctx, "ctr", "--address", ctrSocket, "version").Run()
	})
}
