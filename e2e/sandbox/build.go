package sandbox

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

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
	work time.Duration // one processor's, to build it from nothing after those above it
	make func() (build.Artifact, error)
}

// triggers is the part with Tekton Triggers.
const triggers = "triggers"

// flaggerCRDs is the part with the definitions of Flagger's objects.
const flaggerCRDs = "flagger-crds"

// optional are the parts of what is only there if it is asked for.
var optional = []string{MetricsServer, Flagger, flaggerCRDs, triggers}

// Kubernetes has most of the packages that the others need, and comes first.
var parts = []part{
	{"kube", "kube", 480 * time.Second, build.Kube},
	{"istiod", "pilot-discovery", 180 * time.Second, build.Istiod},
	{"tekton", "", 60 * time.Second, build.Tekton},
	{"app", "app", 2 * time.Second, build.App},
	{"envoy", "envoy", 5 * time.Second, func() (build.Artifact, error) { return build.Envoy(), nil }},
	{"istio-crds", "crds.yaml", time.Second, build.IstioCRDs},
	{"metrics-server", "metrics-server", 10 * time.Second, build.MetricsServer},
	{Flagger, "flagger", 150 * time.Second, build.Flagger},
	{flaggerCRDs, "crds.yaml", time.Second, build.FlaggerCRDs},
	{triggers, "", 300 * time.Second, build.Triggers},
}

// parts are those that the sandbox is made of.
func (o Options) parts() []string {
	names := Parts()
	if o.Bare {
		names = []string{"kube"}
	}
	names = slices.DeleteFunc(names, func(name string) bool { return slices.Contains(optional, name) })
	if o.MetricsServer {
		names = append(names, MetricsServer)
	}
	if o.Flagger {
		names = append(names, Flagger, flaggerCRDs)
	}
	if o.Triggers && !o.Bare {
		names = append(names, triggers)
	}
	return names
}

// Parts are the names that Build knows.
func Parts() []string {
	var names []string
	for _, p := range parts {
		names = append(names, p.name)
	}
	return names
}

// Build makes the named parts, all of them if none is named, unless the cache has them already.
// It needs neither root nor Debian. Interrupted, it goes on from there the next time.
func Build(ctx context.Context, out io.Writer, names ...string) ([]Built, error) {
	return buildParts(ctx, progress.New(out), names...)
}

func buildParts(ctx context.Context, p *progress.Reporter, names ...string) ([]Built, error) {
	all, err := choose(ctx, names)
	if err != nil {
		return nil, err
	}
	group, ctx := errgroup.WithContext(ctx)
	startBuild(ctx, group, p, all)
	return all.built(), group.Wait()
}

// building is a build that goes on while what it has made already is used.
type building struct {
	programs
	made map[string]chan struct{} // closed when the part of that name is there
}

// startBuild makes parts within a group, whose context ends when one of them cannot be made.
func startBuild(ctx context.Context, group *errgroup.Group, p *progress.Reporter, all selection) *building {
	all.announce(p)
	b := &building{programs: paths(all), made: map[string]chan struct{}{}}
	var turn *build.Turn
	for _, it := range all {
		mine, made := build.NewTurn(turn), make(chan struct{})
		turn, b.made[it.name] = mine, made
		group.Go(func() error {
			_, err := build.Ensure(ctx, it.artifact, mine, p)
			if err == nil {
				close(made)
			}
			return err
		})
	}
	return b
}

// wait returns when parts are there.
func (b *building) wait(ctx context.Context, names ...string) error {
	for _, name := range names {
		select {
		case <-b.made[name]:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// selection is what is to be there, in the order in which it is built.
type selection []selected

type selected struct {
	part
	artifact build.Artifact
	dir      string
	cached   bool
}

// choose finds the named parts, all of them if none is named.
func choose(ctx context.Context, names []string) (selection, error) {
	if len(names) == 0 || len(names) == 1 && names[0] == "all" {
		names = Parts()
	}
	var all selection
	for _, name := range names {
		i := slices.IndexFunc(parts, func(p part) bool { return p.name == name })
		if i < 0 {
			return nil, fmt.Errorf("building %s: the sandbox has no such part, want one of %s or all", name,
				strings.Join(Parts(), ", "))
		}
		artifact, err := parts[i].make()
		if err != nil {
			return nil, err
		}
		dir, cached, err := build.Find(ctx, artifact)
		if err != nil {
			return nil, err
		}
		all = append(all, selected{parts[i], artifact, dir, cached})
	}
	return all, nil
}

func (all selection) built() []Built {
	var out []Built
	for _, it := range all {
		out = append(out, Built{Name: it.name, Path: filepath.Join(it.dir, it.file), Dir: it.dir})
	}
	return out
}

// announce says what is missing, and how long it takes to build that from nothing.
func (all selection) announce(p *progress.Reporter) {
	var missing []string
	var work time.Duration
	for _, it := range all {
		if !it.cached {
			missing = append(missing, it.name)
			work += it.work
		}
	}
	if len(missing) == 0 {
		return
	}
	cores := runtime.NumCPU()
	p.Say("to build: %s; %d of %d parts are in the cache", strings.Join(missing, ", "), len(all)-len(missing), len(all))
	if minutes := (work / time.Duration(cores)).Round(time.Minute).Minutes(); minutes >= 1 {
		p.Say("that takes about %.0f min on %d quiet processors, less if an earlier build was interrupted; Ctrl-C "+
			"loses nothing", minutes, cores)
	}
}

// programs are the paths of what was built.
type programs struct {
	kubeDir, tekton, app, istiod, envoy, crds, metrics, flagger, flaggerCRDs, triggers string
}

func (p programs) kube(name string) string { return filepath.Join(p.kubeDir, name) }

// paths are where the parts are, or will be.
func paths(all selection) programs {
	var out programs
	for _, b := range all.built() {
		switch b.Name {
		case "kube":
			out.kubeDir = b.Dir
		case "tekton":
			out.tekton = b.Dir
		case "app":
			out.app = b.Path
		case "istiod":
			out.istiod = b.Path
		case "envoy":
			out.envoy = b.Path
		case "istio-crds":
			out.crds = b.Path
		case MetricsServer:
			out.metrics = b.Path
		case Flagger:
			out.flagger = b.Path
		case flaggerCRDs:
			out.flaggerCRDs = b.Path
		case triggers:
			out.triggers = b.Dir
		}
	}
	return out
}
