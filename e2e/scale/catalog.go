package scale

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/serin-cd/serin/internal/manifest"
)

// catalog is the Pipeline canary and its Tasks, as they are shipped.
type catalog struct {
	pipeline manifest.Object
	tasks    map[string]manifest.Object
}

func readCatalog(root string) (catalog, error) {
	c := catalog{tasks: map[string]manifest.Object{}}
	var err error
	if c.pipeline, err = readObject(root, "pipelines", "canary"); err != nil {
		return c, err
	}
	for _, t := range append(c.pipeline.Spec.Tasks, c.pipeline.Spec.Finally...) {
		if c.tasks[t.TaskRef.Name], err = readObject(root, "tasks", t.TaskRef.Name); err != nil {
			return c, err
		}
	}
	return c, nil
}

func readObject(root, folder, name string) (manifest.Object, error) {
	file := filepath.Join(root, folder, name, name+".yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		return manifest.Object{}, err
	}
	object, err := manifest.Read(text)
	if err != nil {
		return object, fmt.Errorf("reading %s: %w", file, err)
	}
	return object, nil
}

// values are what references stand for: params.app, tasks.prepare.status and so on.
type values map[string]string

var reference = regexp.MustCompile(`\$\(([^()]+)\)`)

// expand replaces the references in a text.
func (v values) expand(text string) (string, error) {
	var missing []string
	expanded := reference.ReplaceAllStringFunc(text, func(ref string) string {
		value, ok := v[ref[2:len(ref)-1]]
		if !ok {
			missing = append(missing, ref)
		}
		return value
	})
	if missing != nil {
		return "", fmt.Errorf("reading %q: nothing is known of %s", text, strings.Join(missing, ", "))
	}
	return expanded, nil
}

// parameters are those that are declared, with what is given or else their defaults.
func parameters(of manifest.Object, given map[string]string) (values, error) {
	v := values{}
	for _, p := range of.Spec.Params {
		value, ok := given[p.Name]
		switch {
		case ok:
			v["params."+p.Name] = value
		case p.Default != nil:
			v["params."+p.Name] = *p.Default
		default:
			return nil, fmt.Errorf("starting %s: parameter %s has no value", of.Metadata.Name, p.Name)
		}
	}
	for name := range given {
		if _, ok := v["params."+name]; !ok {
			return nil, fmt.Errorf("starting %s: it has no parameter %s", of.Metadata.Name, name)
		}
	}
	return v, nil
}

// environment is a step's: that of its Task and its own. fields are the pod's, by path.
func (v values) environment(task manifest.Object, step manifest.Step, fields map[string]string) ([]string, error) {
	var env []string
	for _, e := range append(append([]manifest.Env{}, task.Spec.StepTemplate.Env...), step.Env...) {
		value, err := v.expand(e.Value)
		if err != nil {
			return nil, fmt.Errorf("starting %s: %w", step.Name, err)
		}
		if e.ValueFrom != nil {
			value = fields[e.ValueFrom.FieldRef.FieldPath]
		}
		env = append(env, e.Name+"="+value)
	}
	return env, nil
}
