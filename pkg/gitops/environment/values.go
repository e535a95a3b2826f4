package environment

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/serin-cd/serin/pkg/gitops/splice"
)

// values are those that the chart of one application is given: what stands at a path such as image.tag, or
// splice.ErrAbsent.
type values func(path string) (splice.Value, error)

// mapping are values below one another.
func mapping(v splice.Value) values { return v.At }

// parameters are values as Helm's --set has them: a list of names and what they are set to.
func parameters(v splice.Value) values {
	return func(path string) (splice.Value, error) { return v.At("[name=" + path + "].value") }
}

// canary looks for the switch.
func (p pin) canary() (Switch, error) {
	for _, of := range p.values {
		if old, err := of("canary.enable"); err == nil {
			return Switch{}, old.Refusef("is the switch of the first tutorial, want canary.enabled")
		}
		found, err := of("canary.enabled")
		if errors.Is(err, splice.ErrAbsent) || err == nil && found.Empty() {
			continue
		}
		if err != nil {
			return Switch{}, err
		}
		said, err := found.Scalar()
		if err != nil {
			return Switch{}, err
		}
		on, err := truth(said)
		if err != nil {
			return Switch{}, found.Refusef("%w", err)
		}
		return Switch{On: on, File: found.File().Name, Line: found.Line()}, nil
	}
	return Switch{}, nil
}

// truth is what Helm reads, which knows the words of YAML 1.1.
func truth(said string) (bool, error) {
	switch strings.ToLower(said) {
	case "true", "yes", "on", "y":
		return true, nil
	case "false", "no", "off", "n":
		return false, nil
	}
	return false, fmt.Errorf("is %s, want true or false", said)
}

// tag is the place among an application's values that names the tag of its image: what it says runs, whatever the
// version of the chart is. It is nil if none does.
func tag(app string, all []values) (*pin, error) {
	for _, of := range all {
		at, err := of("image.tag")
		if err == nil && !blank(at) {
			p := &pin{app: app, at: at, values: all}
			for _, digest := range []string{"image.digest", "image.sha"} {
				if d, err := of(digest); err == nil && !blank(d) {
					p.refuse = "stands beside a digest, which decides: take the digest out"
				}
			}
			if strings.Contains(p.version(), "@") {
				p.refuse = "has a digest, which decides: take the digest out"
			}
			return p, nil
		}
		if err != nil && !errors.Is(err, splice.ErrAbsent) {
			return nil, err
		}
		at, err = of("image")
		if errors.Is(err, splice.ErrAbsent) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if p := reference(app, at); p != nil {
			p.values = all
			return p, nil
		}
	}
	return nil, nil
}

// reference is the tag of an image that is written in one; nil if the text has none.
func reference(app string, at splice.Value) *pin {
	text, err := at.Scalar()
	if err != nil {
		return nil
	}
	text, _, digest := strings.Cut(text, "@")
	colon := strings.LastIndexByte(text, ':')
	if colon < 0 || strings.Contains(text[colon:], "/") {
		return nil
	}
	p := &pin{app: app, at: at, before: text[:colon+1]}
	if digest {
		p.refuse = "has a digest, which decides: take the digest out"
	}
	return p
}

// repository is the last part of the name of an image, which is that of its application.
func repository(image string) string {
	image, _, _ = strings.Cut(image, "@")
	image = image[strings.LastIndexByte(image, '/')+1:]
	image, _, _ = strings.Cut(image, ":")
	return image
}

// blank says whether nothing stands there, or an empty text.
func blank(v splice.Value) bool {
	text, err := v.Scalar()
	return v.Empty() || err == nil && text == ""
}

// below are an application's values where they stand below its name, in some files of which the first counts most.
func below(app string, files []splice.Value) []values {
	var all []values
	for _, f := range files {
		if v, err := f.Get(app); err == nil && v.Mapping() {
			all = append(all, mapping(v))
		}
	}
	return all
}

// keyed are the applications that have values with an image below their name, but for some.
func keyed(files []splice.Value, but ...string) ([]pin, error) {
	seen := map[string]bool{"global": true}
	for _, app := range but {
		seen[app] = true
	}
	var all []pin
	for _, f := range files {
		for _, app := range f.Keys() {
			if seen[app] {
				continue
			}
			seen[app] = true
			p, err := tag(app, below(app, files))
			if err != nil {
				return nil, err
			}
			if p != nil {
				all = append(all, *p)
			}
		}
	}
	return all, nil
}

// overrides are the values of a folder, that of its environment first.
func (r *reader) overrides(folder string) ([]splice.Value, error) {
	var all []splice.Value
	for _, name := range []string{"env/values.yaml", "values.yaml"} {
		f, err := r.file(path.Join(folder, name))
		if err != nil {
			return nil, err
		}
		if f != nil {
			all = append(all, f.Documents()...)
		}
	}
	return all, nil
}

// readValues finds the versions in values alone: of apps/APP.yaml and the like, or below the name of an application.
func readValues(r *reader) (*contents, error) {
	shared, err := r.overrides("")
	if err != nil {
		return nil, err
	}
	c := &contents{advice: "write its image.tag into a file of values yourself: where, only you know"}
	if c.pins, err = keyed(shared); err != nil {
		return nil, err
	}
	for _, pattern := range []string{"apps/*.yaml", "apps/*.yml", "apps/*/values.yaml", "values/*.yaml",
		"values/*.yml"} {
		files, err := r.glob(pattern)
		if err != nil {
			return nil, err
		}
		for _, f := range files {
			app := strings.TrimSuffix(strings.TrimSuffix(path.Base(f.Name), ".yml"), ".yaml")
			if strings.HasSuffix(pattern, "/values.yaml") {
				app = path.Base(path.Dir(f.Name))
			}
			for _, document := range f.Documents() {
				pins, err := valuesOf(app, document)
				if err != nil {
					return nil, err
				}
				c.pins = append(c.pins, pins...)
			}
		}
	}
	if len(c.pins) == 0 {
		return nil, nil
	}
	return c, nil
}

// valuesOf are the applications of a file that has the name of one.
func valuesOf(app string, document splice.Value) ([]pin, error) {
	if text := scalar(document, "kind"); text != "" { // an object of Kubernetes
		return nil, nil
	}
	own := []values{mapping(document)}
	p, err := tag(app, own)
	if err != nil {
		return nil, err
	}
	if p != nil {
		return []pin{*p}, nil
	}
	if at, err := document.Get("version"); err == nil && !blank(at) && !at.Mapping() {
		return []pin{{app: app, at: at, values: own}}, nil
	}
	return keyed([]splice.Value{document})
}
