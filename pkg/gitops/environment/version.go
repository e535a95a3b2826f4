package environment

import (
	"strings"

	"github.com/Masterminds/semver/v3"

	"github.com/serin-cd/serin/pkg/task/failure"
)

// older says whether a version comes before another; of what are no semantic versions nobody knows.
func older(version, than string) bool {
	a, err := semver.NewVersion(version)
	if err != nil {
		return false
	}
	b, err := semver.NewVersion(than)
	return err == nil && a.LessThan(b)
}

// Newest is the highest of some versions by semantic versioning. What is no such version does not count: neither 1.2,
// which moves, nor a date. What comes before a release, such as 1.0.0-rc.1, counts only if it is asked for.
func Newest(versions []string, prereleases bool) (string, error) {
	var newest *semver.Version
	written, passed := "", 0
	for _, text := range versions {
		v, err := semver.StrictNewVersion(strings.TrimPrefix(text, "v"))
		switch {
		case err != nil:
		case v.Prerelease() != "" && !prereleases:
			passed++
		case newest == nil || newest.LessThan(v):
			newest, written = v, text
		}
	}
	switch {
	case newest != nil:
		return written, nil
	case passed > 0:
		return "", failure.Configf("looking for the newest of %d versions: none is released, %d are prereleases: name "+
			"the version", len(versions), passed)
	}
	return "", failure.Configf("looking for the newest of %d versions: none is a semantic version such as 1.2.3: name "+
		"the version", len(versions))
}
