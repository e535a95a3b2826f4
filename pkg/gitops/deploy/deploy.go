package deploy

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/cluster/workload"
	"github.com/serin-cd/serin/pkg/task/failure"
	"github.com/serin-cd/serin/pkg/task/parameter"
)

// Config says what is applied, and where to.
type Config struct {
	// Folder that the environment repository was cloned to.
	Source string `env:"SOURCE, required"`
	// Folder of the environment in its repository. It holds a chart, whose dependencies are the applications, or one in
	// its folder env, or a helmfile.yaml.
	Directory string `env:"DIRECTORY, default=."`
	// Namespace of the run.
	Own string `env:"NAMESPACE, required"`
	// Namespace that the environment lives in. Empty takes that of the run.
	Namespace string `env:"TARGET_NAMESPACE"`
	// Name of the Helm release. Empty takes the name of the namespace. The releases of a helmfile have names of their
	// own.
	Release string `env:"RELEASE_NAME"`
	// How Helm applies: server by server-side apply, client by a three-way merge, auto as the release was applied
	// before, and by server-side apply the first time.
	Mode Mode `env:"APPLY_MODE, default=auto"`
	// How long it may take in all, with the hooks of the charts.
	Deadline parameter.Duration `env:"APPLY_DEADLINE, default=10m"`
	// Whether registries are reached without TLS: true or false.
	PlainHTTP bool `env:"PLAIN_HTTP, default=false"`
}

// Mode is how Helm applies.
type Mode string

// The modes.
const (
	Auto   Mode = "auto"
	Client Mode = "client"
	Server Mode = "server"
)

// EnvDecode reads a mode.
func (m *Mode) EnvDecode(text string) error {
	if *m = Mode(text); *m != Auto && *m != Client && *m != Server {
		return fmt.Errorf("%q, want auto, client or server", text)
	}
	return nil
}

// Outcome is what an environment looks like after it was applied.
type Outcome struct {
	Changed  []string // applications whose pod template is another now
	Canaries []string // applications for which the repository has switched the canary on
}

// Step applies an environment with the cluster of this process.
func Step(ctx context.Context, c Config) (Outcome, error) {
	config, err := kube.Config()
	if err != nil {
		return Outcome{}, err
	}
	return Apply(ctx, config, c)
}

// Apply installs or upgrades the releases of an environment repository. What Serin holds stays as it is: how many pods
// the target has, which pods the Service selects, and the weights.
func Apply(ctx context.Context, config *rest.Config, c Config) (Outcome, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, time.Duration(c.Deadline),
		fmt.Errorf("the environment is not applied after %s", time.Duration(c.Deadline)))
	defer cancel()
	c.Namespace = cmp.Or(c.Namespace, c.Own)
	c.Directory = filepath.Join(c.Source, c.Directory)
	environment := application.Application{Namespace: c.Namespace, Name: "environment"}
	if err := environment.Validate(); err != nil {
		return Outcome{}, err
	}
	releases, err := c.releases()
	if err != nil {
		return Outcome{}, err
	}
	cluster, err := kube.New(config)
	if err != nil {
		return Outcome{}, err
	}
	var out Outcome
	for _, r := range releases { // all are known to be there before the first is applied
		if err := r.load(ctx, c.PlainHTTP); err != nil {
			return out, err
		}
	}
	for _, r := range releases {
		if err := apply(ctx, config, cluster, c, r, &out); err != nil {
			return out, fmt.Errorf("applying release %s to namespace %s: %w", r.name, r.namespace, err)
		}
	}
	slices.Sort(out.Changed)
	slices.Sort(out.Canaries)
	return out, nil
}

// apply installs or upgrades one release, and adds what has become of its applications.
func apply(ctx context.Context, config *rest.Config, cluster *kube.Cluster, c Config, r *source, out *Outcome) error {
	before, err := revisions(ctx, cluster, r.namespace)
	if err != nil {
		return err
	}
	seen := &rendered{chart: r.chart, values: r.values}
	actions, err := connect(ctx, config, cluster, r.namespace, r.name, seen)
	if err != nil {
		return err
	}
	if err := upgrade(ctx, actions, c, r, seen); err != nil {
		return err
	}
	after, err := revisions(ctx, cluster, r.namespace)
	if err != nil {
		return err
	}
	for _, app := range slices.Sorted(maps.Keys(seen.deployments)) {
		if before[app] != after[app] {
			out.Changed = append(out.Changed, app)
		}
		if seen.deployments[app] {
			out.Canaries = append(out.Canaries, app)
		}
		slog.Info("application applied", "app", app, "namespace", r.namespace, "release", r.name,
			"revision", workload.Short(after[app]), "changed", before[app] != after[app],
			"canary", seen.deployments[app])
	}
	return nil
}

// revisions are those of the Deployments of a namespace.
func revisions(ctx context.Context, cluster *kube.Cluster, namespace string) (map[string]string, error) {
	list, err := kube.List(ctx, cluster.Objects(kube.Deployments, namespace), metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("listing the Deployments of namespace %s: %w", namespace, err)
	}
	all := map[string]string{}
	for i := range list.Items {
		d, err := workload.FromObject(&list.Items[i])
		if err != nil {
			return nil, err
		}
		all[d.Name] = d.Revision()
	}
	return all, nil
}

// name is that of the release of a chart.
func (c Config) name() (string, error) {
	name := c.Release
	if name == "" {
		name = c.Namespace
	}
	if len(name) > 53 {
		return "", failure.Configf("reading release-name: %q has %d characters, Helm allows 53: give another", name,
			len(name))
	}
	return name, nil
}
