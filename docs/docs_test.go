// Package docs_test holds what README.md and this folder say against what there is.
package docs_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/tektoncd/pipeline/pkg/apis/config"
	tekton "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"knative.dev/pkg/apis"
	"sigs.k8s.io/yaml"

	"github.com/serin-cd/serin/pkg/task/failure"
)

const root = ".."

// block is a fenced piece of a page.
type block struct{ file, language, text string }

var fence = regexp.MustCompile("(?ms)^```([a-z]*)\n(.*?)^```$")

// pages are README.md and the pages of this folder, by path.
func pages(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob("*.md")
	if err != nil || len(files) < 5 {
		t.Fatalf("found pages %v: %v", files, err)
	}
	all := map[string]string{}
	for _, file := range append(files, filepath.Join(root, "README.md"), filepath.Join(root, "CONTRIBUTING.md")) {
		all[file] = read(t, file)
	}
	return all
}

func blocks(t *testing.T, language string) []block {
	t.Helper()
	var all []block
	for file, text := range pages(t) {
		for _, m := range fence.FindAllStringSubmatch(text, -1) {
			if m[1] == language {
				all = append(all, block{file, m[1], m[2]})
			}
		}
	}
	if len(all) == 0 {
		t.Fatalf("found no %s", language)
	}
	return all
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func pipeline(t *testing.T) tekton.Pipeline {
	t.Helper()
	var p tekton.Pipeline
	if err := yaml.UnmarshalStrict([]byte(read(t, filepath.Join(root, "pipelines/canary/canary.yaml"))),
		&p); err != nil {
		t.Fatal(err)
	}
	return p
}

// parameters are those of the Pipeline canary.
func parameters(t *testing.T) map[string]tekton.ParamSpec {
	t.Helper()
	all := map[string]tekton.ParamSpec{}
	for _, p := range pipeline(t).Spec.Params {
		all[p.Name] = p
	}
	return all
}

func TestPipelineRunsAreValid(t *testing.T) {
	flags, err := config.NewFeatureFlagsFromMap(map[string]string{})
	if err != nil {
		t.Fatal(err)
	}
	ctx := apis.WithinCreate(config.ToContext(t.Context(),
		&config.Config{Defaults: config.DefaultConfig.DeepCopy(), FeatureFlags: flags}))
	known, found := parameters(t), 0
	for _, b := range blocks(t, "yaml") {
		if !strings.Contains(b.text, "kind: PipelineRun") {
			if err := yaml.Unmarshal([]byte(b.text), new(any)); err != nil {
				t.Errorf("%s: %v", b.file, err)
			}
			continue
		}
		found++
		var run tekton.PipelineRun
		if err := yaml.UnmarshalStrict([]byte(b.text), &run); err != nil {
			t.Errorf("%s: %v", b.file, err)
			continue
		}
		run.SetDefaults(ctx)
		if err := run.Validate(ctx); err != nil {
			t.Errorf("%s: %v", b.file, err)
		}
		if l := run.Spec.Timeouts; l == nil || l.Pipeline == nil || l.Tasks == nil || l.Finally == nil {
			t.Errorf("%s: timeouts %v, want all three", b.file, l)
		}
		for _, p := range run.Spec.Params {
			if _, ok := known[p.Name]; !ok {
				t.Errorf("%s: %s has no parameter %s", b.file, run.Spec.PipelineRef.Name, p.Name)
			}
		}
	}
	if found == 0 {
		t.Error("found no PipelineRun")
	}
}

func TestMakeTargetsExist(t *testing.T) {
	makefile := read(t, filepath.Join(root, "Makefile"))
	target := regexp.MustCompile("(?m)(?:^|`|[A-Z]+=\\S+ )make ([a-z][a-z-]*)(?:`|$| )")
	found := 0
	for file, text := range pages(t) {
		for _, m := range target.FindAllStringSubmatch(text, -1) {
			found++
			if !strings.Contains(makefile, "\n"+m[1]+":") {
				t.Errorf("%s: the Makefile has no target %s", file, m[1])
			}
		}
	}
	if found < 6 {
		t.Errorf("found %d uses of make, want at least 6", found)
	}
}

func TestLinksLeadSomewhere(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	for file, text := range pages(t) {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			path, anchor, _ := strings.Cut(m[1], "#")
			to := file
			if path != "" {
				to = filepath.Join(filepath.Dir(file), path)
			}
			if _, err := os.Stat(to); err != nil {
				t.Errorf("%s: %v", file, err)
				continue
			}
			if anchor != "" && !slices.Contains(anchors(read(t, to)), anchor) {
				t.Errorf("%s: %s has no heading #%s", file, to, anchor)
			}
		}
	}
}

// anchors are the headings of a page as links name them.
func anchors(page string) []string {
	var all []string
	for _, m := range regexp.MustCompile(`(?m)^#+ (.+)$`).FindAllStringSubmatch(page, -1) {
		name := regexp.MustCompile(`[^a-z0-9 -]`).ReplaceAllString(strings.ToLower(m[1]), "")
		all = append(all, strings.ReplaceAll(name, " ", "-"))
	}
	return all
}

func TestCommandsNameWhatThereIs(t *testing.T) {
	known, names := parameters(t), regexp.MustCompile(`-p ([a-z-]+)=`)
	program := filepath.Join(t.TempDir(), "tkn-canary")
	build := exec.Command("go", "build", "-o", program, "../cmd/tkn-canary")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // as it is released, and compiled already
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building tkn-canary: %v\n%s", err, out)
	}
	for _, b := range blocks(t, "sh") {
		for _, m := range names.FindAllStringSubmatch(b.text, -1) {
			if _, ok := known[m[1]]; !ok {
				t.Errorf("%s: the Pipeline has no parameter %s", b.file, m[1])
			}
		}
		for line := range strings.Lines(b.text) {
			if args, ok := strings.CutPrefix(strings.TrimSpace(line), "tkn canary "); ok {
				if out, err := exec.Command(program, strings.Fields(args)...).CombinedOutput(); err != nil {
					t.Errorf("%s: %s: %v\n%s", b.file, line, err, out)
				}
			}
		}
	}
}

func TestParametersHaveTheDefaultsThatTheReadmeSays(t *testing.T) {
	known := parameters(t)
	_, section, _ := strings.Cut(read(t, filepath.Join(root, "README.md")), "\n## Parameters\n")
	section, _, _ = strings.Cut(section, "\n## ")
	rows := regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\| (?:`(.*?)`|empty) \\|").FindAllStringSubmatch(section, -1)
	if len(rows) < 5 {
		t.Fatalf("found %d parameters, want at least 5", len(rows))
	}
	for _, row := range rows {
		p, ok := known[row[1]]
		if !ok || p.Default == nil || p.Default.StringVal != row[2] {
			t.Errorf("parameter %s has default %v, the README says %q", row[1], p.Default, row[2])
		}
	}
}

func TestExitCodes(t *testing.T) {
	readme := read(t, filepath.Join(root, "README.md"))
	for code, want := range map[int]string{
		failure.ExitOK: "done, or nothing to do", failure.ExitError: "an error", failure.ExitConfig: "wrong parameters",
		failure.ExitRejected: "the canary was judged and failed", failure.ExitInconclusive: "too little evidence",
	} {
		if !strings.Contains(readme, "\n| "+strconv.Itoa(code)+" | "+want) {
			t.Errorf("README.md does not say that %d is %q", code, want)
		}
	}
}

func TestResultsAreThoseOfThePipeline(t *testing.T) {
	_, section, _ := strings.Cut(read(t, filepath.Join(root, "README.md")), "Results of the Pipeline: ")
	section, _, _ = strings.Cut(section, "\n\n")
	for _, r := range pipeline(t).Spec.Results {
		if !strings.Contains(section, "`"+r.Name+"`") {
			t.Errorf("README.md does not name the result %s", r.Name)
		}
	}
}

// Of an event the page has an example, the source its format.
func TestEventsAreThoseThatAreWritten(t *testing.T) {
	source := sources(t)
	_, section, _ := strings.Cut(read(t, "operations.md"), "| event | |\n")
	section, _, _ = strings.Cut(section, "\n\n")
	rows := regexp.MustCompile("(?m)^\\| `(.*?)` \\|").FindAllStringSubmatch(section, -1)
	if len(rows) < 8 {
		t.Fatalf("found %d events, want at least 8", len(rows))
	}
	for _, row := range rows {
		format := strings.NewReplacer("podinfo-primary.shop", "%s.%s", "podinfo.shop", "%s", "weight 20", "weight %d",
			"…", "%s",
			"success rate 66.67% < 99%", "%s %s%s %s %s%s").Replace(row[1])
		if !strings.Contains(source, `"`+format+`"`) {
			t.Errorf("nothing writes the event %q (%q)", row[1], format)
		}
	}
}

func sources(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(filepath.Join(root, "pkg"), func(file string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(file) != ".go" {
			return err
		}
		all.WriteString(read(t, file))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.String()
}

// The README quotes numbers; a bench has printed them.
func TestNumbersAreThoseOfTheBench(t *testing.T) {
	numbers := read(t, "numbers.md")
	_, section, _ := strings.Cut(read(t, filepath.Join(root, "README.md")), "\n## Numbers\n")
	section, _, _ = strings.Cut(section, "\n## ")
	found := 0
	for line := range strings.Lines(section) {
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| what ") {
			continue
		}
		found++
		if !strings.Contains(numbers, "\n"+line) {
			t.Errorf("docs/numbers.md has no line %q", line)
		}
	}
	if found < 5 {
		t.Errorf("found %d numbers, want at least 5", found)
	}
}
