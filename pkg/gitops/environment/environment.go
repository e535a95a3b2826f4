package environment

import (
	"cmp"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"

	"github.com/serin-cd/serin/pkg/task/failure"
)

// Layout is how a repository says which versions it wants.
type Layout string

// The layouts, in the order in which they are looked for.
const (
	Helmfile  Layout = "helmfile"  // releases of a helmfile.yaml
	Chart     Layout = "chart"     // dependencies of a chart, in Chart.yaml or requirements.yaml
	Argo      Layout = "argo"      // Applications of Argo CD
	Flux      Layout = "flux"      // HelmReleases of Flux
	Kustomize Layout = "kustomize" // images of a kustomization.yaml
	Values    Layout = "values"    // image tags in files of values
)

// Options say what the files do not tell.
type Options struct {
	// Directory of the repository in which the environment is; empty is its root.
	Directory string
	// Layout that it has; empty finds it.
	Layout Layout
}

// Environment is what the files of a repository say at one commit.
type Environment struct {
	name string
	contents
}

// contents are what a layout has found.
type contents struct {
	layout Layout
	pins   []pin
	add    func(app, version string, a Addition) (map[string][]byte, error) // nil where a person has to
	advice string                                                           // how to add an application by hand
}

// layouts read what is there; they return nil where a repository is laid out in another way.
var layouts = []struct {
	layout Layout
	read   func(*reader) (*contents, error)
}{
	{Helmfile, readHelmfile}, {Chart, readChart}, {Argo, readArgo}, {Flux, readFlux}, {Kustomize, readKustomize},
	{Values, readValues},
}

// Open reads the environment in a repository. It changes no file.
func Open(repository fs.FS, o Options) (*Environment, error) {
	r, err := newReader(repository, o.Directory)
	if err != nil {
		return nil, err
	}
	var known []string
	for _, l := range layouts {
		known = append(known, string(l.layout))
		if o.Layout != "" && o.Layout != l.layout {
			continue
		}
		found, err := l.read(r)
		if err != nil {
			return nil, err
		}
		if found != nil {
			found.layout = l.layout
			shared(found.pins)
			slices.SortStableFunc(found.pins, func(a, b pin) int { return cmp.Compare(a.app, b.app) })
			return &Environment{name: r.String(), contents: *found}, nil
		}
	}
	switch {
	case o.Layout == "":
		return nil, failure.Configf("opening %s: found no versions there as %s: say in which directory they are", r,
			strings.Join(known, ", "))
	case !slices.Contains(known, string(o.Layout)):
		return nil, failure.Configf("opening %s: layout %s, want one of %s", r, o.Layout, strings.Join(known, ", "))
	}
	return nil, failure.Configf("opening %s: found no versions there as %s: say in which directory they are", r,
		o.Layout)
}

// Layout is the one that was found.
func (e *Environment) Layout() Layout { return e.layout }

// Application is a place that says which version of an application is wanted.
type Application struct {
	Name    string `json:"name"`
	Version string `json:"version"` // empty where none is named, or a template writes it
	File    string `json:"file"`
	Line    int    `json:"line"` // from 1 on
}

// Apps are the applications by name. One that stands in several places is there several times.
func (e *Environment) Apps() []Application {
	var all []Application
	for _, p := range e.pins {
		all = append(all, p.application())
	}
	return all
}

// Switch says whether an application is released as a canary here.
type Switch struct {
	On   bool
	File string // that says so; empty where nothing does, which is off
	Line int
}

// Canary finds canary.enabled among the values of an application, in the strongest place that has it.
func (e *Environment) Canary(app string) (Switch, error) {
	p, err := e.pin(app)
	if err != nil {
		return Switch{}, err
	}
	if p == nil {
		return Switch{}, e.unknown(app)
	}
	return p.canary()
}

// Addition says what a repository needs to know of an application that it does not have yet.
type Addition struct {
	// Repository of its chart, such as https://charts.example.com or oci://registry.example.com/charts. Empty takes
	// that of the applications that are there, if they share one.
	Repository string
	// Chart is its name; empty is the application's. With another name the application becomes its alias.
	Chart string
	// Namespace of its release, where the layout has one.
	Namespace string
}

// Change is what a promotion does to the files.
type Change struct {
	Files     map[string][]byte // those that change, by their path in the repository; none if the version is there
	From      string            // the version until then; empty at the first promotion
	First     bool              // the application was not there
	Downgrade bool              // it is older than what is there
}

// names and versions are written into files, branches and the names of objects.
var (
	names  = regexp.MustCompile(`^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$`)
	tags   = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.+-]{0,127}$`)
	longer = regexp.MustCompile(`[\s<>=~^*|,]|(^|\.)[xX](\.|$)`) // what makes a range of a version
)

// Promote changes the version of an application: one line of one file. An application that is not there is added, if
// the layout is one whose new application takes no more than a few lines.
func (e *Environment) Promote(app, version string, a Addition) (Change, error) {
	if !names.MatchString(app) {
		return Change{}, failure.Configf("promoting %q in %s: want the name of an application", app, e.name)
	}
	if !tags.MatchString(version) {
		return Change{}, failure.Configf("promoting %s in %s: version %q, want one such as 1.2.3", app, e.name, version)
	}
	p, err := e.pin(app)
	if err != nil {
		return Change{}, err
	}
	if p == nil {
		if e.add == nil {
			return Change{}, fmt.Errorf("%w: %s", e.unknown(app), e.advice)
		}
		files, err := e.add(app, version, a)
		return Change{Files: files, First: true}, err
	}
	c := Change{From: p.version()}
	if c.From == version {
		return c, nil
	}
	after, err := p.set(version)
	if err != nil {
		return Change{}, fmt.Errorf("promoting %s to %s: %w", app, version, err)
	}
	c.Files = map[string][]byte{after.Name: after.Bytes}
	if p.lock != nil {
		lock, err := p.lock(after)
		if err != nil {
			return Change{}, fmt.Errorf("promoting %s to %s: %w", app, version, err)
		}
		if lock != nil {
			c.Files[lock.Name] = lock.Bytes
		}
	}
	c.Downgrade = older(version, c.From)
	return c, nil
}

// pin is the one place that has the version of an application; nil if none has.
func (e *Environment) pin(app string) (*pin, error) {
	var found []string
	var one *pin
	files := map[string]bool{}
	for i, p := range e.pins {
		if p.app == app {
			one = &e.pins[i]
			at := p.application()
			files[at.File] = true
			found = append(found, fmt.Sprintf("%s:%d", at.File, at.Line))
		}
	}
	if len(found) < 2 {
		return one, nil
	}
	advice := "name the directory of the environment"
	if len(files) == 1 {
		advice = "take all but one out"
	}
	return nil, failure.Configf("looking for %s in %s: it stands in %s: %s", app, e.name, strings.Join(found, " and "),
		advice)
}

// unknown says that an application is not there.
func (e *Environment) unknown(app string) error {
	var there []string
	for _, p := range e.pins {
		there = append(there, p.app)
	}
	if len(there) == 0 {
		return failure.Configf("looking for %s in %s: it has no applications yet", app, e.name)
	}
	return failure.Configf("looking for %s in %s: it has %s", app, e.name,
		strings.Join(slices.Compact(there), ", "))
}
