package environment

import (
	"errors"
	"path"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"

	"github.com/serin-cd/serin/pkg/gitops/splice"
)

// readArgo finds the Applications of Argo CD.
func readArgo(r *reader) (*contents, error) {
	c := &contents{advice: "write its Application yourself"}
	documents, err := r.manifests("Application")
	if err != nil {
		return nil, err
	}
	for _, document := range documents {
		if !strings.HasPrefix(scalar(document, "apiVersion"), "argoproj.io/") {
			continue
		}
		pins, err := r.argo(document)
		if err != nil {
			return nil, err
		}
		c.pins = append(c.pins, pins...)
	}
	if len(c.pins) == 0 {
		return nil, nil
	}
	return c, nil
}

// argo are the places that have versions in one Application: the tag of an image that its values name, or the version
// of its chart or of its sources in git.
func (r *reader) argo(document splice.Value) ([]pin, error) {
	var sources []splice.Value
	if one, err := document.At("spec.source"); err == nil {
		sources = append(sources, one)
	}
	if list, err := document.At("spec.sources"); err == nil {
		sources = append(sources, list.Items()...)
	}
	var all []pin
	for _, source := range sources {
		pins, err := r.source(scalar(document, "metadata.name"), source)
		if err != nil {
			return nil, err
		}
		all = append(all, pins...)
	}
	// What says which image runs counts more than what says which manifests.
	if slices.ContainsFunc(all, func(p pin) bool { return p.of == ofImage }) {
		all = slices.DeleteFunc(all, func(p pin) bool { return p.of != ofImage })
	}
	return all, nil
}

func (r *reader) source(name string, source splice.Value) ([]pin, error) {
	if release := scalar(source, "helm.releaseName"); release != "" {
		name = release
	}
	given, text, err := r.given(source)
	if err != nil {
		return nil, err
	}
	p, err := tag(name, given)
	if err != nil {
		return nil, err
	}
	if p != nil {
		if p.at.File() == text {
			at, _ := source.At("helm.values")
			p.said, p.at = p.version(), at
			p.refuse = "is text of several lines: write it as helm.valuesObject, which can be edited"
		}
		return []pin{*p}, nil
	}
	pins, err := images(source, "kustomize.images")
	if err != nil || len(pins) > 0 {
		return pins, err
	}
	at, err := source.Get("targetRevision")
	if errors.Is(err, splice.ErrAbsent) || err == nil && at.Mapping() {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if scalar(source, "chart") != "" {
		return []pin{{app: name, at: at, of: ofChart, values: given}}, nil
	}
	// A branch is no version.
	revision, _ := at.Scalar()
	if _, err := semver.NewVersion(revision); err != nil || scalar(source, "ref") != "" {
		return nil, nil
	}
	return []pin{{app: name, at: at, of: ofRevision, values: given}}, nil
}

// given are the values of a source in Argo's order, and the file that helm.values would be, which is text.
func (r *reader) given(source splice.Value) ([]values, *splice.File, error) {
	var all []values
	if list, err := source.At("helm.parameters"); err == nil {
		all = append(all, parameters(list))
	}
	if object, err := source.At("helm.valuesObject"); err == nil {
		all = append(all, mapping(object))
	}
	var text *splice.File
	if at, err := source.At("helm.values"); err == nil && !blank(at) {
		said, err := at.Scalar()
		if err != nil {
			return nil, nil, err
		}
		// Its lines are counted as those of the file that it stands in.
		above := at.Line() - 1
		if strings.Contains(said, "\n") {
			above++
		}
		text, err = splice.Read(at.File().Name, []byte(strings.Repeat("\n", above)+said))
		if err != nil {
			return nil, nil, err
		}
		for _, document := range text.Documents() {
			all = append(all, mapping(document))
		}
	}
	list, err := source.At("helm.valueFiles")
	if err != nil {
		return all, text, nil
	}
	files := list.Items()
	slices.Reverse(files)
	for _, item := range files {
		name, err := item.Scalar()
		if err != nil {
			continue
		}
		// $REF/ leads to the root of a repository, which often is this one.
		if from, rest, found := strings.Cut(name, "/"); found && strings.HasPrefix(from, "$") {
			name = rest
		} else {
			name = path.Join(scalar(source, "path"), name)
		}
		f, err := r.absolute(path.Clean(name))
		if err != nil {
			return nil, nil, err
		}
		if f != nil && len(f.Documents()) > 0 {
			all = append(all, mapping(f.Documents()[0]))
		}
	}
	return all, text, nil
}

// replaced is the image that another is replaced by.
func replaced(text string) string {
	if _, by, found := strings.Cut(text, "="); found {
		return by
	}
	return text
}
