package docs_test

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const module = "github.com/serin-cd/serin/"

// house has the storeys from the roof down, as architecture.md draws them. A package imports what stands in its own
// storey, and in those below it.
var house = [][]string{
	{"steps", "cmd"},
	{"pkg/report", "pkg/gitops"},
	{"pkg/release"},
	{"pkg/judge"},
	{"pkg/cluster"},
	{"pkg/task"},
}

// storey is where a package stands, from the roof down; -1 is outside the house.
func storey(pkg string) int {
	return slices.IndexFunc(house, func(rooms []string) bool {
		return slices.ContainsFunc(rooms, func(room string) bool {
			return pkg == room ||
				strings.HasPrefix(pkg, room+"/")
		})
	})
}

// imports are the packages of a module's folder by path, with what each imports outside its tests.
func imports(t *testing.T, folder string) map[string][]string {
	t.Helper()
	list := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./...")
	list.Dir = filepath.Join(root, folder)
	out, err := list.Output()
	if err != nil {
		t.Fatalf("listing the packages of %s: %v", list.Dir, err)
	}
	all := map[string][]string{}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		all[strings.TrimPrefix(fields[0], module)] = fields[1:]
	}
	return all
}

func TestArrowsLeadDown(t *testing.T) {
	for pkg, imported := range imports(t, ".") {
		from := storey(pkg)
		if from < 0 {
			continue
		}
		for _, other := range imported {
			other, own := strings.CutPrefix(other, module)
			if !own {
				continue
			}
			switch to := storey(other); {
			case to >= 0 && to < from:
				t.Errorf("%s imports %s, which stands above it", pkg, other)
			case to < 0 && from > 0:
				t.Errorf("%s imports %s, which is not in the house", pkg, other)
			case to == 0:
				t.Errorf("%s imports the program %s", pkg, other)
			}
		}
	}
}

func TestTheDrawingIsThatOfTheHouse(t *testing.T) {
	var drawn [][]string
	for _, m := range regexp.MustCompile(`(?m)^│ ((?:steps|cmd|pkg)[a-z/, ]*?) {2,}`).FindAllStringSubmatch(read(t,
		"architecture.md"), -1) {
		drawn = append(drawn, strings.Split(m[1], ", "))
	}
	if diff := cmp.Diff(house, drawn); diff != "" {
		t.Errorf("architecture.md draws other storeys (-want +got):\n%s", diff)
	}
}

// heavy are the steps that write no traffic, and run once where an environment has changed: Helm is in one of them, and
// Tekton's client in the other.
var heavy = []string{"apply-environment", "start-release"}

// Steps write traffic, and start often: what is heavy stays out of them.
func TestStepsAreLight(t *testing.T) {
	mains, err := filepath.Glob("../steps/*/main.go")
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"list", "-deps"}
	for _, file := range mains {
		if step := filepath.Base(filepath.Dir(file)); !slices.Contains(heavy, step) {
			args = append(args, "../steps/"+step)
		}
	}
	out, err := exec.Command("go", args...).Output()
	if err != nil {
		t.Fatal(err)
	}
	for pkg := range strings.FieldsSeq(string(out)) {
		for _, heavy := range []string{"github.com/tektoncd/pipeline", "k8s.io/client-go/kubernetes",
			"k8s.io/kubernetes", "helm.sh/helm"} {
			if pkg == heavy || strings.HasPrefix(pkg, heavy+"/") {
				t.Errorf("a step imports %s", pkg)
			}
		}
	}
}

func TestEveryPackageIsNamed(t *testing.T) {
	var named []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z0-9/-]+)` \\| .+ \\|$").FindAllStringSubmatch(read(t,
		"architecture.md"), -1) {
		named = append(named, m[1])
	}
	var there []string
	for _, folder := range []string{".", "e2e", "e2e/sandbox/modules/cluster"} {
		for pkg := range imports(t, folder) {
			if pkg != "docs" && pkg != "steps" { // tests alone
				there = append(there, pkg)
			}
		}
	}
	there = append(there, "e2e/sandbox/modules/cluster") // behind a build tag, to pin what it builds
	slices.Sort(named)
	slices.Sort(there)
	if diff := cmp.Diff(there, named); diff != "" {
		t.Errorf("architecture.md names other packages than there are (-want +got):\n%s", diff)
	}
}
