package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/serin-cd/serin/internal/importing"
	"github.com/serin-cd/serin/internal/importing/flagger"
	"github.com/serin-cd/serin/internal/importing/values"
	"github.com/serin-cd/serin/internal/pipeline"
	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/task/failure"
	"github.com/serin-cd/serin/tasks"
)

// importer is what an import is told.
type importer struct {
	files       []string // of Flagger's objects
	environment string
	key         string // of the application in the environment
	app         application.Application
	given       []string // parameters
	output      string
}

func imports() *cobra.Command {
	i := importer{}
	cmd := &cobra.Command{
		Use:   "import [VALUES]",
		Short: "Turn what a team has into a Pipeline and its first run",
		Long: `Read the canary block of a chart's values, or Flagger's Canaries with their
MetricTemplates and AlertProviders, and write the Pipeline and the PipelineRun that
release the application in the same way. Nothing is changed in a cluster.

Above them, as comments, stands what became of each field: what it was taken over as,
where it stays, or why it is not supported. Keys that nobody knows are errors.`,
		Example: `  tkn canary import charts/shop/values.yaml --environment env/values.yaml --app shop -n production
  tkn canary import -f canary.yaml -f templates.yaml | kubectl apply -f -
  kubectl get canary,metrictemplate -n production -o yaml | tkn canary import -f - -o table`,
		Args: atMostOne,
		RunE: func(cmd *cobra.Command, args []string) error { return i.run(cmd, args) },
	}
	f := cmd.Flags()
	f.StringArrayVarP(&i.files, "filename", "f", nil,
		"file with Flagger's objects, or - for standard input; may be repeated")
	f.StringVar(&i.environment, "environment", "", "values of the environment, which count more than the chart's")
	f.StringVar(&i.key, "app", "", "the application's key in the values of the environment, and its Deployment's name")
	f.StringVar(&i.app.Name, "deployment", "", "the Deployment's name, if it is not that of --app")
	f.StringVarP(&i.app.Namespace, "namespace", "n", "", "namespace of the application (default: where it is applied)")
	f.StringArrayVarP(&i.given, "param", "p", nil, "parameter of the run besides, as NAME=VALUE; may be repeated")
	f.StringVarP(&i.output, "output", "o", "yaml", "yaml, json, or table for what became of the fields alone")
	return cmd
}

func (i importer) run(cmd *cobra.Command, args []string) error {
	if err := formatted(i.output, "yaml", "json", "table"); err != nil {
		return err
	}
	releases, err := i.read(cmd.InOrStdin(), args)
	if err != nil {
		return err
	}
	var all []written
	for _, r := range releases {
		if err := assign(r.Parameters, i.given); err != nil {
			return err
		}
		w, err := writtenOf(cmd.Context(), r)
		if err != nil {
			return err
		}
		all = append(all, w)
	}
	if i.output == "json" {
		return encode(cmd.OutOrStdout(), i.output, all)
	}
	for k, w := range all {
		if k > 0 {
			fmt.Fprintln(cmd.OutOrStdout(), map[string]string{"yaml": "---"}[i.output])
		}
		if err := w.print(cmd.OutOrStdout(), i.output == "yaml"); err != nil {
			return err
		}
	}
	return nil
}

// read reads what was named.
func (i importer) read(stdin io.Reader, args []string) ([]*importing.Release, error) {
	switch {
	case len(args) > 0 && len(i.files) > 0:
		return nil, failure.Configf("reading arguments: values %s and Flagger's objects %s, want one of both", args[0],
			strings.Join(i.files, ", "))
	case len(args) > 0:
		r, err := i.values(stdin, args[0])
		return []*importing.Release{r}, err
	case len(i.files) == 0:
		return nil, failure.Configf("reading arguments: nothing to import, want a chart's values, or -f with " +
			"Flagger's objects")
	}
	for _, unused := range []struct{ flag, value string }{
		{"environment", i.environment}, {"app", i.key}, {"deployment", i.app.Name},
	} {
		if unused.value != "" {
			return nil, failure.Configf("reading %s: %q, want none: a Canary names its Deployment", unused.flag,
				unused.value)
		}
	}
	var documents []importing.Value
	for _, file := range i.files {
		more, err := document(stdin, file)
		if err != nil {
			return nil, err
		}
		documents = append(documents, more...)
	}
	if len(documents) == 0 {
		return nil, failure.Configf("reading %s: it is empty, want Canaries of Flagger", named(i.files[0]))
	}
	return flagger.Import(documents, i.app.Namespace)
}

func (i importer) values(stdin io.Reader, chart string) (*importing.Release, error) {
	if i.key == "" {
		return nil, failure.Configf("reading app: no value, want the application's name")
	}
	app := i.app
	if app.Name == "" {
		app.Name = i.key
	}
	from := values.Source{Name: named(chart), Key: i.key}
	var err error
	if from.Chart, err = document(stdin, chart); err != nil {
		return nil, err
	}
	if i.environment != "" {
		if from.Environment, err = document(stdin, i.environment); err != nil {
			return nil, err
		}
	}
	return values.Import(app, from)
}

// named is how errors call a file.
func named(file string) string {
	if file == "-" {
		return "standard input"
	}
	return file
}

func document(stdin io.Reader, file string) ([]importing.Value, error) {
	if file == "-" {
		return importing.Read(named(file), stdin)
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, failure.Configf("reading %s: %w", file, err)
	}
	defer f.Close()
	return importing.Read(file, f)
}

// written is a release as it is printed.
type written struct {
	App       string            `json:"app"`
	Namespace string            `json:"namespace,omitempty"`
	Fields    []importing.Field `json:"fields"`
	Pipeline  json.RawMessage   `json:"pipeline"`
	Run       json.RawMessage   `json:"run"`

	pipeline, run []byte // as YAML
}

func writtenOf(ctx context.Context, r *importing.Release) (written, error) {
	w := written{App: r.App.Name, Namespace: r.App.Namespace, Fields: r.Fields}
	known, err := pipeline.ReadTasks(tasks.Files)
	if err != nil {
		return w, err
	}
	if w.pipeline, err = r.Pipeline(ctx, known); err != nil {
		return w, err
	}
	if w.run, err = r.Run(ctx); err != nil {
		return w, err
	}
	if w.Pipeline, err = yaml.YAMLToJSON(w.pipeline); err != nil {
		return w, err
	}
	w.Run, err = yaml.YAMLToJSON(w.run)
	return w, err
}

// print writes the table, and unless it is all that was asked for the objects below it.
func (w written) print(to io.Writer, objects bool) error {
	begin, end := "", ""
	if objects {
		begin = "# "
		end = "---\n" + string(w.pipeline) + "---\n" + string(w.run)
	}
	table := &strings.Builder{}
	fmt.Fprintf(table, "Application %s:\n", strings.TrimPrefix(w.Namespace+"/"+w.App, "/"))
	columns := tabwriter.NewWriter(table, 0, 0, 2, ' ', 0)
	fmt.Fprintln(columns, "LINE\tFIELD\tVALUE\tFATE\tNOTE")
	for _, f := range w.Fields {
		fmt.Fprintf(columns, "%s:%d\t%s\t%s\t%s\t%s\n", f.File, f.Line, f.Path, shortened(f.Value), f.Fate, f.Note)
	}
	if err := columns.Flush(); err != nil {
		return err
	}
	for line := range strings.Lines(table.String()) {
		if _, err := io.WriteString(to, begin+strings.TrimRight(line, " \n")+"\n"); err != nil {
			return err
		}
	}
	_, err := io.WriteString(to, end)
	return err
}

// shortened keeps a cell of a table on one line.
func shortened(text string) string {
	const most = 40
	text = strings.Join(strings.Fields(text), " ")
	if letters := []rune(text); len(letters) > most {
		return string(letters[:most-1]) + "…"
	}
	return text
}
