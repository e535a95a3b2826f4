package splice

import (
	"errors"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v4"
)

// Field is a key with its value, which is a string, a bool or an int.
type Field struct {
	Key   string
	Value any
}

// Set gives a single value another text, in the quotes that it has; where it has none, it gets them if it could be
// taken for anything but text without. A bool and an int are written as such. What more than one place reads is
// refused, and so is text of several lines.
func (v Value) Set(value any) (*File, error) {
	want, err := scalarOf(value)
	if err != nil {
		return nil, v.Refusef("%w", err)
	}
	if err := v.alone(); err != nil {
		return nil, err
	}
	n := v.node
	start, end, err := v.span()
	if err != nil {
		return nil, v.Refusef("%w", err)
	}
	text := want.written(n.Style, v.inFlow())
	if start > 0 && start == end && strings.IndexByte(":-", v.file.Bytes[start-1]) >= 0 {
		text = " " + text
	}
	after, err := v.file.edited(start, end, text, n, func(now *yaml.Node) bool {
		return now.Anchor == n.Anchor && want.is(now)
	})
	if err != nil {
		return nil, v.Refusef("set to %s: %w", want.text, err)
	}
	return after, nil
}

// alone refuses what is read in more than one place.
func (v Value) alone() error {
	if v.node.Kind == yaml.AliasNode || v.shared != nil {
		by := v.shared
		if v.node.Kind == yaml.AliasNode {
			by = v.node
		}
		return v.Refusef("is an anchor's, which line %d uses: edit the anchor, or write the value out in its place",
			by.Line)
	}
	for _, n := range append(v.above[:len(v.above):len(v.above)], v.node) {
		if n.Anchor == "" {
			continue
		}
		if user := alias(v.file.documents[v.document], n); user != nil {
			return v.Refusef("is in anchor &%s, which line %d uses too: write the value out there, or edit it by hand",
				n.Anchor, user.Line)
		}
	}
	return nil
}

// alias is the first that means a node.
func alias(in, of *yaml.Node) *yaml.Node {
	if in.Kind == yaml.AliasNode && in.Alias == of {
		return in
	}
	for _, n := range in.Content {
		if found := alias(n, of); found != nil {
			return found
		}
	}
	return nil
}

// inFlow says whether it stands in { } or [ ].
func (v Value) inFlow() bool {
	for _, n := range v.above {
		if n.Style&yaml.FlowStyle != 0 {
			return true
		}
	}
	return false
}

// span is from where to where the value stands, with its quotes.
func (v Value) span() (start, end int, err error) {
	n := v.node
	switch {
	case n.Kind != yaml.ScalarNode:
		return 0, 0, fmt.Errorf("is %s, want a single value", kinds[n.Kind])
	case n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
		return 0, 0, errors.New("is text of several lines after | or >, want it in one line")
	case n.Style&yaml.TaggedStyle != 0 && n.ShortTag() != "!!str":
		return 0, 0, fmt.Errorf("has the tag %s, want none", n.Tag)
	case v.Templated():
		return 0, 0, errors.New("is written by a template, want a value: edit what the template reads")
	}
	if start, err = v.file.begins(n); err != nil {
		return 0, 0, err
	}
	rest := string(v.file.Bytes[start:])
	size := len(n.Value)
	switch {
	case n.Style&yaml.DoubleQuotedStyle != 0:
		size = quoted(rest, '"', '\\')
	case n.Style&yaml.SingleQuotedStyle != 0:
		size = quoted(rest, '\'', '\'')
	case !strings.HasPrefix(rest, n.Value):
		size = -1
	}
	if size < 0 || strings.ContainsAny(rest[:size], "\r\n") {
		return 0, 0, errors.New("goes over several lines, want it in one line")
	}
	return start, start + size, nil
}

// begins is where a node stands, after its anchor and its tag.
func (f *File) begins(n *yaml.Node) (int, error) {
	at, err := f.offset(n.Line, n.Column)
	if err != nil {
		return 0, err
	}
	for (n.Anchor != "" || n.Style&yaml.TaggedStyle != 0) && at < len(f.Bytes) &&
		(f.Bytes[at] == '&' || f.Bytes[at] == '!') {
		for at < len(f.Bytes) && strings.IndexByte(" \t\r\n", f.Bytes[at]) < 0 {
			at++
		}
		for at < len(f.Bytes) && (f.Bytes[at] == ' ' || f.Bytes[at] == '\t') {
			at++
		}
	}
	return at, nil
}

// quoted is how long text in quotes is, with them; negative where they do not close.
func quoted(text string, quote, escape byte) int {
	if text == "" || text[0] != quote {
		return -1
	}
	for i := 1; i < len(text); i++ {
		switch {
		case text[i] == escape && escape != quote:
			i++
		case text[i] == quote && escape == quote && i+1 < len(text) && text[i+1] == quote:
			i++
		case text[i] == quote:
			return i + 1
		}
	}
	return -1
}
