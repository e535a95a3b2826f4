package environment

import (
	"path"
	"slices"
	"strings"

	"github.com/serin-cd/serin/pkg/gitops/splice"
	"github.com/serin-cd/serin/pkg/task/failure"
)

// releases are those of a directory's helmfiles.
type releases struct {
	*reader
	files []*splice.File
	all   []splice.Value
}

// readHelmfile finds helmfile.yaml, or those that it is made of.
func readHelmfile(r *reader) (*contents, error) {
	h := releases{reader: r}
	for _, pattern := range []string{"helmfile.yaml", "helmfile.yaml.gotmpl", "helmfile.d/*.yaml",
		"helmfile.d/*.yaml.gotmpl", "helmfiles/*/helmfile.yaml", "helmfiles/*/helmfile.yaml.gotmpl"} {
		files, err := r.glob(pattern)
		if err != nil {
			return nil, err
		}
		h.files = append(h.files, files...)
	}
	if len(h.files) == 0 {
		return nil, nil
	}
	c := &contents{add: h.add}
	for _, f := range h.files {
		for _, document := range f.Documents() {
			list, err := document.Get("releases")
			if err != nil {
				continue
			}
			for _, release := range list.Items() {
				h.all = append(h.all, release)
				p, err := h.release(release)
				if err != nil {
					return nil, err
				}
				if p != nil {
					c.pins = append(c.pins, *p)
				}
			}
		}
	}
	return c, nil
}

// release is the place that has the version of one; nil if a template writes its name.
func (h *releases) release(release splice.Value) (*pin, error) {
	app := scalar(release, "name")
	if app == "" {
		return nil, nil
	}
	given, err := h.values(release)
	if err != nil {
		return nil, err
	}
	p, err := released(app, release, given)
	if err != nil {
		return nil, err
	}
	if chart := scalar(release, "chart"); p.of == ofChart && strings.IndexAny(chart, "./") == 0 {
		p.refuse = "has chart " + chart + ", whose version no release names: have its values name image.tag"
	}
	return p, nil
}

// values are those of a release, the last first: they count most.
func (h *releases) values(release splice.Value) ([]values, error) {
	var all []values
	if list, err := release.Get("values"); err == nil {
		for _, item := range list.Items() {
			if item.Mapping() {
				all = append(all, mapping(item))
				continue
			}
			name, err := item.Scalar()
			if err != nil { // a template
				continue
			}
			f, err := h.absolute(path.Join(path.Dir(item.File().Name), name))
			if err != nil {
				return nil, err
			}
			if f != nil && len(f.Documents()) > 0 {
				all = append(all, mapping(f.Documents()[0]))
			}
		}
	}
	if set, err := release.Get("set"); err == nil {
		all = append(all, parameters(set))
	}
	slices.Reverse(all)
	return all, nil
}

// add writes a release at the end of the list.
func (h *releases) add(app, version string, a Addition) (map[string][]byte, error) {
	if err := semantic(app, version); err != nil {
		return nil, err
	}
	f, err := h.home(app)
	if err != nil {
		return nil, err
	}
	f, chart, err := h.chart(f, app, a)
	if err != nil {
		return nil, err
	}
	item := []splice.Field{{Key: "name", Value: app}}
	if a.Namespace == "" {
		a.Namespace = h.shared("namespace", func(s string) string { return s })
	}
	if a.Namespace != "" {
		item = append(item, splice.Field{Key: "namespace", Value: a.Namespace})
	}
	item = append(item, splice.Field{Key: "chart", Value: chart}, splice.Field{Key: "version", Value: version})
	if f, err = appended(f, "releases", item); err != nil {
		return nil, err
	}
	return map[string][]byte{f.Name: f.Bytes}, nil
}

// home is the helmfile that has releases, or may have them.
func (h *releases) home(app string) (*splice.File, error) {
	var all []*splice.File
	for _, f := range h.files {
		if _, err := f.At("releases"); err == nil {
			all = append(all, f)
		}
	}
	switch {
	case len(all) == 1:
		return all[0], nil
	case len(all) == 0 && len(h.files) == 1:
		return h.files[0], nil
	}
	if len(all) == 0 {
		all = h.files
	}
	var known []string
	for _, f := range all {
		known = append(known, f.Name)
	}
	return nil, failure.Configf("adding %s to %s: it has %s: name the directory of the environment", app, h,
		strings.Join(known, " and "))
}

// chart is how a helmfile names the chart of an application, and the helmfile that knows where it comes from.
func (h *releases) chart(f *splice.File, app string, a Addition) (*splice.File, string, error) {
	name, from := a.Chart, strings.TrimSuffix(a.Repository, "/")
	if name == "" {
		name = app
	}
	if from == "" {
		if from = h.shared("chart", path.Dir); from == "" || strings.HasPrefix(from, ".") {
			return nil, "", failure.Configf("adding %s to %s: say from which chart-repository it comes", app, f.Name)
		}
		return f, from + "/" + name, nil
	}
	for _, known := range h.files {
		list, err := known.At("repositories")
		if err != nil {
			continue
		}
		for _, repository := range list.Items() {
			url := strings.TrimSuffix(scalar(repository, "url"), "/")
			if url != "" && (url == from || "oci://"+url == from && scalar(repository, "oci") == "true") {
				return f, scalar(repository, "name") + "/" + name, nil
			}
		}
	}
	if strings.HasPrefix(from, "oci://") {
		return f, from + "/" + name, nil
	}
	f, err := appended(f, "repositories", []splice.Field{{Key: "name", Value: app}, {Key: "url", Value: from}})
	return f, app + "/" + name, err
}

// shared is what all releases have in common at a key; empty if they differ.
func (h *releases) shared(key string, of func(string) string) string {
	common := ""
	for i, release := range h.all {
		got := scalar(release, key)
		if got != "" {
			got = of(got)
		}
		if i > 0 && got != common {
			return ""
		}
		common = got
	}
	return common
}
