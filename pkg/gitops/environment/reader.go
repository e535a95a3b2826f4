package environment

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strings"

	"github.com/serin-cd/serin/pkg/gitops/splice"
	"github.com/serin-cd/serin/pkg/task/failure"
)

// largest is how many bytes a file may have that a person keeps versions in.
const largest = 4 << 20

// reader reads the files of one directory of a repository.
type reader struct {
	repository fs.FS
	directory  string
}

func newReader(repository fs.FS, directory string) (*reader, error) {
	r := &reader{repository: repository, directory: path.Clean("/" + directory)[1:]}
	if r.directory == "" {
		r.directory = "."
	}
	switch info, err := fs.Stat(repository, r.directory); {
	case errors.Is(err, fs.ErrNotExist):
		return nil, failure.Configf("opening %s: the repository has no such directory", r)
	case err != nil:
		return nil, fmt.Errorf("opening %s: %w", r, err)
	case !info.IsDir():
		return nil, failure.Configf("opening %s: it is a file, want a directory", r)
	}
	return r, nil
}

func (r *reader) String() string {
	if r.directory == "." {
		return "the environment repository"
	}
	return "directory " + r.directory + " of the environment repository"
}

// bytes are those of a file of the repository; nil if there is none. Nothing outside of the repository is read.
func (r *reader) bytes(name string) ([]byte, error) {
	if !fs.ValidPath(name) {
		return nil, nil
	}
	info, err := r.stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("reading %s: %w", name, err)
	case info.IsDir():
		return nil, nil
	case !info.Mode().IsRegular():
		return nil, failure.Configf("reading %s: %s is a link, want a file", name, info.Name())
	case info.Size() > largest:
		return nil, failure.Configf("reading %s: it has %d bytes, want %d at most", name, info.Size(), largest)
	}
	text, err := fs.ReadFile(r.repository, name)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	if text == nil {
		text = []byte{}
	}
	return text, nil
}

// stat is about a file, or about the link on the way to it.
func (r *reader) stat(name string) (fs.FileInfo, error) {
	for i, c := range name + "/" {
		if c != '/' {
			continue
		}
		info, err := fs.Lstat(r.repository, name[:i])
		if err != nil || i == len(name) || !info.IsDir() {
			return info, err
		}
	}
	return nil, fs.ErrNotExist
}

// file is one of the directory, by its path in there; nil if there is none.
func (r *reader) file(name string) (*splice.File, error) {
	return r.absolute(path.Join(r.directory, name))
}

// absolute is a file by its path in the repository.
func (r *reader) absolute(name string) (*splice.File, error) {
	text, err := r.bytes(name)
	if err != nil || text == nil {
		return nil, err
	}
	return splice.Read(name, text)
}

// literal is a name in a pattern.
var literal = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`)

// glob are the files of the directory that match a pattern, but for links.
func (r *reader) glob(pattern string) ([]*splice.File, error) {
	matches, err := fs.Glob(r.repository, path.Join(literal.Replace(r.directory), pattern))
	if err != nil {
		return nil, fmt.Errorf("looking for %s: %w", pattern, err)
	}
	var all []*splice.File
	for _, name := range matches {
		if info, err := r.stat(name); err != nil || !info.Mode().IsRegular() {
			continue
		}
		f, err := r.absolute(name)
		if err != nil {
			return nil, err
		}
		if f != nil {
			all = append(all, f)
		}
	}
	return all, nil
}

// manifests are the documents of some kinds in all files below the directory. A file with templates is a chart's.
func (r *reader) manifests(kinds ...string) ([]splice.Value, error) {
	of := regexp.MustCompile(`(?m)^["']?kind["']?\s*:\s*["']?(` + strings.Join(kinds, "|") + `)["']?\s*(#.*)?$`)
	var all []splice.Value
	err := fs.WalkDir(r.repository, r.directory, func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return fmt.Errorf("reading %s: %w", name, err)
		case entry.IsDir() && name != r.directory &&
			(strings.HasPrefix(entry.Name(), ".") || entry.Name() == "templates" || entry.Name() == "node_modules"):
			return fs.SkipDir
		case !entry.Type().IsRegular() || !strings.HasSuffix(name, ".yaml") && !strings.HasSuffix(name, ".yml"):
			return nil
		}
		if info, err := entry.Info(); err != nil || info.Size() > largest {
			return err
		}
		text, err := r.bytes(name)
		if err != nil || !of.Match(text) {
			return err
		}
		f, err := splice.Read(name, text)
		if err != nil {
			return err
		}
		for _, document := range f.Documents() {
			for _, kind := range kinds {
				if scalar(document, "kind") == kind {
					all = append(all, document)
				}
			}
		}
		return nil
	})
	return all, err
}

// scalar is a single value at a path; empty if there is none.
func scalar(v splice.Value, at string) string {
	found, err := v.At(at)
	if err != nil {
		return ""
	}
	got, _ := found.Scalar()
	return got
}
