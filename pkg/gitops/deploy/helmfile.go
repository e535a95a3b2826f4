package deploy

import (
	"os"
	"path/filepath"
	"strings"

	"helm.sh/helm/v4/pkg/registry"
	"sigs.k8s.io/yaml"

	"github.com/serin-cd/serin/pkg/task/failure"
)

// helmfile is what is understood of a helmfile.yaml.
type helmfile struct {
	Repositories []struct {
		Name string `json:"name"`
		URL  string `json:"url"`
		OCI  bool   `json:"oci"`
	} `json:"repositories"`
	Releases []helmfileRelease `json:"releases"`
}

type helmfileRelease struct {
	Name      string            `json:"name"`
	Namespace string            `json:"namespace"`
	Chart     string            `json:"chart"`
	Version   string            `json:"version"`
	Labels    map[string]string `json:"labels"`
	Installed *bool             `json:"installed"`
	Values    []any             `json:"values"` // names of files, or values
}

// helmfile are the releases of a helmfile.yaml that has no templates. What it does not understand it refuses: half an
// environment is none.
func (c Config) helmfile() ([]*source, error) {
	file := filepath.Join(c.Directory, "helmfile.yaml")
	there, err := exists(file)
	if err != nil {
		return nil, err
	}
	if !there {
		return nil, failure.Configf("reading the environment repository %s: it has no Chart.yaml, no env/Chart.yaml "+
			"and no helmfile.yaml: set directory to the folder that has one", c.Directory)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	if strings.Contains(string(text), "{{") {
		return nil, failure.Configf("reading %s: it has templates, which helmfile renders: run helmfile yourself, and "+
			"start the canaries after it", file)
	}
	var f helmfile
	if err := yaml.UnmarshalStrict(text, &f); err != nil {
		return nil, failure.Configf("reading %s: %w: run helmfile yourself, and start the canaries after it", file, err)
	}
	var all []*source
	var refusals failure.Refusals
	for _, r := range f.Releases {
		if r.Installed != nil && !*r.Installed {
			refusals.Addf("reading %s: release %s is to be uninstalled, which is not done here: run helm uninstall, "+
				"and take it out", file, r.Name)
			continue
		}
		s := &source{name: r.Name, namespace: r.Namespace}
		if s.namespace == "" {
			s.namespace = c.Namespace
		}
		if s.namespace != c.Namespace {
			refusals.Addf("reading %s: release %s is of namespace %s, want %s, which is applied: leave it out of there",
				file, r.Name, s.namespace, c.Namespace)
		}
		refusals.Add(s.valuesOf(r, c.Directory))
		refusals.Add(s.chartOf(r, f, c.Directory))
		all = append(all, s)
	}
	return all, refusals.Err()
}

// valuesOf takes the files and values of a release, later before earlier ones.
func (s *source) valuesOf(r helmfileRelease, directory string) error {
	for i, v := range r.Values {
		switch v := v.(type) {
		case string:
			if s.values != nil {
				return failure.Configf("reading helmfile.yaml: release %s has values file %s after values of its own: "+
					"put the files first", r.Name, v)
			}
			s.files = append(s.files, filepath.Join(directory, v))
		case map[string]any:
			if s.values != nil {
				return failure.Configf("reading helmfile.yaml: release %s has values of its own twice: put them in "+
					"one entry", r.Name)
			}
			s.values = v
		default:
			return failure.Configf("reading helmfile.yaml: values %d of release %s are %v, want the name of a file, "+
				"or values", i+1, r.Name, v)
		}
	}
	return nil
}

// chartOf says where the chart of a release is: in a folder, a registry or a repository of the helmfile.
func (s *source) chartOf(r helmfileRelease, f helmfile, directory string) error {
	if strings.HasPrefix(r.Chart, ".") {
		s.folder = filepath.Join(directory, r.Chart)
		return nil
	}
	at := strings.LastIndex(r.Chart, "/")
	if at < 0 {
		return failure.Configf("reading helmfile.yaml: release %s has chart %q, want ./FOLDER, REPOSITORY/CHART or "+
			"oci://REGISTRY/CHART", r.Name, r.Chart)
	}
	repository, name := r.Chart[:at], r.Chart[at+1:]
	if registry.IsOCI(r.Chart) {
		s.fetched = &wanted{name, r.Version, repository}
		return nil
	}
	for _, known := range f.Repositories {
		if known.Name == repository {
			address := known.URL
			if known.OCI && !registry.IsOCI(address) {
				address = registry.OCIScheme + "://" + address
			}
			s.fetched = &wanted{name, r.Version, address}
			return nil
		}
	}
	return failure.Configf("reading helmfile.yaml: release %s has chart %s of repository %s, which repositories does "+
		"not have: add it", r.Name, name, repository)
}
