package catalog_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/serin-cd/serin/internal/catalog"
	"github.com/serin-cd/serin/pkg/task/parameter"
)

// module writes source files of a module with steps and returns its folder.
func module(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		file := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

const mainOfStep = `package main

import (
	"example.test/other"
	shared "github.com/serin-cd/serin/pkg/release"
	"github.com/serin-cd/serin/pkg/task/run"
)

type config struct {
	Run run.ID ` + "`env:\", prefix=RUN_\"`" + `
	shared.Config
	local
	// How long,
	// at least.
	MinDwell other.Duration ` + "`env:\"MIN_DWELL, default=30s\"`" + `
	Nested struct {
		// Inside.
		Inner string ` + "`env:\"INNER\"`" + `
	} ` + "`env:\", prefix=OUTER_\"`" + `
	unset other.Thing
}

type local struct {
	// Share of the traffic.
	Weight int ` + "`env:\"WEIGHT, required\"`" + `
}
`

// TestParametersFollowStructs of the same package, of others under another name, embedded and prefixed.
func TestParametersFollowStructs(t *testing.T) {
	root := module(t, map[string]string{
		"steps/go/main.go":   mainOfStep,
		"pkg/task/run/id.go": "package run\n\ntype ID struct {\n\tName string `env:\"NAME, required\"`\n}\n",
		"pkg/release/a.go": "package release\n\nimport \"github.com/serin-cd/serin/pkg/release/deep\"\n\n" +
			"type Config struct {\n\t// Application.\n\tApp string `env:\"APP, required\"`\n\tDeep deep.Config\n}\n",
		"pkg/release/deep/deep.go": "package deep\n\n" +
			"type Config struct {\n\t// Colour.\n\tColour string `env:\"COLOUR, default=red\"`\n}\n",
	})
	got, err := catalog.Parameters(root, "go")
	if err != nil {
		t.Fatal(err)
	}
	want := []catalog.Parameter{
		{Parameter: parameter.Parameter{Name: "app", Required: true}, Description: "Application."},
		{Parameter: parameter.Parameter{Name: "colour", Default: "red"}, Description: "Colour."},
		{Parameter: parameter.Parameter{Name: "weight", Required: true}, Description: "Share of the traffic."},
		{Parameter: parameter.Parameter{Name: "min-dwell", Default: "30s"}, Description: "How long, at least."},
		{Parameter: parameter.Parameter{Name: "outer-inner"}, Description: "Inside."},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(parameter.Parameter{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestParametersThatCannotBeReadAreErrors(t *testing.T) {
	cases := map[string]struct{ fields, want string }{
		"no comment":         {"App string `env:\"APP\"`", "app has no comment"},
		"no tag":             {"App string", "no struct string in steps/go"},
		"of another module":  {"App other.Config", "no struct of this module"},
		"not in its package": {"App release.Config", "no struct Config in pkg/release"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			const imports = "import (\n\t\"example.test/other\"\n\t\"github.com/serin-cd/serin/pkg/release\"\n)\n\n"
			root := module(t, map[string]string{
				"steps/go/main.go": "package main\n\n" + imports + "type config struct {\n\t" + c.fields + "\n}\n",
			})
			_, err := catalog.Parameters(root, "go")
			if err == nil || !strings.Contains(err.Error(), "reading the parameters of go: ") ||
				!strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want that %s", err, c.want)
			}
		})
	}
}
