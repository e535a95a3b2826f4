package quickstart_test

import (
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"

	tekton "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"sigs.k8s.io/yaml"

	"github.com/serin-cd/serin/internal/importing"
	"github.com/serin-cd/serin/internal/importing/values"
	"github.com/serin-cd/serin/internal/quickstart"
	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/task/failure"
)

func shop(pack string) quickstart.Application {
	return quickstart.Application{Name: "shop", Pack: pack, Registry: "registry.example.com/shop",
		Git: "https://git.example.com/shop.git"}
}

// TestWrite writes each pack: its canary block can be imported, its run is one of Tekton's.
func TestWrite(t *testing.T) {
	for _, pack := range quickstart.Packs {
		t.Run(pack, func(t *testing.T) {
			directory := filepath.Join(t.TempDir(), "shop")
			names, err := quickstart.Write(shop(pack), directory)
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range names {
				if text := read(t, directory, name); strings.Contains(text, "[[") {
					t.Errorf("%s holds what is not filled in:\n%s", name, text)
				}
			}
			chart, err := importing.Read("values.yaml", strings.NewReader(strings.Replace(
				read(t, directory, "chart/values.yaml"), "enabled: false", "enabled: true", 1)))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := values.Import(application.Application{Namespace: "test", Name: "shop"},
				values.Source{Key: "shop", Chart: chart}); err != nil {
				t.Error(err)
			}
			var run tekton.PipelineRun
			if err := yaml.UnmarshalStrict([]byte(read(t, directory, "pipeline/release.yaml")), &run); err != nil {
				t.Fatal(err)
			}
			run.Name = run.GenerateName + "1" // as the server names it
			if err := run.Validate(t.Context()); err != nil {
				t.Error(err)
			}
			var trigger any
			if err := yaml.UnmarshalStrict([]byte(read(t, directory, "pipeline/trigger.yaml")), &trigger); err != nil {
				t.Error(err)
			}
			if pack != "go-http" {
				return
			}
			main := filepath.Join(directory, "main.go")
			if _, err := parser.ParseFile(token.NewFileSet(), main, nil, 0); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestRefused writes nothing where something stands, or from what is wrong.
func TestRefused(t *testing.T) {
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "README.md"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	wrong := shop("go-http")
	wrong.Name = "Shop_1"
	long := shop("go-http")
	long.Name = strings.Repeat("a", 45)
	cases := map[string]struct {
		app       quickstart.Application
		directory string
		want      string
	}{
		"files": {shop("go-http"), full, "README.md"},
		"pack":  {shop("cobol"), t.TempDir(), "go-http or python-http"},
		"name":  {wrong, t.TempDir(), "Shop_1"},
		"long":  {long, t.TempDir(), "it has 45 characters, want at most 44"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			names, err := quickstart.Write(c.app, c.directory)
			if err == nil || !strings.Contains(err.Error(), c.want) || failure.Code(err) != 2 || len(names) > 0 {
				t.Errorf("got %v and %v (code %d), want an error about %s", names, err, failure.Code(err), c.want)
			}
		})
	}
}

func read(t *testing.T, directory, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(directory, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
