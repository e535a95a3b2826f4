package importing

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/serin-cd/serin/internal/parameters"
	"github.com/serin-cd/serin/pkg/task/failure"
)

// deepest is how deep documents may be nested.
const deepest = 64

// Value is one that stands in a file.
type Value struct {
	File string
	Path string // the keys from the top of its document, separated by dots; items of lists as [0]
	node *yaml.Node
}

// Entry is a key with its value.
type Entry struct {
	Key   string
	Value Value
	line  int // of the key
}

// Refusef is an error about the key, with its place.
func (e Entry) Refusef(format string, args ...any) error {
	return refused(e.Value.File, e.line, e.Value.Path, fmt.Errorf(format, args...))
}

// Read reads the documents of a file; those that are empty are left out.
func Read(file string, from io.Reader) ([]Value, error) {
	text, err := io.ReadAll(from)
	if err != nil {
		return nil, failure.Configf("reading %s: %w", file, err)
	}
	var all []Value
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	for {
		var document yaml.Node
		err := decoder.Decode(&document)
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, failure.Configf("reading %s: %w", file, err)
		}
		if len(document.Content) == 0 {
			continue
		}
		v := Value{File: file, node: document.Content[0]}
		if err := v.check(0); err != nil {
			return nil, err
		}
		if !v.Empty() {
			all = append(all, v)
		}
	}
}

// check refuses documents that are nested too deep, as one with an alias to what holds it is.
func (v Value) check(depth int) error {
	if depth > deepest {
		return v.Refusef("more than %d levels, want fewer", deepest)
	}
	for _, n := range v.node.Content {
		if err := (Value{File: v.File, Path: v.Path, node: n}).check(depth + 1); err != nil {
			return err
		}
	}
	return nil
}

// Line is the one on which it stands, from 1 on.
func (v Value) Line() int { return v.node.Line }

// resolved is the node itself, also where another one with an anchor is meant.
func (v Value) resolved() *yaml.Node {
	n := v.node
	for range deepest {
		if n.Kind != yaml.AliasNode {
			return n
		}
		n = n.Alias
	}
	return n
}

// Empty says whether nothing is there.
func (v Value) Empty() bool {
	n := v.resolved()
	return n.Kind == yaml.ScalarNode && n.Tag == "!!null"
}

// Refusef is an error about the value, with its place.
func (v Value) Refusef(format string, args ...any) error {
	return refused(v.File, v.Line(), v.Path, fmt.Errorf(format, args...))
}

func refused(file string, line int, path string, err error) error {
	if path != "" {
		path += ": "
	}
	return failure.Configf("reading %s, line %d: %s%w", file, line, path, err)
}

// Entries are the keys of a mapping, in their order; what it merges by << comes last. Anything else is an error.
func (v Value) Entries() ([]Entry, error) {
	return v.entries(0)
}

func (v Value) entries(depth int) ([]Entry, error) {
	n := v.resolved()
	if n.Kind != yaml.MappingNode || depth > deepest {
		return nil, v.Refusef("%s, want keys and values", v.Text())
	}
	var all, merged []Entry
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Tag == "!!merge" {
			more, err := (Value{File: v.File, Path: v.Path, node: value}).entries(depth + 1)
			if err != nil {
				return nil, err
			}
			merged = append(merged, more...)
			continue
		}
		e := Entry{Key: key.Value, Value: v.at(key.Value, value), line: key.Line}
		if key.Kind != yaml.ScalarNode {
			return nil, v.Refusef("a key that is no text, want one")
		}
		if seen[e.Key] {
			return nil, e.Refusef("is there twice, want it once")
		}
		seen[e.Key] = true
		all = append(all, e)
	}
	for _, e := range merged {
		if !seen[e.Key] {
			seen[e.Key] = true
			all = append(all, e)
		}
	}
	return all, nil
}

// at is a value below this one.
func (v Value) at(key string, n *yaml.Node) Value {
	path := key
	if v.Path != "" {
		path = v.Path + "." + key
	}
	return Value{File: v.File, Path: path, node: n}
}

// Get is what a key has, of a mapping.
func (v Value) Get(key string) (Value, bool) {
	all, err := v.Entries()
	if err != nil {
		return Value{}, false
	}
	for _, e := range all {
		if e.Key == key && !e.Value.Empty() {
			return e.Value, true
		}
	}
	return Value{}, false
}

// List says whether the value is a list.
func (v Value) List() bool { return v.resolved().Kind == yaml.SequenceNode }

// Items are those of a list. Anything else is an error.
func (v Value) Items() ([]Value, error) {
	n := v.resolved()
	if n.Kind != yaml.SequenceNode {
		return nil, v.Refusef("%s, want a list", v.Text())
	}
	var all []Value
	for i, item := range n.Content {
		all = append(all, Value{File: v.File, Path: fmt.Sprintf("%s[%d]", v.Path, i), node: item})
	}
	return all, nil
}

// Text is how a reader of a table sees the value: a scalar as it is, and anything else by what it is.
func (v Value) Text() string {
	n := v.resolved()
	switch n.Kind {
	case yaml.ScalarNode:
		return n.Value
	case yaml.SequenceNode:
		return fmt.Sprintf("a list of %d", len(n.Content))
	case yaml.MappingNode:
		if len(n.Content) == 2 {
			return "1 key"
		}
		return fmt.Sprintf("%d keys", len(n.Content)/2)
	}
	return ""
}

// Scalar is the text of a scalar. Anything else is an error.
func (v Value) Scalar() (string, error) {
	if n := v.resolved(); n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
		return "", v.Refusef("%s, want a single value", v.Text())
	}
	return v.Text(), nil
}

// Int is a whole number from 0 to 2147483647, also as text.
func (v Value) Int() (int, error) {
	text, err := v.Scalar()
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil || n < 0 {
		return 0, v.Refusef("%q, want a whole number from 0 on", text)
	}
	return int(n), nil
}

// Float is a finite number, also as text.
func (v Value) Float() (float64, error) {
	text, err := v.Scalar()
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(n) || math.IsInf(n, 0) {
		return 0, v.Refusef("%q, want a number", text)
	}
	return n, nil
}

// Limit is a number that a parameter of a run may have.
func (v Value) Limit(parameter string) (string, error) {
	n, err := v.Float()
	if err != nil {
		return "", err
	}
	text := fmt.Sprint(n)
	if err := parameters.CheckValue(parameter, text); err != nil {
		return "", v.Refusef("%w", err)
	}
	return text, nil
}

// Bool is true or false, also as text.
func (v Value) Bool() (bool, error) {
	text, err := v.Scalar()
	if err != nil {
		return false, err
	}
	b, err := strconv.ParseBool(text)
	if err != nil {
		return false, v.Refusef("%q, want true or false", text)
	}
	return b, nil
}

// Duration is one above 0 with a unit, such as 1m30s.
func (v Value) Duration() (time.Duration, error) {
	text, err := v.Scalar()
	if err != nil {
		return 0, err
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		return 0, v.Refusef("%q, want a duration above zero such as 1m", text)
	}
	return d, nil
}

// Seconds is a whole number of seconds above 0.
func (v Value) Seconds() (time.Duration, error) {
	n, err := v.Int()
	if err == nil && n == 0 {
		err = v.Refusef("0, want a number of seconds above 0")
	}
	return time.Duration(n) * time.Second, err
}

// Strings are those of a list of scalars.
func (v Value) Strings() ([]string, error) {
	items, err := v.Items()
	if err != nil {
		return nil, err
	}
	var all []string
	for _, item := range items {
		text, err := item.Scalar()
		if err != nil {
			return nil, err
		}
		all = append(all, text)
	}
	return all, nil
}
