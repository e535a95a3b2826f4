package environment_test

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/serin-cd/serin/pkg/gitops/environment"
	"github.com/serin-cd/serin/pkg/task/failure"
)

var update = flag.Bool("update", false, "write what is read and edited as what is wanted")

// result is the file of a case that has what is wanted. The others are the repository.
const result = "RESULT"

// TestLayouts plays testdata/*.txtar: the comment of each has what is done with the repository, line by line. Marks
// stand for bytes that a reader does not see: ⏎ for CR, → for a tab, and ␄ for a final newline that is not there.
func TestLayouts(t *testing.T) {
	cases, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(cases) == 0 {
		t.Fatalf("%d cases, error %v", len(cases), err)
	}
	for _, name := range cases {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			repository := fstest.MapFS{}
			var files []txtar.File
			want := ""
			for _, f := range archive.Files {
				if f.Name == result {
					want = string(f.Data)
					continue
				}
				files = append(files, f)
				repository[f.Name] = &fstest.MapFile{Data: hidden(f.Data)}
			}
			got := play(t, repository, string(archive.Comment))
			if *update {
				archive.Files = append(files, txtar.File{Name: result, Data: []byte(got)})
				if err := os.WriteFile(name, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("other answers (-want +got):\n%s", diff)
			}
		})
	}
}

// play is what the commands of a case answer.
func play(t *testing.T, repository fstest.MapFS, commands string) string {
	t.Helper()
	var out strings.Builder
	for line := range strings.Lines(commands) {
		words := strings.Fields(line)
		if len(words) == 0 || words[0] == "#" {
			continue
		}
		fmt.Fprintf(&out, "> %s\n", strings.Join(words, " "))
		options := map[string]string{}
		args := []string{}
		for _, word := range words {
			if key, value, is := strings.Cut(word, "="); is {
				options[key] = value
			} else {
				args = append(args, word)
			}
		}
		e, err := environment.Open(repository, environment.Options{
			Directory: options["directory"], Layout: environment.Layout(options["layout"])})
		if err == nil {
			err = answer(&out, repository, e, args, environment.Addition{Repository: options["repository"],
				Chart: options["chart"], Namespace: options["namespace"]})
		}
		if err != nil {
			fmt.Fprintln(&out, "refused:", err)
			if failure.Code(err) != failure.ExitConfig {
				t.Errorf("%s: error %v, want a refusal", line, err)
			}
		}
	}
	return out.String()
}

func answer(out *strings.Builder, repository fstest.MapFS, e *environment.Environment, args []string,
	a environment.Addition) error {
	switch args[0] {
	case "apps":
		fmt.Fprintf(out, "layout %s\n", e.Layout())
		for _, app := range e.Apps() {
			fmt.Fprintf(out, "%s:%d: %s %q\n", app.File, app.Line, app.Name, app.Version)
		}
	case "canary":
		s, err := e.Canary(args[1])
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%t %s:%d\n", s.On, s.File, s.Line)
	case "promote":
		c, err := e.Promote(args[1], args[2], a)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "from %q, first %t, downgrade %t, files %d\n", c.From, c.First, c.Downgrade, len(c.Files))
		for _, name := range slices.Sorted(maps.Keys(c.Files)) {
			before := []byte{}
			if f, ok := repository[name]; ok {
				before = f.Data
			}
			difference(out, name, before, c.Files[name])
		}
	}
	return nil
}

// difference are the lines that two texts do not have in common, and the first of them.
func difference(out *strings.Builder, name string, before, after []byte) {
	a, b := lines(before), lines(after)
	start := 0
	for start < len(a) && start < len(b) && a[start] == b[start] {
		start++
	}
	end := 0
	for end < len(a)-start && end < len(b)-start && a[len(a)-1-end] == b[len(b)-1-end] {
		end++
	}
	fmt.Fprintf(out, "%s:%d\n", name, start+1)
	for _, line := range a[start : len(a)-end] {
		fmt.Fprintf(out, "-%s\n", line)
	}
	for _, line := range b[start : len(b)-end] {
		fmt.Fprintf(out, "+%s\n", line)
	}
}

var marks = [][2]string{{"⏎", "\r"}, {"→", "\t"}}

func hidden(text []byte) []byte {
	for _, m := range marks {
		text = bytes.ReplaceAll(text, []byte(m[0]), []byte(m[1]))
	}
	return bytes.TrimSuffix(text, []byte("␄\n"))
}

func lines(text []byte) []string {
	if len(text) == 0 {
		return nil
	}
	shown := string(text)
	for _, m := range marks {
		shown = strings.ReplaceAll(shown, m[1], m[0])
	}
	if !strings.HasSuffix(shown, "\n") {
		shown += "␄\n"
	}
	return strings.Split(strings.TrimSuffix(shown, "\n"), "\n")
}

func TestNewest(t *testing.T) {
	cases := map[string]struct {
		versions    []string
		prereleases bool
		want        string // or the text of the error
	}{
		"highest, not last nor longest": {[]string{"0.0.9", "0.0.10", "0.0.2"}, false, "0.0.10"},
		"as it is written":              {[]string{"1.0.0", "v1.1.0"}, false, "v1.1.0"},
		"released":                      {[]string{"1.0.0", "1.1.0-rc.1"}, false, "1.0.0"},
		"prerelease asked for": {[]string{"1.0.0", "1.1.0-rc.1", "1.1.0-rc.11", "1.1.0-rc.2"}, true,
			"1.1.0-rc.11"},
		"release after prerelease":    {[]string{"1.1.0-rc.1", "1.1.0"}, true, "1.1.0"},
		"other tags beside":           {[]string{"latest", "1.0.0", "sha256-0a.sig"}, false, "1.0.0"},
		"no dates, no tags that move": {[]string{"20261130", "7", "2.1", "1.0.0"}, false, "1.0.0"},
		"first of equals":             {[]string{"1.0.0+b", "1.0.0+a"}, false, "1.0.0+b"},
		"prereleases alone": {[]string{"1.0.0-rc.1", "latest"}, false,
			"looking for the newest of 2 versions: none is released, 1 are prereleases: name the version"},
		"none": {nil, false,
			"looking for the newest of 0 versions: none is a semantic version such as 1.2.3: name the version"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := environment.Newest(c.versions, c.prereleases)
			if err != nil {
				got = err.Error()
			}
			if got != c.want {
				t.Errorf("newest %q, want %q", got, c.want)
			}
		})
	}
}

// TestLinksLeadNowhere opens repositories with links to what the machine has beside them.
func TestLinksLeadNowhere(t *testing.T) {
	outside := t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "values.yaml"), []byte("podinfo: {image: {tag: secret}}\n"),
		0o600); err != nil {
		t.Fatal(err)
	}
	for link, to := range map[string]string{"values.yaml": filepath.Join(outside, "values.yaml"), "env": outside,
		"apps": outside} {
		t.Run(link, func(t *testing.T) {
			folder := t.TempDir()
			if err := os.Symlink(to, filepath.Join(folder, link)); err != nil {
				t.Fatal(err)
			}
			e, err := environment.Open(os.DirFS(folder), environment.Options{})
			if err == nil || strings.Contains(err.Error(), "secret") {
				t.Errorf("%v, error %v, want the link not followed", e, err)
			}
		})
	}
}
