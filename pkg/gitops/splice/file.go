package splice

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"

	"github.com/serin-cd/serin/pkg/task/failure"
)

// bom may stand before the first document. The parser does not count it as a column.
var bom = []byte("\xef\xbb\xbf")

// directive is one that the parser refuses, although it reads such a document.
var directive = regexp.MustCompile(`(?m)^(%YAML[ \t]+1\.)[2-9]([ \t\r]|$)`)

// File is YAML as it stands in a file. It does not change: an edit makes another one.
type File struct {
	Name  string
	Bytes []byte

	documents []*yaml.Node
	lines     []int // where each begins in Bytes
}

// Read parses the documents of a file. What stands between {{ and }} is a template's: it is not looked into, and what
// stands around it can be edited all the same.
func Read(name string, text []byte) (*File, error) {
	if !utf8.Valid(text) {
		return nil, failure.Configf("reading %s: it is not UTF-8, want it to be", name)
	}
	f := &File{Name: name, Bytes: text, lines: lineStarts(text)}
	var err error
	if f.documents, err = parse(masked(text)); err != nil {
		// Two braces may also be YAML's own.
		documents, plain := parse(text)
		if plain != nil {
			return nil, failure.Configf("reading %s: %w", name, err)
		}
		f.documents = documents
	}
	return f, nil
}

// parse leaves out no document, not even an empty one.
func parse(text []byte) ([]*yaml.Node, error) {
	text = directive.ReplaceAll(bytes.TrimPrefix(text, bom), []byte("${1}1$2"))
	loader, err := yaml.NewLoader(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	var all []*yaml.Node
	for {
		var document yaml.Node
		err := loader.Load(&document)
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		all = append(all, &document)
	}
}

// Documents are the values at the top, one of each document that has any.
func (f *File) Documents() []Value {
	var all []Value
	for i, document := range f.documents {
		if len(document.Content) == 0 {
			continue
		}
		all = append(all, Value{file: f, document: i, node: document.Content[0]})
	}
	return all
}

// At is the value at a path such as app.image.tag or dependencies[name=app].version, of the one document that has it.
func (f *File) At(path string) (Value, error) {
	var found []Value
	var absent error
	for _, document := range f.Documents() {
		v, err := document.At(path)
		switch {
		case err == nil:
			found = append(found, v)
		case !errors.Is(err, ErrAbsent):
			return Value{}, err
		case absent == nil:
			absent = err
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return Value{}, found[1].Refusef("stands in the document of line %d too, want it once", found[0].Line())
	case absent != nil:
		return Value{}, absent
	}
	return Value{}, failure.As(ErrAbsent, failure.Configf("reading %s: it has no document, want one with %s",
		f.Name, path))
}

// lineStarts are the offsets at which the parser begins to count columns.
func lineStarts(text []byte) []int {
	at := 0
	if bytes.HasPrefix(text, bom) {
		at = len(bom)
	}
	starts := []int{at}
	for at < len(text) {
		r, size := utf8.DecodeRune(text[at:])
		at += size
		switch r {
		case '\r':
			if at < len(text) && text[at] == '\n' {
				at++
			}
		case '\n', '\u0085', '\u2028', '\u2029':
		default:
			continue
		}
		starts = append(starts, at)
	}
	return starts
}

// offset is where a line and column stand, both counted from 1 on; columns count characters.
func (f *File) offset(line, column int) (int, error) {
	if line < 1 || line > len(f.lines) {
		return 0, fmt.Errorf("line %d of %d", line, len(f.lines))
	}
	at := f.lines[line-1]
	for range column - 1 {
		if at >= len(f.Bytes) {
			return 0, fmt.Errorf("line %d has no column %d", line, column)
		}
		_, size := utf8.DecodeRune(f.Bytes[at:])
		at += size
	}
	return at, nil
}

// eol is how lines end here.
func (f *File) eol() string {
	if i := bytes.IndexByte(f.Bytes, '\n'); i > 0 && f.Bytes[i-1] == '\r' {
		return "\r\n"
	}
	return "\n"
}

// replace is the file with other bytes from start to end.
func (f *File) replace(start, end int, text string) []byte {
	return []byte(string(f.Bytes[:start]) + text + string(f.Bytes[end:]))
}

// edited reads the file again after an edit, and makes sure that nothing changed but what was to: at is the node to
// change, and changed says whether it has become what was wanted.
func (f *File) edited(start, end int, text string, at *yaml.Node, changed func(now *yaml.Node) bool,
) (*File, error) {
	after, err := Read(f.Name, f.replace(start, end, text))
	if err != nil {
		return nil, err
	}
	if len(after.documents) != len(f.documents) {
		return nil, fmt.Errorf("the file has %d documents then, and had %d", len(after.documents), len(f.documents))
	}
	for i, before := range f.documents {
		if !equal(before, after.documents[i], at, changed) {
			return nil, errors.New("more than this value changes with it")
		}
	}
	return after, nil
}

// equal says whether two documents are the same but for one node. Comments are part of the bytes, which are the same.
func equal(a, b, at *yaml.Node, changed func(now *yaml.Node) bool) bool {
	if a == at {
		return changed(b)
	}
	if a.Kind != b.Kind || a.Style != b.Style || a.ShortTag() != b.ShortTag() || a.Value != b.Value ||
		a.Anchor != b.Anchor || len(a.Content) != len(b.Content) {
		return false
	}
	for i := range a.Content {
		if !equal(a.Content[i], b.Content[i], at, changed) {
			return false
		}
	}
	return true
}

// hole stands for each character of a template while the rest is parsed.
const hole = '\ue000'

// masked has holes for what stands between {{ and }}, so that lines and columns remain. A line on which nothing else
// stands becomes a comment.
func masked(text []byte) []byte {
	var out strings.Builder
	rest := string(text)
	for {
		before, after, found := strings.Cut(rest, "{{")
		action, tail, closed := strings.Cut(after, "}}")
		if !found || !closed {
			return []byte(out.String() + rest)
		}
		out.WriteString(before)
		line := out.String()
		line = line[strings.LastIndexByte(line, '\n')+1:]
		follows, _, _ := strings.Cut(tail, "\n")
		first := hole
		if strings.Trim(line, " \t") == "" && alone(follows) {
			first = '#'
		}
		for i, r := range []rune("{{" + action + "}}") {
			switch {
			case r == '\n' || r == '\r':
				out.WriteRune(r)
				first = '#'
				continue
			case i == 0 || first == '#':
				out.WriteRune(first)
			default:
				out.WriteRune(hole)
			}
			first = hole
		}
		rest = tail
	}
}

// alone says whether a line goes on with other templates at most.
func alone(line string) bool {
	for {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			return true
		}
		after, opens := strings.CutPrefix(line, "{{")
		_, tail, closed := strings.Cut(after, "}}")
		if !opens || !closed {
			return false
		}
		line = tail
	}
}
