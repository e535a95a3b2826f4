package deploy

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/cli"
	"helm.sh/helm/v4/pkg/getter"
	"helm.sh/helm/v4/pkg/registry"
	"helm.sh/helm/v4/pkg/repo/v1"
	"sigs.k8s.io/yaml"

	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/task/failure"
)

// wanted is a chart that is fetched.
type wanted struct{ name, version, repository string }

func (w wanted) String() string {
	return strings.TrimSpace(fmt.Sprintf("chart %s %s of %s", w.name, w.version, w.repository))
}

// fetcher fetches charts into memory: the folder of the repository stays as it is.
type fetcher struct{ plain bool }

// dependencies gives a chart those that its folder charts does not hold. A lock file decides their versions.
func (f fetcher) dependencies(ctx context.Context, c *chart.Chart, folder string) error {
	for _, d := range c.Metadata.Dependencies {
		if slices.ContainsFunc(c.Dependencies(), func(has *chart.Chart) bool { return satisfies(has, d) }) {
			continue
		}
		if d.Repository == "" {
			return failure.Configf("reading dependency %s %s of chart %s: it has no repository, and folder charts has "+
				"none such: add either", d.Name, d.Version, c.Name())
		}
		w := wanted{d.Name, d.Version, d.Repository}
		if c.Lock != nil {
			for _, locked := range c.Lock.Dependencies {
				if locked.Name == d.Name && locked.Repository == d.Repository && within(locked.Version, d.Version) {
					w.version = locked.Version
				}
			}
		}
		var found *chart.Chart
		var err error
		if local, is := strings.CutPrefix(d.Repository, "file://"); is {
			found, err = f.local(ctx, filepath.Join(folder, local), w)
		} else {
			found, err = f.fetch(ctx, w)
		}
		if err != nil {
			return err
		}
		c.AddDependency(found)
	}
	return nil
}

// satisfies says whether a chart is the one that a dependency asks for.
func satisfies(c *chart.Chart, d *chart.Dependency) bool {
	return c.Name() == d.Name && within(c.Metadata.Version, d.Version)
}

func within(version, constraint string) bool {
	if version == constraint || constraint == "" {
		return true
	}
	c, err := semver.NewConstraint(constraint)
	if err != nil {
		return false
	}
	v, err := semver.NewVersion(version)
	return err == nil && c.Check(v)
}

// local is a chart in a folder beside.
func (f fetcher) local(ctx context.Context, folder string, w wanted) (*chart.Chart, error) {
	c, err := loader.LoadDir(folder)
	if err != nil {
		return nil, failure.Configf("reading %s: %w", w, err)
	}
	if !within(c.Metadata.Version, w.version) {
		return nil, failure.Configf("reading %s: its version is %s", w, c.Metadata.Version)
	}
	return c, f.dependencies(ctx, c, folder)
}

// fetch is a chart of a registry or of a chart repository, again and again while that is away.
func (f fetcher) fetch(ctx context.Context, w wanted) (found *chart.Chart, err error) {
	err = kube.Retry(ctx, func(ctx context.Context) (err error) {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		var archive []byte
		if registry.IsOCI(w.repository) {
			archive, err = f.pull(w)
		} else {
			archive, err = f.download(w)
		}
		if err == nil {
			found, err = loader.LoadArchive(bytes.NewReader(archive))
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("fetching %s: %w", w, err)
	}
	return found, nil
}

// pull takes a chart from a registry, with the credentials of the account, if it has any.
func (f fetcher) pull(w wanted) ([]byte, error) {
	var options []registry.ClientOption
	if f.plain {
		options = append(options, registry.ClientOptPlainHTTP())
	}
	client, err := registry.NewClient(options...)
	if err != nil {
		return nil, err
	}
	ref := strings.TrimPrefix(strings.TrimSuffix(w.repository, "/"), registry.OCIScheme+"://") + "/" + w.name
	tag := w.version
	if _, err := semver.StrictNewVersion(tag); err != nil { // a range
		tags, err := client.Tags(ref)
		if err != nil {
			return nil, err
		}
		if tag, err = registry.GetTagMatchingVersionOrConstraint(tags, w.version); err != nil {
			return nil, err
		}
	}
	pulled, err := client.Pull(ref + ":" + tag)
	if err != nil {
		return nil, err
	}
	return pulled.Chart.Data, nil
}

// download takes a chart from a chart repository.
func (f fetcher) download(w wanted) ([]byte, error) {
	getters := getter.All(cli.New())
	text, err := get(getters, w.repository, "index.yaml")
	if err != nil {
		return nil, err
	}
	var index repo.IndexFile
	if err := yaml.Unmarshal(text, &index); err != nil {
		return nil, fmt.Errorf("reading its index: %w", err)
	}
	index.SortEntries()
	version, err := index.Get(w.name, w.version)
	if err != nil {
		return nil, failure.As(failure.ErrConfig, err)
	}
	if len(version.URLs) == 0 {
		return nil, failure.Configf("%s %s has no address in the index", w.name, version.Version)
	}
	return get(getters, w.repository, version.URLs[0])
}

// get reads a file of a chart repository, whose name may be an address of its own.
func get(getters getter.Providers, repository, name string) ([]byte, error) {
	address, err := repo.ResolveReferenceURL(repository, name)
	if err != nil {
		return nil, err
	}
	parsed, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	by, err := getters.ByScheme(parsed.Scheme)
	if err != nil {
		return nil, failure.As(failure.ErrConfig, err)
	}
	read, err := by.Get(address, getter.WithURL(repository))
	if err != nil {
		return nil, err
	}
	return read.Bytes(), nil
}
