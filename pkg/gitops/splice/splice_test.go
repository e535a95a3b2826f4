package splice_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/serin-cd/serin/pkg/gitops/splice"
	"github.com/serin-cd/serin/pkg/task/failure"
)

var update = flag.Bool("update", false, "write what the edits give as what is wanted")

// TestEdits plays testdata/*.txtar. The comment of each has the edit; marks stand for bytes that a reader does not see:
// ⏎ for CR, → for a tab, ␄ for a final newline that is not there, and BOM for that.
func TestEdits(t *testing.T) {
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
			before := hidden(archive.Files[0].Data)
			got := "after"
			after, err := edit(archive.Files[0].Name, before, string(archive.Comment))
			var data []byte
			switch {
			case err != nil:
				got, data = "refused", []byte(err.Error()+"\n")
				if failure.Code(err) != failure.ExitConfig {
					t.Errorf("error %v, want a refusal", err)
				}
			default:
				data = shown(after.Bytes)
			}
			if *update {
				archive.Files = append(archive.Files[:1], txtar.File{Name: got, Data: data})
				if err := os.WriteFile(name, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if want := archive.Files[1]; want.Name != got {
				t.Fatalf("%s, want %s:\n%s", got, want.Name, data)
			} else if diff := cmp.Diff(string(want.Data), string(data)); diff != "" {
				t.Errorf("other bytes (-want +got):\n%s", diff)
			}
		})
	}
}

func edit(name string, text []byte, command string) (*splice.File, error) {
	f, err := splice.Read(name, text)
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(command) {
		words := strings.Fields(line)
		if len(words) < 3 || strings.HasPrefix(line, "#") {
			continue
		}
		at := f.Documents()[0]
		if words[1] != "." {
			if at, err = f.At(words[1]); err != nil {
				return nil, err
			}
		}
		fields := func(words []string) []splice.Field {
			var all []splice.Field
			for _, word := range words {
				key, value, _ := strings.Cut(word, "=")
				all = append(all, splice.Field{Key: key, Value: value})
			}
			return all
		}
		switch words[0] {
		case "set":
			f, err = at.Set(strings.Join(words[2:], " "))
		case "insert":
			f, err = at.Insert(words[2], strings.Join(words[3:], " "))
		case "insert-list":
			f, err = at.InsertList(words[2], fields(words[3:]))
		case "append":
			f, err = at.Append(fields(words[2:]))
		default:
			return nil, failure.Configf("no edit %s", words[0])
		}
		if err != nil {
			return nil, err
		}
	}
	return f, nil
}

// TestMergesOfMerges reads a file that doubles at each of its lines.
func TestMergesOfMerges(t *testing.T) {
	var text strings.Builder
	text.WriteString("a0: &a0 {x: 1}\n")
	for i := range 60 {
		fmt.Fprintf(&text, "a%d: &a%d {<<: [*a%d, *a%d]}\n", i+1, i+1, i, i)
	}
	f, err := splice.Read("doubled.yaml", []byte(text.String()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.At("a60.y"); !errors.Is(err, splice.ErrAbsent) {
		t.Errorf("error %v, want nothing there", err)
	}
	v, err := f.At("a60.x")
	if err != nil || v.Line() != 1 {
		t.Errorf("line %d, error %v, want that of the first", v.Line(), err)
	}
}

var marks = [][2]string{{"⏎", "\r"}, {"→", "\t"}, {"BOM", "\xef\xbb\xbf"}}

func hidden(text []byte) []byte {
	for _, m := range marks {
		text = bytes.ReplaceAll(text, []byte(m[0]), []byte(m[1]))
	}
	return bytes.TrimSuffix(text, []byte("␄\n"))
}

func shown(text []byte) []byte {
	for _, m := range marks {
		text = bytes.ReplaceAll(text, []byte(m[1]), []byte(m[0]))
	}
	if !bytes.HasSuffix(text, []byte("\n")) {
		text = append(text, "␄\n"...)
	}
	return text
}
