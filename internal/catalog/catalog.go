package catalog

import (
	"path"

	"github.com/serin-cd/serin/internal/manifest"
	"github.com/serin-cd/serin/internal/pipeline"
)

// File is a generated file.
type File struct {
	Path string // below the root of the module, with slashes
	Text []byte
}

// Weights are those of the Pipeline canary: the article's.
var Weights = []int{20, 40, 60}

// Files are the YAML files and the pages of all Tasks and Pipelines.
func Files(root string) ([]File, error) {
	var files []File
	known := pipeline.Tasks{}
	for _, t := range tasks {
		text, err := t.Manifest(root)
		if err != nil {
			return nil, err
		}
		if known[t.name], err = manifest.Read(text); err != nil {
			return nil, err
		}
		if files, err = documented(files, path.Join("tasks", t.name, t.name+".yaml"), text); err != nil {
			return nil, err
		}
	}
	canary, err := pipeline.Render(known, pipeline.Pipeline{Name: "canary", Weights: Weights})
	if err != nil {
		return nil, err
	}
	if files, err = documented(files, "pipelines/canary/canary.yaml", canary); err != nil {
		return nil, err
	}
	compact, err := pipeline.Compact(known)
	if err != nil {
		return nil, err
	}
	return documented(files, "pipelines/canary-compact/canary-compact.yaml", compact)
}

// documented adds a YAML file and its page.
func documented(files []File, name string, text []byte) ([]File, error) {
	readme, err := Page(text)
	if err != nil {
		return nil, err
	}
	return append(files, File{name, text}, File{path.Join(path.Dir(name), "README.md"), readme}), nil
}
