package splice

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/serin-cd/serin/pkg/task/failure"
)

// ErrAbsent says that nothing stands at a path.
var ErrAbsent = errors.New("nothing there")

// deepest is how many anchors may lead to one another.
const deepest = 64

// Value is what stands at a place of a file.
type Value struct {
	file     *File
	document int
	path     string
	node     *yaml.Node
	above    []*yaml.Node // what holds it, from the top
	shared   *yaml.Node   // the alias or merge that led here
}

// Path are the keys from the top of the document, as At takes them.
func (v Value) Path() string { return v.path }

// File is the one that it stands in.
func (v Value) File() *File { return v.file }

// Line is the one on which it stands, from 1 on.
func (v Value) Line() int { return v.resolved().Line }

// Refusef is an error about the value, with its place.
func (v Value) Refusef(format string, args ...any) error {
	path := v.path
	if path != "" {
		path += " "
	}
	return failure.Configf("reading %s, line %d: %s%w", v.file.Name, v.Line(), path, fmt.Errorf(format, args...))
}

// resolved is the node itself, also where another one with an anchor is meant.
func (v Value) resolved() *yaml.Node {
	n := v.node
	for i := 0; n.Kind == yaml.AliasNode && n.Alias != nil && i < deepest; i++ {
		n = n.Alias
	}
	return n
}

// Mapping says whether it is keys with values.
func (v Value) Mapping() bool { return v.resolved().Kind == yaml.MappingNode }

// Empty says whether nothing stands after its key.
func (v Value) Empty() bool {
	n := v.resolved()
	return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null"
}

// Templated says whether a template writes it, in whole or in part.
func (v Value) Templated() bool {
	n := v.resolved()
	return n.Kind == yaml.ScalarNode && strings.ContainsRune(n.Value, hole)
}

// Scalar is the text of a single value, as it stands there. Anything else is an error.
func (v Value) Scalar() (string, error) {
	switch n := v.resolved(); {
	case n.Kind != yaml.ScalarNode:
		return "", v.Refusef("is %s, want a single value", kinds[n.Kind])
	case v.Empty():
		return "", v.Refusef("is empty, want a value")
	case v.Templated():
		return "", v.Refusef("is written by a template, want a value")
	default:
		return n.Value, nil
	}
}

// kinds names nodes for people.
var kinds = map[yaml.Kind]string{
	yaml.MappingNode: "keys and values", yaml.SequenceNode: "a list", yaml.ScalarNode: "a single value",
	yaml.AliasNode: "an alias",
}

// Keys are those of a mapping, in their order; of anything else there are none.
func (v Value) Keys() []string {
	var all []string
	if n := v.resolved(); n.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Kind == yaml.ScalarNode && n.Content[i].ShortTag() != "!!merge" {
				all = append(all, n.Content[i].Value)
			}
		}
	}
	return all
}

// Items are those of a list; of anything else there are none.
func (v Value) Items() []Value {
	var all []Value
	if n := v.resolved(); n.Kind == yaml.SequenceNode {
		for i, item := range n.Content {
			all = append(all, v.below(fmt.Sprintf("[%d]", i), item))
		}
	}
	return all
}

// Get is what a key has. Where the key is twice, that is an error; where it is not there, the error is ErrAbsent.
func (v Value) Get(key string) (Value, error) { return v.get(key, map[*yaml.Node]bool{}) }

// get looks into no mapping twice, however often it is merged.
func (v Value) get(key string, seen map[*yaml.Node]bool) (Value, error) {
	n := v.resolved()
	if n.Kind != yaml.MappingNode || seen[n] {
		return Value{}, failure.As(ErrAbsent, v.Refusef("is %s, want keys with %s", kinds[n.Kind], key))
	}
	seen[n] = true
	var found, merged []Value
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, value := n.Content[i], n.Content[i+1]
		switch {
		case k.Kind == yaml.ScalarNode && k.ShortTag() == "!!merge":
			merged = append(merged, v.merges(value)...)
		case k.Kind == yaml.ScalarNode && k.Value == key:
			found = append(found, v.below(segment(key), value))
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		for _, m := range merged {
			if got, err := m.get(key, seen); !errors.Is(err, ErrAbsent) {
				return got, err
			}
		}
		return Value{}, failure.As(ErrAbsent, v.Refusef("has no %s, want it", key))
	}
	return Value{}, found[1].Refusef("stands on line %d too, want it once", found[0].Line())
}

// merges are the mappings that << takes keys from.
func (v Value) merges(value *yaml.Node) []Value {
	m := v.below("", value)
	m.path = v.path
	m.shared = value
	if m.resolved().Kind != yaml.SequenceNode {
		return []Value{m}
	}
	all := m.Items()
	for i := range all {
		all[i].path = v.path
	}
	return all
}

// below is a value that this one holds.
func (v Value) below(segment string, n *yaml.Node) Value {
	path := segment
	if v.path != "" && !strings.HasPrefix(segment, "[") {
		path = "." + segment
	}
	shared := v.shared
	if v.node.Kind == yaml.AliasNode {
		shared = v.node
	}
	return Value{
		file: v.file, document: v.document, path: v.path + path, node: n,
		above: append(v.above[:len(v.above):len(v.above)], v.resolved()), shared: shared,
	}
}

// segment is a key as it stands in a path.
func segment(key string) string {
	if key == "" || strings.ContainsAny(key, `.[]"`) {
		return "[" + strconv.Quote(key) + "]"
	}
	return key
}

// At follows a path: keys with dots between them, [0] for an item of a list, [name=app] for the one item that has
// this, and ["a.key"] for keys that have dots themselves. Where nothing stands there, the error is ErrAbsent.
func (v Value) At(path string) (Value, error) {
	rest := path
	for rest != "" {
		var err error
		if !strings.HasPrefix(rest, "[") {
			rest = strings.TrimPrefix(rest, ".")
			end := strings.IndexAny(rest, ".[")
			if end < 0 {
				end = len(rest)
			}
			if end == 0 {
				return Value{}, failure.Configf("path %s: a key is missing, want one such as app.image.tag", path)
			}
			if v, err = v.Get(rest[:end]); err != nil {
				return Value{}, err
			}
			rest = rest[end:]
			continue
		}
		if quoted, err := strconv.QuotedPrefix(rest[1:]); err == nil && strings.HasPrefix(rest[1+len(quoted):], "]") {
			key, _ := strconv.Unquote(quoted)
			if v, err = v.Get(key); err != nil {
				return Value{}, err
			}
			rest = rest[len(quoted)+2:]
			continue
		}
		selector, tail, closed := strings.Cut(rest[1:], "]")
		if !closed {
			return Value{}, failure.Configf("path %s: [ without ], want one such as dependencies[name=app]", path)
		}
		if v, err = v.item(selector); err != nil {
			return Value{}, err
		}
		rest = tail
	}
	return v, nil
}

// item is the one that a selector, 0 or name=app, means.
func (v Value) item(selector string) (Value, error) {
	items := v.Items()
	key, want, byKey := strings.Cut(selector, "=")
	if !byKey {
		i, err := strconv.Atoi(selector)
		if err != nil {
			return Value{}, failure.Configf("path [%s]: want a number, or a key with its value such as name=app",
				selector)
		}
		if i < 0 || i >= len(items) {
			return Value{}, failure.As(ErrAbsent, v.Refusef("has %d items, want [%d]", len(items), i))
		}
		return items[i], nil
	}
	var found []Value
	for _, item := range items {
		if got, err := item.Get(key); err == nil && got.resolved().Kind == yaml.ScalarNode &&
			got.resolved().Value == want {
			item.path = v.path + "[" + selector + "]"
			found = append(found, item)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return Value{}, failure.As(ErrAbsent, v.Refusef("has no item with %s %s, want one", key, want))
	}
	return Value{}, found[1].Refusef("stands on line %d too, want it once", found[0].Line())
}
