package splice

import (
	"errors"
	"strings"

	"go.yaml.in/yaml/v4"
)

// errNoPlace says that nothing can be added without a change of something else.
var errNoPlace = errors.New("there is no place where it changes nothing else: add it by hand")

// Insert adds a key with a single value at the end of a mapping.
func (v Value) Insert(key string, value any) (*File, error) {
	return v.insert([]Field{{key, value}}, nil)
}

// InsertList adds a key with a list of one mapping at the end of a mapping.
func (v Value) InsertList(key string, item []Field) (*File, error) {
	return v.insert([]Field{{key, nil}}, item)
}

// Append adds a mapping at the end of a list, which may be empty, in the indentation that the list has.
func (v Value) Append(item []Field) (*File, error) {
	if err := v.alone(); err != nil {
		return nil, err
	}
	n := v.node
	empty := v.Empty() && n.Value == "" && n.Style == 0 && n.Anchor == ""
	if n.Kind != yaml.SequenceNode && !empty {
		return nil, v.Refusef("is %s, want a list", kinds[n.Kind])
	}
	all, err := scalars(item)
	if err != nil {
		return nil, v.Refusef("%w", err)
	}
	changed := func(now *yaml.Node) bool {
		return now.Kind == yaml.SequenceNode && now.Anchor == n.Anchor && grown(n, now, 1) &&
			all.are(now.Content[len(n.Content)])
	}
	switch {
	case len(n.Content) == 0 && !v.inFlow():
		return v.first(all, changed)
	case n.Kind != yaml.SequenceNode:
		return nil, v.Refusef("is empty inside of { } or [ ], want a list: write [] there")
	case n.Style&yaml.FlowStyle != 0:
		return v.addInFlow("{"+all.flow()+"}", changed)
	}
	gap := 1
	if last := n.Content[len(n.Content)-1]; last.Kind == yaml.MappingNode && last.Style&yaml.FlowStyle == 0 &&
		last.Anchor == "" && last.Column > n.Column {
		gap = last.Column - n.Column - 1
	}
	return v.addLines(n.Column-1, all.block(strings.Repeat(" ", n.Column-1), gap), changed)
}

func (v Value) insert(fields []Field, item []Field) (*File, error) {
	if err := v.alone(); err != nil {
		return nil, err
	}
	n := v.node
	if n.Kind != yaml.MappingNode {
		return nil, v.Refusef("is %s, want keys and values", kinds[n.Kind])
	}
	key := fields[0].Key
	if _, err := v.Get(key); !errors.Is(err, ErrAbsent) {
		return nil, v.Refusef("has %s already, want to add it", key)
	}
	var head, list pairs
	var err error
	if item != nil {
		fields[0].Value = ""
		list, err = scalars(item)
	}
	if err == nil {
		head, err = scalars(fields)
	}
	if err != nil {
		return nil, v.Refusef("%w", err)
	}
	changed := func(now *yaml.Node) bool {
		if now.Kind != yaml.MappingNode || now.Anchor != n.Anchor || !grown(n, now, 2) {
			return false
		}
		k, value := now.Content[len(n.Content)], now.Content[len(n.Content)+1]
		if !head[0].key.is(k) {
			return false
		}
		if item == nil {
			return head[0].value.is(value)
		}
		return value.Kind == yaml.SequenceNode && len(value.Content) == 1 && list.are(value.Content[0])
	}
	if n.Style&yaml.FlowStyle != 0 {
		text := head.flow()
		if item != nil {
			text = head[0].key.written(0, true) + ": [{" + list.flow() + "}]"
		}
		return v.addInFlow(text, changed)
	}
	column := n.Content[0].Column - 1
	indent := strings.Repeat(" ", column)
	lines := []string{indent + head[0].key.written(0, false) + ": " + head[0].value.written(0, false)}
	if item != nil {
		lines = append([]string{indent + head[0].key.written(0, false) + ":"},
			list.block(indent+strings.Repeat(" ", v.file.step()), 1)...)
	}
	return v.addLines(column, lines, changed)
}

// grown says whether a mapping or a list has some more at its end, and is otherwise what it was.
func grown(before, now *yaml.Node, by int) bool {
	if len(now.Content) != len(before.Content)+by {
		return false
	}
	for i, n := range before.Content {
		if !equal(n, now.Content[i], nil, nil) {
			return false
		}
	}
	return true
}

// first gives an empty list its first item: below its key, where [] or nothing stood.
func (v Value) first(all pairs, changed func(*yaml.Node) bool) (*File, error) {
	if len(v.above) == 0 || v.above[len(v.above)-1].Kind != yaml.MappingNode {
		return nil, v.Refusef("%w", errNoPlace)
	}
	start, err := v.file.begins(v.node)
	if err != nil {
		return nil, v.Refusef("%w", err)
	}
	end := start
	if v.node.Kind == yaml.SequenceNode {
		close := strings.IndexByte(string(v.file.Bytes[start:]), ']')
		if close < 0 {
			return nil, v.Refusef("%w", errNoPlace)
		}
		end = start + close + 1
	}
	line := strings.TrimRight(string(v.file.Bytes[:start]), " ")
	column := v.above[len(v.above)-1].Content[0].Column - 1
	block := all.block(strings.Repeat(" ", column+v.file.step()), 1)
	eol := v.file.eol()
	// A comment goes on standing beside the key.
	rest := string(v.file.Bytes[end:])
	comment, _, _ := strings.Cut(rest, "\n")
	comment = strings.TrimSuffix(comment, "\r")
	if trimmed := strings.TrimSpace(comment); trimmed != "" && trimmed[0] != '#' {
		return nil, v.Refusef("%w", errNoPlace)
	}
	text := comment + eol + strings.Join(block, eol)
	after, err := v.file.edited(len(line), end+len(comment), strings.TrimRight(text[:len(comment)], " ")+
		text[len(comment):], v.node, changed)
	if err != nil {
		return nil, v.Refusef("%w", err)
	}
	return after, nil
}

// addInFlow writes text before the bracket that ends this value.
func (v Value) addInFlow(text string, changed func(*yaml.Node) bool) (*File, error) {
	at, err := v.file.begins(v.node)
	if err != nil {
		return nil, v.Refusef("%w", err)
	}
	if n := len(v.node.Content); n > 0 {
		if at, err = v.file.begins(last(v.node)); err != nil {
			return nil, v.Refusef("%w", err)
		}
	}
	bracket := byte('}')
	if v.node.Kind == yaml.SequenceNode {
		bracket = ']'
	}
	for ; at < len(v.file.Bytes); at++ {
		if v.file.Bytes[at] != bracket {
			continue
		}
		// What stands before the bracket stays there: { a: b } keeps its spaces.
		before := len(strings.TrimRight(string(v.file.Bytes[:at]), " "))
		for _, separated := range []string{", " + text, " " + text, text} {
			if len(v.node.Content) == 0 && separated != text {
				continue
			}
			if after, err := v.file.edited(before, before, separated, v.node, changed); err == nil {
				return after, nil
			}
		}
	}
	return nil, v.Refusef("%w", errNoPlace)
}

// addLines writes lines after those of this value: at the first place at which they become a part of it, and of nothing
// else.
func (v Value) addLines(column int, lines []string, changed func(*yaml.Node) bool) (*File, error) {
	f, eol := v.file, v.file.eol()
	text := strings.Join(lines, eol)
	for line := last(v.node).Line + 1; ; line++ {
		at, add := len(f.Bytes), eol+text
		if line <= len(f.lines) {
			at, add = f.lines[line-1], text+eol
		}
		if line > len(f.lines) || !f.deeper(at, column) {
			if at == len(f.Bytes) && line <= len(f.lines) && !endsLine(f.Bytes) {
				add = eol + text
			}
			if after, err := f.edited(at, at, add, v.node, changed); err == nil {
				return after, nil
			}
		}
		if line > len(f.lines) {
			return nil, v.Refusef("%w", errNoPlace)
		}
	}
}

// deeper says whether the line that begins at an offset has more spaces before its text than some: then what is above
// it goes on.
func (f *File) deeper(at, column int) bool {
	rest := string(f.Bytes[at:])
	text := strings.TrimLeft(rest, " ")
	return len(rest)-len(text) > column && text != "" && text[0] != '\n' && text[0] != '\r'
}

func endsLine(text []byte) bool { return len(text) == 0 || text[len(text)-1] == '\n' }

// last is the node that begins last in another.
func last(n *yaml.Node) *yaml.Node {
	for len(n.Content) > 0 {
		n = n.Content[len(n.Content)-1]
	}
	return n
}

// step is how many spaces lists stand deeper than their keys, as the first of the file does.
func (f *File) step() int {
	for _, document := range f.documents {
		if found, ok := listStep(document); ok {
			return found
		}
	}
	return 2
}

func listStep(n *yaml.Node) (int, bool) {
	for i, child := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 1 && child.Kind == yaml.SequenceNode &&
			child.Style&yaml.FlowStyle == 0 && n.Style&yaml.FlowStyle == 0 && child.Column >= n.Content[0].Column {
			return child.Column - n.Content[0].Column, true
		}
		if found, ok := listStep(child); ok {
			return found, true
		}
	}
	return 0, false
}

// pairs are the keys and values of a mapping that is to be written.
type pairs []struct{ key, value scalar }

func scalars(fields []Field) (pairs, error) {
	var all pairs
	for _, field := range fields {
		key, err := scalarOf(field.Key)
		if err != nil {
			return nil, err
		}
		value, err := scalarOf(field.Value)
		if err != nil {
			return nil, err
		}
		all = append(all, struct{ key, value scalar }{key, value})
	}
	return all, nil
}

// are says whether a node is the mapping that was to be written.
func (p pairs) are(n *yaml.Node) bool {
	if n.Kind != yaml.MappingNode || len(n.Content) != 2*len(p) {
		return false
	}
	for i, pair := range p {
		if !pair.key.is(n.Content[2*i]) || !pair.value.is(n.Content[2*i+1]) {
			return false
		}
	}
	return true
}

// flow is the mapping in one line, without its braces.
func (p pairs) flow() string {
	var all []string
	for _, pair := range p {
		all = append(all, pair.key.written(0, true)+": "+pair.value.written(0, true))
	}
	return strings.Join(all, ", ")
}

// block is the mapping as an item of a list, with some spaces after its dash.
func (p pairs) block(indent string, gap int) []string {
	var all []string
	for i, pair := range p {
		before := indent + "-" + strings.Repeat(" ", gap)
		if i > 0 {
			before = indent + strings.Repeat(" ", gap+1)
		}
		all = append(all, before+pair.key.written(0, false)+": "+pair.value.written(0, false))
	}
	return all
}
