package environment

import (
	"strings"

	"github.com/Masterminds/semver/v3"

	"github.com/serin-cd/serin/pkg/gitops/splice"
)

// pin is a place that says which version of an application is wanted.
type pin struct {
	app    string
	at     splice.Value // the version, or what is to get it below a key
	key    string       // that is to be added, where there is no version yet
	before string       // what stands before the version in the same text, such as the name of an image
	said   string       // the version, where it stands in text that cannot be edited
	of     kind
	refuse string   // why it is not to be changed here
	values []values // that the application's chart is given, the strongest first

	lock func(after *splice.File) (*splice.File, error) // the file that has to change with it; nil if there is none
}

// kind is what has the version.
type kind int

const (
	ofImage    kind = iota // a tag
	ofChart                // a semantic version
	ofRevision             // a tag of git
)

func (p pin) application() Application {
	return Application{Name: p.app, Version: p.version(), File: p.at.File().Name, Line: p.at.Line()}
}

// shared refuses what several applications read: a promotion of one would be that of all.
func shared(all []pin) {
	for i := range all {
		for j := range all {
			p, other := &all[i], &all[j]
			if p.app != other.app && p.at.File().Name == other.at.File().Name && p.at.Line() == other.at.Line() &&
				p.at.Path() == other.at.Path() {
				p.refuse = "is read for " + other.app + " too: give each a value of its own"
			}
		}
	}
}

// version is the one that stands there; empty if there is none to be read.
func (p pin) version() string {
	if p.key != "" || p.said != "" {
		return p.said
	}
	text, err := p.at.Scalar()
	if err != nil {
		return ""
	}
	return strings.TrimPrefix(text, p.before)
}

// set writes a version there.
func (p pin) set(version string) (*splice.File, error) {
	if _, err := semver.NewVersion(version); err != nil && p.of == ofChart {
		return nil, p.at.Refusef("is the version of a chart, want a semantic version such as 1.2.3: %w", err)
	}
	if p.refuse != "" {
		return nil, p.at.Refusef("%s", p.refuse)
	}
	if p.of == ofImage && strings.Contains(version, "+") {
		return nil, p.at.Refusef("is the tag of an image, which has no +, and %s has one", version)
	}
	if marked(p.at) {
		return nil, p.at.Refusef("is written by Flux's image automation, want no $imagepolicy there: push the image, " +
			"or take the marker out")
	}
	if p.key != "" {
		return p.at.Insert(p.key, version)
	}
	if now := p.version(); longer.MatchString(now) {
		return nil, p.at.Refusef("is the range %s, from which the newest is taken: write one version there", now)
	}
	return p.at.Set(p.before + version)
}

// marked says whether Flux writes the line.
func marked(v splice.Value) bool {
	lines := strings.SplitAfter(string(v.File().Bytes), "\n")
	return v.Line() <= len(lines) && strings.Contains(lines[v.Line()-1], "$imagepolicy")
}
