package splice_test

import (
	"bytes"
	"errors"
	"io"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
	"go.yaml.in/yaml/v3"
	v4 "go.yaml.in/yaml/v4"

	"github.com/serin-cd/serin/pkg/gitops/splice"
)

// seeds adds the files of testdata.
func seeds(f *testing.F) {
	f.Helper()
	cases, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for i, name := range cases {
		archive, err := txtar.ParseFile(name)
		if err != nil {
			f.Fatal(err)
		}
		for _, text := range []string{"1.2.3", "1.10", "it's: a #x", "no", "a\tb\n\"ä\" \x7f\u2028", "{{ x }}", ""} {
			f.Add(hidden(archive.Files[0].Data), text, uint(i))
		}
	}
}

// FuzzSet gives any value of any file any text. Either that is refused, or another parser than the one that edits sees
// the same file but for this one value, and the bytes that differ are in one line.
func FuzzSet(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, text []byte, to string, which uint) {
		file, err := splice.Read("any.yaml", text)
		if err != nil {
			return
		}
		all := scalars(file)
		if len(all) == 0 {
			return
		}
		v := all[which%uint(len(all))]
		after, err := v.Set(to)
		if err != nil {
			return
		}
		start, removed, added := difference(text, after.Bytes)
		if bytes.ContainsAny(removed, "\r\n") || bytes.ContainsAny(added, "\r\n") {
			t.Errorf("at %d %q became %q, want a change in one line", start, removed, added)
		}
		if got, err := after.Documents()[0].Scalar(); len(after.Documents()) == 1 && v.Path() == "" && err == nil &&
			got != to {
			t.Errorf("it is %q, want %q", got, to)
		}
		if bytes.Contains(text, []byte("{{")) {
			return // a template is no YAML to the other parser
		}
		was, err := other(text)
		if err != nil || !agreed(text, was) {
			return
		}
		is, err := other(after.Bytes)
		if err != nil {
			t.Fatalf("it cannot be parsed any more: %v\n%s", err, after.Bytes)
		}
		changed := 0
		compare(t, was, is, to, &changed)
		if changed > 1 {
			t.Errorf("%d values changed, want 1\n%q\n%q", changed, text, after.Bytes)
		}
	})
}

// FuzzAdd adds a key to any mapping, and an item to any list. Either that is refused, or every byte that was there
// still is, with the new ones in one place.
func FuzzAdd(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, text []byte, to string, which uint) {
		file, err := splice.Read("any.yaml", text)
		if err != nil {
			return
		}
		var all []splice.Value
		for _, document := range file.Documents() {
			walk(document, 0, func(v splice.Value) { all = append(all, v) })
		}
		if len(all) == 0 {
			return
		}
		v := all[which%uint(len(all))]
		after, err := v.Append([]splice.Field{{Key: "name", Value: to}, {Key: "version", Value: "1.10"}})
		if err != nil {
			if after, err = v.Insert("added", to); err != nil {
				if after, err = v.InsertList("added", []splice.Field{{Key: "name", Value: to}}); err != nil {
					return
				}
			}
		}
		start, removed, added := difference(text, after.Bytes)
		if left := bytes.Trim(removed, " []"); len(left) > 0 && left[0] != '#' {
			t.Errorf("at %d %q became %q, want an addition", start, removed, added)
		}
	})
}

// scalars are the values of a file that are single ones.
func scalars(file *splice.File) []splice.Value {
	var all []splice.Value
	for _, document := range file.Documents() {
		walk(document, 0, func(v splice.Value) {
			if !v.Mapping() && len(v.Items()) == 0 {
				all = append(all, v)
			}
		})
	}
	return all
}

func walk(v splice.Value, depth int, visit func(splice.Value)) {
	if depth > 8 {
		return
	}
	visit(v)
	for _, key := range v.Keys() {
		if below, err := v.Get(key); err == nil {
			walk(below, depth+1, visit)
		}
	}
	for _, item := range v.Items() {
		walk(item, depth+1, visit)
	}
}

// difference is what lies between the bytes that two texts begin with and those that they end with.
func difference(a, b []byte) (start int, removed, added []byte) {
	for start < len(a) && start < len(b) && a[start] == b[start] {
		start++
	}
	end := 0
	for end < len(a)-start && end < len(b)-start && a[len(a)-1-end] == b[len(b)-1-end] {
		end++
	}
	return start, a[start : len(a)-end], b[start : len(b)-end]
}

func other(text []byte) ([]*yaml.Node, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var all []*yaml.Node
	for {
		var document yaml.Node
		err := decoder.Decode(&document)
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		all = append(all, &document)
	}
}

// agreed says whether the parser that edits sees what the other one does. Of {a:} they make different keys.
func agreed(text []byte, seen []*yaml.Node) bool {
	loader, err := v4.NewLoader(bytes.NewReader(bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))))
	if err != nil {
		return false
	}
	for _, document := range seen {
		var mine v4.Node
		if err := loader.Load(&mine); err != nil || !alike(document, &mine) {
			return false
		}
	}
	return true
}

func alike(a *yaml.Node, b *v4.Node) bool {
	if a.Value != b.Value || a.Line != b.Line || len(a.Content) != len(b.Content) {
		return false
	}
	for i := range a.Content {
		if !alike(a.Content[i], b.Content[i]) {
			return false
		}
	}
	return true
}

// compare counts the values that differ; those that do are the text that was wanted.
func compare(t *testing.T, was, is []*yaml.Node, to string, changed *int) {
	t.Helper()
	if len(was) != len(is) {
		t.Fatalf("%d nodes became %d", len(was), len(is))
	}
	for i, before := range was {
		now := is[i]
		if before.Kind != now.Kind || before.Anchor != now.Anchor {
			t.Fatalf("line %d: %v became %v", before.Line, before, now)
		}
		if before.Value != now.Value {
			*changed++
			if now.Value != to {
				t.Errorf("line %d: %q became %q, want %q", before.Line, before.Value, now.Value, to)
			}
		}
		compare(t, before.Content, now.Content, to, changed)
	}
}
