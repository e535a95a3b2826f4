package catalog

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"text/template"

	"github.com/serin-cd/serin/internal/manifest"
)

// page is the README of a Task or a Pipeline. It says nothing that is not in the YAML.
var page = template.Must(template.New("page").Funcs(template.FuncMap{
	"cell": cell, "value": value, "program": program, "lower": strings.ToLower,
}).Parse(`<!-- Generated from {{.Metadata.Name}}.yaml: run ` + "`make generate`" + `. -->
# {{.Metadata.Name}}

{{.Spec.Description}}
{{if .Spec.Steps}}
## Steps

{{range .Spec.Steps}}1. ` + "`{{.Name}}`" + `{{if ne .Name (program .Image)}}: ` + "`{{program .Image}}`" + `{{end}}{{if .OnError}}; the next ones run even if it fails{{end}}{{if .When}}; only if there is a canary{{end}}
{{end}}{{end}}{{if .Spec.Tasks}}
## Tasks

| task | Task | runs | timeout |
|---|---|---|---|
{{range .Spec.Tasks}}| ` + "`{{.Name}}`" + ` {{.DisplayName}} | [{{.TaskRef.Name}}](../../tasks/{{.TaskRef.Name}}) | {{if .When}}if there is a canary{{else}}always{{end}} | {{.Timeout}} |
{{end}}{{range .Spec.Finally}}| ` + "`{{.Name}}`" + ` {{.DisplayName}} | [{{.TaskRef.Name}}](../../tasks/{{.TaskRef.Name}}) | finally, up to {{.Retries}} times more | {{.Timeout}} |
{{end}}
The timeouts together stay below Tekton's default of 1 h for a whole run, so that finally is reached even where a
PipelineRun sets none.
{{end}}
## Parameters

| name | default | |
|---|---|---|
{{range .Spec.Params}}| ` + "`{{.Name}}`" + ` | {{value .Default}} | {{cell .Description}} |
{{end}}
{{if .Spec.Workspaces}}## Workspaces

| name | |
|---|---|
{{range .Spec.Workspaces}}| ` + "`{{.Name}}`" + `{{if .Optional}} (optional){{end}} | {{cell .Description}} |
{{end}}
{{end}}## Results

| name | |
|---|---|
{{range .Spec.Results}}| ` + "`{{.Name}}`" + ` | {{cell .Description}} |
{{end}}
## Use

{{if .Spec.Tasks}}See [samples](samples).{{else}}A Task of Serin runs in a Pipeline, whose run it knows itself by: see [canary](../../pipelines/canary).{{end}} Its account needs what [config/rbac.yaml](../../config/rbac.yaml) grants.
`))

// Page writes the README that belongs to the YAML of a Task or a Pipeline.
func Page(text []byte) ([]byte, error) {
	o, err := manifest.Read(text)
	if err != nil {
		return nil, fmt.Errorf("reading a manifest: %w", err)
	}
	var b bytes.Buffer
	if err := page.Execute(&b, o); err != nil {
		return nil, fmt.Errorf("writing the page of %s: %w", o.Metadata.Name, err)
	}
	return regexp.MustCompile(`\n{3,}`).ReplaceAll(b.Bytes(), []byte("\n\n")), nil
}

func cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }

func value(text *string) string {
	switch {
	case text == nil:
		return "required"
	case *text == "":
		return "empty"
	}
	return "`" + *text + "`"
}

func program(image string) string { return image[strings.LastIndex(image, "/")+1:] }
