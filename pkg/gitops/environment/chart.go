package environment

import (
	"errors"
	"path"
	"strings"

	"github.com/Masterminds/semver/v3"

	"github.com/serin-cd/serin/pkg/gitops/splice"
	"github.com/serin-cd/serin/pkg/task/failure"
)

// umbrella is a chart whose dependencies are the applications.
type umbrella struct {
	*reader
	name         string       // the file that lists them, by its path in the directory
	file         *splice.File // that; nil if it is still to be made
	dependencies []splice.Value
}

// readChart finds the chart where Helm is run: in the directory, or in its folder env.
func readChart(r *reader) (*contents, error) {
	for _, folder := range []string{"", "env"} {
		chart, err := r.file(path.Join(folder, "Chart.yaml"))
		if err != nil {
			return nil, err
		}
		requirements, err := r.file(path.Join(folder, "requirements.yaml"))
		if err != nil {
			return nil, err
		}
		if chart == nil && requirements == nil {
			continue
		}
		u := umbrella{reader: r, name: path.Join(folder, "requirements.yaml"), file: requirements}
		// Helm 3 reads requirements.yaml of a chart of the first API version, and of no other.
		if chart != nil && (len(chart.Documents()) > 0 && scalar(chart.Documents()[0], "apiVersion") == "v2" ||
			requirements == nil && len(u.listed(chart)) > 0) {
			u.name, u.file = path.Join(folder, "Chart.yaml"), chart
		}
		u.dependencies = u.listed(u.file)
		return u.contents(folder, chart)
	}
	return nil, nil
}

// listed are the dependencies in a file.
func (u umbrella) listed(f *splice.File) []splice.Value {
	if f == nil {
		return nil
	}
	list, err := f.At("dependencies")
	if err != nil {
		return nil
	}
	return list.Items()
}

func (u umbrella) contents(folder string, chart *splice.File) (*contents, error) {
	files, err := u.overrides(folder)
	if err != nil {
		return nil, err
	}
	c := &contents{add: u.add}
	var there []string
	for _, d := range u.dependencies {
		p, err := u.dependency(folder, d, files)
		if err != nil {
			return nil, err
		}
		c.pins = append(c.pins, *p)
		there = append(there, p.app)
	}
	// The chart may have templates of its own.
	others, err := keyed(files, there...)
	if err != nil {
		return nil, err
	}
	c.pins = append(c.pins, others...)
	if chart != nil && len(chart.Documents()) > 0 {
		var own []values
		for _, f := range files {
			own = append(own, mapping(f))
		}
		p, err := tag(scalar(chart.Documents()[0], "name"), own)
		if err != nil {
			return nil, err
		}
		if p != nil {
			c.pins = append(c.pins, *p)
		}
	}
	return c, nil
}

// dependency is the place that has the version of one.
func (u umbrella) dependency(folder string, d splice.Value, files []splice.Value) (*pin, error) {
	name := scalar(d, "name")
	if name == "" {
		return nil, d.Refusef("has no name, want the chart's")
	}
	app := name
	if alias := scalar(d, "alias"); alias != "" {
		app = alias
	}
	given := below(app, files)
	p, err := tag(app, given)
	if err != nil {
		return nil, err
	}
	if p == nil {
		p = &pin{app: app, of: ofChart, lock: u.locked}
		p.at, err = d.Get("version")
		if errors.Is(err, splice.ErrAbsent) || err == nil && p.at.Empty() {
			p.at, p.key, err = d, "version", nil
		}
		if err != nil {
			return nil, err
		}
	}
	charts := []string{path.Join(folder, "charts", name)}
	if local, is := strings.CutPrefix(scalar(d, "repository"), "file://"); is {
		charts = append(charts, path.Join(folder, local))
	}
	for _, chart := range charts {
		f, err := u.reader.file(path.Join(chart, "values.yaml"))
		if err != nil {
			return nil, err
		}
		if f != nil && len(f.Documents()) > 0 {
			given = append(given, mapping(f.Documents()[0]))
		}
	}
	p.values = given
	return p, nil
}

// add writes a dependency at the end of the list.
func (u umbrella) add(app, version string, a Addition) (map[string][]byte, error) {
	item, err := u.item(app, version, a)
	if err != nil {
		return nil, err
	}
	f := u.file
	if f == nil {
		if f, err = splice.Read(path.Join(u.directory, u.name), nil); err != nil {
			return nil, err
		}
	}
	after, err := appended(f, "dependencies", item)
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{after.Name: after.Bytes}
	lock, err := u.locked(after)
	if lock != nil {
		files[lock.Name] = lock.Bytes
	}
	return files, err
}

func (u umbrella) item(app, version string, a Addition) ([]splice.Field, error) {
	if err := semantic(app, version); err != nil {
		return nil, err
	}
	name, from := a.Chart, a.Repository
	if name == "" {
		name = app
	}
	for i, d := range u.dependencies {
		other := scalar(d, "repository")
		switch {
		case a.Repository != "":
		case i > 0 && other != from:
			return nil, failure.Configf("adding %s to %s: its applications come from %s and %s: say from which "+
				"chart-repository this one comes", app, u.name, from, other)
		default:
			from = other
		}
	}
	if from == "" {
		return nil, failure.Configf("adding %s to %s: say from which chart-repository it comes", app, u.name)
	}
	item := []splice.Field{{Key: "name", Value: name}, {Key: "version", Value: version},
		{Key: "repository", Value: from}}
	if name != app {
		item = append(item, splice.Field{Key: "alias", Value: app})
	}
	return item, nil
}

// semantic refuses what cannot be the version of a chart.
func semantic(app, version string) error {
	if _, err := semver.NewVersion(version); err != nil {
		return failure.Configf("adding %s %s: its chart needs a semantic version such as 1.2.3: %w", app, version, err)
	}
	return nil
}

// appended has one more item in a list at the top of its last document. Where there is no such list, it begins one.
func appended(f *splice.File, key string, item []splice.Field) (*splice.File, error) {
	documents := f.Documents()
	if len(documents) == 0 {
		text := string(f.Bytes)
		if text != "" && !strings.HasSuffix(text, "\n") {
			text += "\n"
		}
		var err error
		if f, err = splice.Read(f.Name, []byte(text+key+":\n")); err != nil {
			return nil, err
		}
	}
	list, err := f.At(key)
	switch {
	case errors.Is(err, splice.ErrAbsent):
		return documents[len(documents)-1].InsertList(key, item)
	case err != nil:
		return nil, err
	}
	return list.Append(item)
}
