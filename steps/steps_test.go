package steps_test

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/serin-cd/serin/internal/apitest"
	"github.com/serin-cd/serin/internal/catalog"
	"github.com/serin-cd/serin/internal/releasetest"
)

func TestMain(m *testing.M) { apitest.Main(m, apitest.Controllers) }

// TestSteps runs each step program as a Task does: environment in; results, exit code and a changed cluster out. Each
// script has a namespace with version 1 of podinfo, which was never released. Commands of the scripts are in
// commands_test.go.
func TestSteps(t *testing.T) {
	apitest.Config(t)
	mesh := newMesh(t)
	bin := build(t)
	mesh.scraped(t)
	for name, script := range scripts(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			app := releasetest.New(t)
			s := &theatre{t: t, app: app, way: newWay(t), proxies: mesh.of(app.Namespace)}
			kubeconfig := s.way.kubeconfig(t)
			testscript.Run(t, testscript.Params{
				Files: []string{script},
				Cmds:  s.commands(),
				Setup: func(env *testscript.Env) error {
					env.Setenv("PATH", bin)
					env.Setenv("KUBECONFIG", kubeconfig)
					env.Setenv("PARAM_PROMETHEUS_URL", mesh.prometheus)
					env.Setenv("RUN_NAMESPACE", app.Namespace)
					return nil
				},
			})
		})
	}
}

// scripts are those of testdata, by the names of their programs.
func scripts(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, file := range files {
		all[strings.TrimSuffix(filepath.Base(file), ".txtar")] = file
	}
	return all
}

// programs are the folders of the steps.
func programs(t *testing.T) []string {
	t.Helper()
	mains, err := filepath.Glob("*/main.go")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, file := range mains {
		all = append(all, filepath.Dir(file))
	}
	return all
}

// TestEveryStepHasAScript wants one of each program, and each parameter in it. Those of the judge are in the script of
// the step that judges.
func TestEveryStepHasAScript(t *testing.T) {
	all := scripts(t)
	text := map[string]string{}
	for name, file := range all {
		read, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text[name] = string(read)
	}
	if got, want := slices.Sorted(maps.Keys(all)), programs(t); !slices.Equal(got, want) {
		t.Errorf("scripts of %v, want of %v", got, want)
	}
	for _, program := range programs(t) {
		parameters, err := catalog.Parameters("..", program)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range parameters {
			set := regexp.MustCompile(`\b` + p.Variable() + `=| ` + regexp.QuoteMeta(p.Name) + `=`)
			if !set.MatchString(text[program]) && (p.Required || !set.MatchString(text["analyze-metrics"])) {
				t.Errorf("testdata/%s.txtar does not set the parameter %s", program, p.Name)
			}
		}
	}
}

// build compiles the programs, and returns the folder that they are in.
func build(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "go", "build", "-ldflags=-s -w", "-o", dir, "./...")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // as they are released, and compiled already
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("building the steps: %v\n%s", err, out)
	}
	return dir
}
