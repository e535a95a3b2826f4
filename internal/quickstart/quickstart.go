// Package quickstart writes a new application that is ready to be released by canary.
package quickstart

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"text/template"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/serin-cd/serin/pkg/task/failure"
)

//go:embed files
var files embed.FS

// Packs are the kinds of application that can be written.
var Packs = []string{"go-http", "python-http"}

// maxName leaves room for -build- and 12 digits of a commit, within the 63 bytes of a PipelineRun's name.
const maxName = 63 - len("-build-") - 12

// Application is what an application is written from.
type Application struct {
	Name     string
	Pack     string
	Registry string // the repository of its images
	Git      string // URL of its repository
}

// Write writes the application's files into a directory that holds none, and returns their names.
func Write(app Application, directory string) ([]string, error) {
	if err := app.check(); err != nil {
		return nil, err
	}
	if err := vacant(directory); err != nil {
		return nil, err
	}
	var names []string
	for _, root := range []string{"files/common", "files/" + app.Pack} {
		err := fs.WalkDir(files, root, func(name string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			made := strings.TrimSuffix(strings.TrimPrefix(name, root+"/"), ".tmpl")
			names = append(names, made)
			return app.write(name, filepath.Join(directory, filepath.FromSlash(made)))
		})
		if err != nil {
			return nil, fmt.Errorf("writing the application %s into %s: %w", app.Name, directory, err)
		}
	}
	slices.Sort(names)
	return names, nil
}

func (a Application) check() error {
	if wrong := validation.IsDNS1035Label(a.Name); len(wrong) > 0 {
		return failure.Configf("application %q: %s", a.Name, strings.Join(wrong, "; "))
	}
	if len(a.Name) > maxName {
		return failure.Configf("application %q: it has %d characters, want at most %d: its runs are named for it and "+
			"the commit", a.Name, len(a.Name), maxName)
	}
	if !slices.Contains(Packs, a.Pack) {
		return failure.Configf("pack %q is not known: give --pack %s", a.Pack, strings.Join(Packs, " or "))
	}
	for flag, value := range map[string]string{"--registry": a.Registry, "--git": a.Git} {
		if value == "" || strings.ContainsAny(value, " \t\r\n\"'\\") {
			return failure.Configf("%s %q: give one word without quotes", flag, value)
		}
	}
	return nil
}

// vacant refuses a directory that holds files.
func vacant(directory string) error {
	entries, err := os.ReadDir(directory)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("looking into the directory: %w", err)
	}
	if len(entries) > 0 {
		return failure.Configf("directory %s holds %d files, %s among them: give an empty one with --directory",
			directory, len(entries), entries[0].Name())
	}
	return nil
}

// write fills in one file. Its delimiters leave Helm's and Tekton's alone.
func (a Application) write(source, target string) error {
	text, err := files.ReadFile(source)
	if err != nil {
		return err
	}
	parsed, err := template.New(path.Base(source)).Delims("[[", "]]").Option("missingkey=error").Parse(string(text))
	if err != nil {
		return err
	}
	var out bytes.Buffer
	if err := parsed.Execute(&out, a); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	return os.WriteFile(target, out.Bytes(), 0o644)
}
