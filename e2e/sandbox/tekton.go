package sandbox

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes"

	"github.com/serin-cd/serin/e2e/sandbox/internal/build"
	"github.com/serin-cd/serin/e2e/sandbox/internal/progress"
)

// bootTekton installs Tekton and waits until it takes a Task: its webhook is reachable later than it is ready.
func (s *Sandbox) bootTekton(ctx context.Context, p *progress.Reporter, apply *applier, client kubernetes.Interface,
	b *building, loaded <-chan struct{}) error {
	if err := b.wait(ctx, "tekton"); err != nil {
		return err
	}
	first, deployments, err := tektonObjects(filepath.Join(b.tekton, "tekton.yaml"))
	if err != nil {
		return err
	}
	if err := apply.applyAll(ctx, first); err != nil {
		return fmt.Errorf("installing Tekton: %w", err)
	}
	select { // a pod whose image is missing waits for ten seconds before it looks again
	case <-loaded:
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := apply.applyAll(ctx, deployments); err != nil {
		return fmt.Errorf("installing Tekton: %w", err)
	}
	for _, name := range []string{"tekton-pipelines-webhook", "tekton-pipelines-controller"} {
		if err := waitDeployment(ctx, client, "tekton-pipelines", name); err != nil {
			return err
		}
	}
	err = poll(ctx, bootLimit, "Tekton's webhook to answer", func(ctx context.Context) error {
		return dryRun(ctx, client, "/apis/tekton.dev/v1/namespaces/default/tasks", `{"apiVersion": "tekton.dev/v1", "kind": "Task", "metadata": {"name": "probe"},
			"spec": {"steps": [{"name": "s", "image": "serin.test/none:1", "command": ["/none"]}]}}`)
	})
	if err != nil {
		return err
	}
	p.Say("boot: Tekton takes Tasks")
	return nil
}

// tektonObjects are Tekton's Deployments, and what they need.
func tektonObjects(file string) (first, deployments []*unstructured.Unstructured, err error) {
	manifest, err := tektonManifest(file)
	if err != nil {
		return nil, nil, err
	}
	objects, err := decode(manifest)
	if err != nil {
		return nil, nil, err
	}
	for _, o := range objects {
		if o.GetKind() == "Deployment" {
			deployments = append(deployments, probeOften(o))
		} else {
			first = append(first, o)
		}
	}
	return first, deployments, nil
}

// probeOften lets a Deployment's pods be Ready when they are, not up to 15 s later.
func probeOften(deployment *unstructured.Unstructured) *unstructured.Unstructured {
	containers, _, _ := unstructured.NestedSlice(deployment.Object, "spec", "template", "spec", "containers")
	for _, c := range containers {
		if container, ok := c.(map[string]any); ok && container["readinessProbe"] != nil {
			_ = unstructured.SetNestedField(container, int64(0), "readinessProbe", "initialDelaySeconds")
			_ = unstructured.SetNestedField(container, int64(1), "readinessProbe", "periodSeconds")
		}
	}
	_ = unstructured.SetNestedSlice(deployment.Object, containers, "spec", "template", "spec", "containers")
	return deployment
}

// tektonSettings are what differs from Tekton's defaults. No sidecars are injected here, so a pod's first step need not
// wait for them (2 s less a TaskRun); and Tekton's own containers must pass in namespaces that enforce "restricted".
// Its module has no version in its manifests.
var tektonSettings = strings.NewReplacer(
	`running-in-environment-with-injected-sidecars: "true"`, `running-in-environment-with-injected-sidecars: "false"`,
	`set-security-context: "false"`, `set-security-context: "true"`,
	`version: "devel"`, `version: "`+build.TektonVersion+`"`,
)

// tektonManifest puts this sandbox's images and settings into Tekton's own manifests.
func tektonManifest(file string) ([]byte, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var out strings.Builder
	for line := range strings.Lines(tektonSettings.Replace(string(b))) {
		out.WriteString(tektonImageRef(line))
	}
	return []byte(out.String()), nil
}

// tektonImageRef replaces ko's placeholders, and the image of a shell, which no run here uses and no node here could
// pull.
func tektonImageRef(line string) string {
	const ko = "ko://github.com/tektoncd/pipeline/cmd/"
	for {
		before, after, found := strings.Cut(line, ko)
		if !found {
			break
		}
		end := strings.IndexFunc(after, func(r rune) bool { return r < 'a' || r > 'z' })
		if end < 0 {
			end = len(after)
		}
		line = before + tektonImage(after[:end]) + after[end:]
	}
	for _, flag := range []string{`"-shell-image", "`, `"-shell-image-win", "`} {
		before, after, found := strings.Cut(line, flag)
		if _, rest, ok := strings.Cut(after, `"`); found && ok {
			line = before + flag + `serin.test/none:1"` + rest
		}
	}
	return line
}
