package catalog

import (
	"bytes"
	_ "embed" // for the layout
	"fmt"
	"regexp"
	"strings"
	"text/template"

	tekton "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"

	"github.com/serin-cd/serin/pkg/release/timeout"
)

// page is what the README of a Task or a Pipeline tells: nothing that is not in the YAML.
type page struct {
	Name, Description string
	Steps             []tekton.Step
	Tasks, Finally    []tekton.PipelineTask
	Params            []tekton.ParamSpec
	Workspaces        []workspace
	Results           []named
	Account           string // what its account needs, if not what the others need
}

type named struct{ Name, Description string }

type workspace struct {
	named
	Optional bool
}

func ofTask(t *tekton.Task) page {
	p := page{Name: t.Name, Description: t.Spec.Description, Steps: t.Spec.Steps, Params: t.Spec.Params}
	for _, w := range t.Spec.Workspaces {
		p.Workspaces = append(p.Workspaces, workspace{named{w.Name, w.Description}, w.Optional})
	}
	for _, r := range t.Spec.Results {
		p.Results = append(p.Results, named{r.Name, r.Description})
	}
	return p
}

func ofPipeline(o *tekton.Pipeline) page {
	p := page{
		Name: o.Name, Description: o.Spec.Description, Params: o.Spec.Params,
		Tasks: o.Spec.Tasks, Finally: o.Spec.Finally,
	}
	for _, w := range o.Spec.Workspaces {
		p.Workspaces = append(p.Workspaces, workspace{named{w.Name, w.Description}, w.Optional})
	}
	for _, r := range o.Spec.Results {
		p.Results = append(p.Results, named{r.Name, r.Description})
	}
	return p
}

//go:embed page.md.tmpl
var markdown string

var layout = template.Must(template.New("page").Funcs(template.FuncMap{
	"cell": cell, "value": value, "program": program, "short": timeout.Short,
}).Parse(markdown))

func (p page) write() ([]byte, error) {
	var b bytes.Buffer
	if err := layout.Execute(&b, p); err != nil {
		return nil, fmt.Errorf("writing the page of %s: %w", p.Name, err)
	}
	return regexp.MustCompile(`\n{3,}`).ReplaceAll(b.Bytes(), []byte("\n\n")), nil
}

func cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }

func value(v *tekton.ParamValue) string {
	switch {
	case v == nil:
		return "required"
	case v.StringVal == "":
		return "empty"
	}
	return "`" + v.StringVal + "`"
}

func program(image string) string { return image[strings.LastIndex(image, "/")+1:] }
