package environment

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"path"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/serin-cd/serin/pkg/gitops/splice"
	"github.com/serin-cd/serin/pkg/task/failure"
)

// dependency is one as Helm writes it where it counts a digest of all: the order of its fields matters.
type dependency struct {
	Name         string   `json:"name"`
	Version      string   `json:"version,omitempty"`
	Repository   string   `json:"repository"`
	Condition    string   `json:"condition,omitempty"`
	Tags         []string `json:"tags,omitempty"`
	Enabled      bool     `json:"enabled,omitempty"`
	ImportValues []any    `json:"import-values,omitempty"`
	Alias        string   `json:"alias,omitempty"`
}

// locks are the dependencies of a chart, and in its lock file their digest.
type locks struct {
	Digest       string        `json:"digest"`
	Dependencies []*dependency `json:"dependencies"`
}

func locksOf(f *splice.File) (locks, error) {
	var l locks
	if err := yaml.Unmarshal(f.Bytes, &l); err != nil {
		return l, failure.Configf("reading the dependencies of %s: %w", f.Name, err)
	}
	return l, nil
}

// digest is the one that Helm compares before it takes a lock file.
func digest(wanted, locked []*dependency) (string, error) {
	text, err := json.Marshal([2][]*dependency{wanted, locked})
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("sha256:%x", sha256.Sum256(text)), nil
}

// locked is the lock file after a change of the dependencies; nil if there is none to change. Without it helm
// dependency build, which Argo CD runs, refuses the chart. A lock file that was out of step before stays as it is.
func (u umbrella) locked(after *splice.File) (*splice.File, error) {
	if u.file == nil {
		return nil, nil
	}
	f, err := u.reader.file(strings.TrimSuffix(u.name, path.Ext(u.name)) + ".lock")
	if err != nil || f == nil {
		return nil, err
	}
	was, err := locksOf(u.file)
	if err != nil {
		return nil, err
	}
	is, err := locksOf(after)
	if err != nil {
		return nil, err
	}
	lock, err := locksOf(f)
	if err != nil {
		return nil, err
	}
	sum, err := digest(was.Dependencies, lock.Dependencies)
	if err != nil || sum != lock.Digest || len(was.Dependencies) != len(lock.Dependencies) {
		return nil, err
	}
	for i, d := range is.Dependencies {
		switch {
		case i == len(was.Dependencies):
			f, err = appended(f, "dependencies", []splice.Field{{Key: "name", Value: d.Name},
				{Key: "repository", Value: d.Repository}, {Key: "version", Value: d.Version}})
		case d.Version != was.Dependencies[i].Version:
			f, err = set(f, fmt.Sprintf("dependencies[%d].version", i), d.Version)
		}
		if err != nil {
			return nil, err
		}
	}
	if lock, err = locksOf(f); err != nil {
		return nil, err
	}
	if sum, err = digest(is.Dependencies, lock.Dependencies); err != nil {
		return nil, err
	}
	return set(f, "digest", sum)
}

func set(f *splice.File, at, text string) (*splice.File, error) {
	v, err := f.At(at)
	if err != nil {
		return nil, err
	}
	return v.Set(text)
}
