package sandbox

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/serin-cd/serin/e2e/sandbox/internal/build"
	"github.com/serin-cd/serin/e2e/sandbox/internal/progress"
)

// Built is something that the sandbox is made of, in the cache.
type Built struct {
	Name string `json:"name"`
	Path string `json:"path"` // the program, or the folder where there are several
	Dir  string `json:"dir"`
}

// part is how an artifact is made, and which of its files people mean by its name.
type part struct {
	name string
	file string
	make func() (build.Artifact, error)
}

var parts = []part{
	{"kube", "kube", build.Kube},
	{"istiod", "pilot-discovery", build.Istiod},
	{"tekton", "", func() (build.Artifact, error) { return build.Tekton(), nil }},
	{"podinfo", "podinfo", build.Podinfo},
	{"app", "app", build.App},
	{"envoy", "envoy", func() (build.Artifact, error) { return build.Envoy(), nil }},
	{"istio-crds", "crds.yaml", func() (build.Artifact, error) { return build.IstioCRDs(), nil }},
}

// Parts are the names that Build knows.
func Parts() []string {
	var names []string
	for _, p := range parts {
		names = append(names, p.name)
	}
	return names
}

// Build makes the named parts, all of them where none is named, unless the cache has them already.
// It needs neither root nor Debian. Interrupted, it goes on from there the next time.
func Build(ctx context.Context, out io.Writer, names ...string) ([]Built, error) {
	return buildParts(ctx, progress.New(out), names...)
}

func buildParts(ctx context.Context, p *progress.Reporter, names ...string) ([]Built, error) {
	if len(names) == 0 || len(names) == 1 && names[0] == "all" {
		names = Parts()
	}
	done := make([]Built, len(names))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(2) // one links on a single processor, or waits for modules, while the other compiles
	for i, name := range names {
		group.Go(func() (err error) {
			done[i], err = buildPart(ctx, p, name)
			return err
		})
	}
	return done, group.Wait()
}

func buildPart(ctx context.Context, p *progress.Reporter, name string) (Built, error) {
	for _, it := range parts {
		if it.name != name {
			continue
		}
		a, err := it.make()
		if err != nil {
			return Built{}, err
		}
		dir, err := build.Ensure(ctx, a, p)
		return Built{Name: name, Path: filepath.Join(dir, it.file), Dir: dir}, err
	}
	return Built{}, fmt.Errorf("building %s: the sandbox has no such part, want one of %s or all", name, strings.Join(Parts(), ", "))
}

// programs are the paths of what was built.
type programs struct {
	kubeDir, tekton, podinfo, app, istiod, envoy, crds string
}

func (p programs) kube(name string) string { return filepath.Join(p.kubeDir, name) }

func buildPrograms(ctx context.Context, p *progress.Reporter, bare bool) (programs, error) {
	var names []string // none means all
	if bare {
		names = []string{"kube"}
	}
	done, err := buildParts(ctx, p, names...)
	if err != nil {
		return programs{}, err
	}
	var out programs
	for _, b := range done {
		switch b.Name {
		case "kube":
			out.kubeDir = b.Dir
		case "tekton":
			out.tekton = b.Dir
		case "podinfo":
			out.podinfo = b.Path
		case "app":
			out.app = b.Path
		case "istiod":
			out.istiod = b.Path
		case "envoy":
			out.envoy = b.Path
		case "istio-crds":
			out.crds = b.Path
		}
	}
	return out, nil
}
