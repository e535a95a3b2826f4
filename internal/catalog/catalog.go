package catalog

import (
	"context"
	"path"

	"github.com/serin-cd/serin/internal/pipeline"
)

// File is a generated file.
type File struct {
	Path string // below the root of the module, with slashes
	Text []byte
}

// ofTasks is the head of the generated Tasks.
const ofTasks = "# Generated from the configuration of the steps: change that and run `make generate`.\n"

// Files are the YAML files and the pages of all Tasks and Pipelines.
func Files(ctx context.Context, root string) ([]File, error) {
	var files []File
	known := pipeline.Tasks{}
	for _, t := range tasks {
		object, err := t.object(root)
		if err != nil {
			return nil, err
		}
		known[t.name] = object
		text, err := pipeline.Write(ctx, ofTasks, object)
		if err != nil {
			return nil, err
		}
		about := ofTask(object)
		about.Account = t.account
		if files, err = documented(files, path.Join("tasks", t.name), text, about); err != nil {
			return nil, err
		}
	}
	return pipelines(ctx, files, known)
}

// pipelines adds those that are made of the Tasks.
func pipelines(ctx context.Context, files []File, known pipeline.Tasks) ([]File, error) {
	for _, plan := range []pipeline.Plan{pipeline.Shipped(), pipeline.ShippedCompact()} {
		object, err := pipeline.Render(known, plan)
		if err != nil {
			return nil, err
		}
		text, err := pipeline.Write(ctx, plan.Comment(), object)
		if err != nil {
			return nil, err
		}
		if files, err = documented(files, path.Join("pipelines", plan.Name), text, ofPipeline(object)); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// documented adds a folder's YAML file and its page.
func documented(files []File, folder string, text []byte, p page) ([]File, error) {
	readme, err := p.write()
	if err != nil {
		return nil, err
	}
	manifest := path.Join(folder, path.Base(folder)+".yaml")
	return append(files, File{manifest, text}, File{path.Join(folder, "README.md"), readme}), nil
}
