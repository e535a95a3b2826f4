package environment_test

import (
	"path/filepath"
	"testing"
	"testing/fstest"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/serin-cd/serin/pkg/gitops/environment"
)

// FuzzPromote promotes every application of any repository of one file. Either that is refused, or the repository asks
// for this version then, and for the same of all other applications.
func FuzzPromote(f *testing.F) {
	cases, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	var names []string
	for _, name := range cases {
		archive, err := txtar.ParseFile(name)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range archive.Files {
			if file.Name != result {
				f.Add(uint(len(names)), hidden(file.Data))
				names = append(names, file.Name)
			}
		}
	}
	f.Fuzz(func(t *testing.T, which uint, text []byte) {
		name := names[which%uint(len(names))]
		repository := fstest.MapFS{name: &fstest.MapFile{Data: text}}
		e, err := environment.Open(repository, environment.Options{})
		if err != nil {
			return
		}
		before := e.Apps()
		for i, app := range before {
			_, _ = e.Canary(app.Name)
			c, err := e.Promote(app.Name, "9.8.7", environment.Addition{})
			if err != nil || len(c.Files) == 0 {
				continue
			}
			changed := fstest.MapFS{name: &fstest.MapFile{Data: c.Files[name]}}
			after, err := environment.Open(changed, environment.Options{Layout: e.Layout()})
			if err != nil {
				t.Fatalf("promoted %s: %v\n%s", app.Name, err, c.Files[name])
			}
			now := after.Apps()
			if len(now) != len(before) {
				t.Fatalf("promoted %s: %d applications, want %d\n%s", app.Name, len(now), len(before), c.Files[name])
			}
			for j := range now {
				want := before[j].Version
				if j == i {
					want = "9.8.7"
				}
				if now[j].Name != before[j].Name || now[j].Version != want {
					t.Errorf("promoted %s: %v, want version %s\n%s", app.Name, now[j], want, c.Files[name])
				}
			}
		}
		_, _ = e.Promote("another", "9.8.7", environment.Addition{Repository: "https://charts.example.com"})
	})
}
