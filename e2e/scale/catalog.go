package scale

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	tekton "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/serin-cd/serin/internal/pipeline"
)

// catalog is the Pipeline canary and all Tasks, as they are shipped.
type catalog struct {
	pipeline tekton.Pipeline
	tasks    pipeline.Tasks
}

func readCatalog(root string) (catalog, error) {
	var c catalog
	file := filepath.Join(root, "pipelines", "canary", "canary.yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		return c, err
	}
	if err := yaml.UnmarshalStrict(text, &c.pipeline); err != nil {
		return c, fmt.Errorf("reading %s: %w", file, err)
	}
	if c.tasks, err = pipeline.ReadTasks(os.DirFS(filepath.Join(root, "tasks"))); err != nil {
		return c, err
	}
	for _, t := range slices.Concat(c.pipeline.Spec.Tasks, c.pipeline.Spec.Finally) {
		if c.tasks[t.TaskRef.Name] == nil {
			return c, fmt.Errorf("reading %s: no Task %s in %s", file, t.TaskRef.Name, root)
		}
	}
	return c, nil
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
func parameters(of string, declared tekton.ParamSpecs, given map[string]string) (values, error) {
	v := values{}
	for _, p := range declared {
		value, ok := given[p.Name]
		switch {
		case ok:
			v["params."+p.Name] = value
		case p.Default != nil:
			v["params."+p.Name] = p.Default.StringVal
		default:
			return nil, fmt.Errorf("starting %s: parameter %s has no value", of, p.Name)
		}
	}
	for name := range given {
		if _, ok := v["params."+name]; !ok {
			return nil, fmt.Errorf("starting %s: it has no parameter %s", of, name)
		}
	}
	return v, nil
}

// environment is a step's: what all steps of its Task have in common, and its own. fields are the pod's, by path.
func (v values) environment(common []corev1.EnvVar, step tekton.Step, fields map[string]string) ([]string, error) {
	var env []string
	for _, e := range slices.Concat(common, step.Env) {
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
