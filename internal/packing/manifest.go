package packing

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
)

// parts are what a release consists of, in the order in which it is applied.
var parts = []string{"config/*.yaml", "tasks/*/*.yaml", "pipelines/*/*.yaml"}

// Manifest is all of Serin as YAML, its images as ko:// and the import path of a program. It names no namespace.
func Manifest(root string) ([]byte, error) {
	var all bytes.Buffer
	for _, part := range parts {
		files, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(part)))
		if err != nil {
			return nil, err
		}
		if len(files) == 0 {
			return nil, fmt.Errorf("reading the release: no %s in %s", part, root)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				return nil, fmt.Errorf("reading the release: %w", err)
			}
			all.WriteString("---\n")
			all.Write(bytes.TrimSpace(text))
			all.WriteByte('\n')
		}
	}
	return all.Bytes(), nil
}

var image = regexp.MustCompile(`ko://(\S+)/(\S+)`)

// Programs are the import paths of the images in a manifest, each once.
func Programs(manifest []byte) []string {
	var all []string
	for _, m := range image.FindAllSubmatch(manifest, -1) {
		all = append(all, string(m[1])+"/"+string(m[2]))
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Resolve names the image of each program as REPOSITORY/PROGRAM:VERSION.
func Resolve(manifest []byte, repository, version string) []byte {
	return image.ReplaceAll(manifest, []byte(repository+"/${2}:"+version))
}
