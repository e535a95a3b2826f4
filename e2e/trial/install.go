package trial

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	tekton "github.com/tektoncd/pipeline/pkg/client/clientset/versioned/typed/pipeline/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"github.com/serin-cd/serin/e2e/sandbox"
	"github.com/serin-cd/serin/e2e/sandbox/image"
)

// Installation is Serin in a cluster: its images where nodes find them, and the manifest that installs it in a
// namespace.
type Installation struct {
	Sandbox *sandbox.Sandbox
	Objects dynamic.Interface
	Client  *kubernetes.Clientset
	Tekton  tekton.TektonV1Interface

	manifest []byte
	images   map[string]string // of the application, by version, where they have other names than in a sandbox
}

// Install builds Serin's images from this checkout and loads them onto the sandbox's node. For a cluster that is not a
// sandbox's own it pushes them to a registry, and the application's images with them.
func Install(ctx context.Context, sb *sandbox.Sandbox, progress io.Writer) (*Installation, error) {
	root, err := Checkout(ctx)
	if err != nil {
		return nil, err
	}
	fmt.Fprintln(progress, "building Serin's images")
	dist, err := os.MkdirTemp("", "serin-dist-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dist)
	repository := "serin.test/serin"
	if sb.Borrowed() {
		repository = sb.Registry
	}
	pack := exec.CommandContext(ctx, "go", "run", "-trimpath", "./internal/packing/cmd/pack", "-repository", repository,
		"-version", "trial", "-out", dist)
	pack.Dir = root
	if out, err := pack.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("building Serin's images: %w\n%s", err, out)
	}
	manifest, err := os.ReadFile(filepath.Join(dist, "release.yaml"))
	if err != nil {
		return nil, err
	}
	i, err := connect(sb, manifest)
	if err != nil {
		return nil, err
	}
	if archive := filepath.Join(dist, "images.tar"); sb.Borrowed() {
		err = i.push(ctx, archive, progress)
	} else {
		err = sb.LoadImages(ctx, archive)
	}
	return i, err
}

// push gives all images to the registry, and names them by what it has there.
func (i *Installation) push(ctx context.Context, archive string, progress io.Writer) error {
	fmt.Fprintf(progress, "pushing Serin's images and the application's to %s\n", i.Sandbox.Registry)
	steps, err := image.Push(ctx, archive)
	if err != nil {
		return err
	}
	for ref, pushed := range steps {
		i.manifest = bytes.ReplaceAll(i.manifest, []byte(ref+"\n"), []byte(pushed+"\n"))
	}
	i.images, err = i.Sandbox.PushApp(ctx, progress)
	return err
}

func connect(sb *sandbox.Sandbox, manifest []byte) (*Installation, error) {
	config, err := sb.REST()
	if err != nil {
		return nil, err
	}
	objects, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	runs, err := tekton.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	return &Installation{Sandbox: sb, Objects: objects, Client: client, Tekton: runs, manifest: manifest}, nil
}

// ScaleTekton gives Tekton's controller a number of pods: 0 stops it.
func (i *Installation) ScaleTekton(ctx context.Context, replicas int32) error {
	deployments := i.Client.AppsV1().Deployments("tekton-pipelines")
	now, err := deployments.GetScale(ctx, "tekton-pipelines-controller", metav1.GetOptions{})
	if err == nil {
		now.Spec.Replicas = replicas
		_, err = deployments.UpdateScale(ctx, "tekton-pipelines-controller", now, metav1.UpdateOptions{})
	}
	return err
}

// Checkout is the checkout that this module lies in.
func Checkout(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/serin-cd/serin").Output()
	if err != nil {
		return "", fmt.Errorf("finding Serin's own checkout: %w", err)
	}
	return string(bytes.TrimSpace(out)), nil
}
