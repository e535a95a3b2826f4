package pipeline

import (
	"fmt"
	"io/fs"
	"path"

	tekton "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"sigs.k8s.io/yaml"
)

// Tasks are the Tasks that Pipelines are made of, by name.
type Tasks map[string]*tekton.Task

// ReadTasks reads all Tasks of a file system that has them as NAME/NAME.yaml.
func ReadTasks(files fs.FS) (Tasks, error) {
	names, err := fs.Glob(files, "*/*.yaml")
	if err != nil {
		return nil, err
	}
	all := Tasks{}
	for _, name := range names {
		task, err := ReadTask(files, path.Dir(name))
		if err != nil {
			return nil, err
		}
		all[task.Name] = task
	}
	return all, nil
}

// ReadTask reads one of them.
func ReadTask(files fs.FS, name string) (*tekton.Task, error) {
	text, err := fs.ReadFile(files, path.Join(name, name+".yaml"))
	if err != nil {
		return nil, fmt.Errorf("reading Task %s: %w", name, err)
	}
	task := &tekton.Task{}
	if err := yaml.UnmarshalStrict(text, task); err != nil {
		return nil, fmt.Errorf("reading Task %s: %w", name, err)
	}
	return task, nil
}
