package importing

import (
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/agext/levenshtein"
)

// Fate is what becomes of a field.
type Fate string

const (
	Taken       Fate = "taken"         // over, as something else
	Stays       Fate = "stays"         // in the cluster, where Serin leaves it or finds it
	Unneeded    Fate = "not needed"    // as Serin does it another way, or always
	Unsupported Fate = "not supported" // what it asks for is not done
)

// Field is one that was read, and what became of it.
type Field struct {
	File  string `json:"file"`
	Line  int    `json:"line"`
	Path  string `json:"field"`
	Value string `json:"value"`
	Fate  Fate   `json:"fate"`
	Note  string `json:"note"` // as what it was taken over, or why not
}

// Rule says what becomes of fields: of one with all below it.
type Rule[T any] func(t T, v Value) (Fate, string, error)

// Rules are those for the fields of a kind of document, by their paths: the keys, separated by dots, and [] for any
// item of a list.
type Rules[T any] map[string]Rule[T]

// Leaf is a value for which there is a rule.
type Leaf[T any] struct {
	Value
	Pattern string // of its path, as the rule has it
	rule    Rule[T]
}

// Leaves are the values in a document for which there are rules. Keys that no rule knows are errors, all of them at
// once.
func (r Rules[T]) Leaves(v Value) ([]Leaf[T], error) { return r.leaves(v, "") }

func (r Rules[T]) leaves(v Value, pattern string) ([]Leaf[T], error) {
	if v.Empty() {
		return nil, nil
	}
	if rule, ok := r[pattern]; ok {
		return []Leaf[T]{{v, pattern, rule}}, nil
	}
	var all []Leaf[T]
	var wrong []error
	descend := func(v Value, pattern string) {
		more, err := r.leaves(v, pattern)
		all, wrong = append(all, more...), append(wrong, err)
	}
	known, listed := r.below(pattern)
	if listed && (len(known) == 0 || v.List()) {
		items, err := v.Items()
		if err != nil {
			return nil, err
		}
		for _, item := range items {
			descend(item, pattern+"[]")
		}
		return all, errors.Join(wrong...)
	}
	entries, err := v.Entries()
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if !slices.Contains(known, e.Key) {
			wrong = append(wrong, e.Refusef("is not known%s", nearest(e.Key, known)))
			continue
		}
		descend(e.Value, strings.TrimPrefix(pattern+"."+e.Key, "."))
	}
	return all, errors.Join(wrong...)
}

// below are the keys that may stand below a path, and whether a list may.
func (r Rules[T]) below(pattern string) (known []string, listed bool) {
	keys := map[string]bool{}
	for path := range r {
		rest, ok := strings.CutPrefix(path, pattern)
		if pattern != "" && ok {
			if strings.HasPrefix(rest, "[]") {
				listed = true
				continue
			}
			rest, ok = strings.CutPrefix(rest, ".")
		}
		if !ok {
			continue
		}
		key, _, _ := strings.Cut(rest, ".")
		keys[strings.TrimSuffix(key, "[]")] = true
	}
	return slices.Sorted(maps.Keys(keys)), listed
}

// Apply says what becomes of the value.
func (l Leaf[T]) Apply(t T) (Field, error) {
	fate, note, err := l.rule(t, l.Value)
	return l.Field(fate, note), err
}

// Field is the value with what becomes of it.
func (v Value) Field(fate Fate, note string) Field {
	return Field{File: v.File, Line: v.Line(), Path: v.Path, Value: v.Text(), Fate: fate, Note: note}
}

// Apply says what becomes of each value.
func Apply[T any](t T, leaves []Leaf[T]) ([]Field, error) {
	var all []Field
	var wrong []error
	for _, l := range leaves {
		f, err := l.Apply(t)
		all, wrong = append(all, f), append(wrong, err)
	}
	return all, errors.Join(wrong...)
}

// Always is the rule for fields of which the same becomes whatever they say.
func Always[T any](fate Fate, note string) Rule[T] {
	return func(T, Value) (Fate, string, error) { return fate, note, nil }
}

// nearest names the known key that is written most alike.
func nearest(key string, known []string) string {
	if best := Nearest(key, known); best != "" {
		return ": the nearest known key is " + best
	}
	return ""
}

// Nearest is the known name that begins so, else the one that is written most alike, of those the one whose length is
// nearest. It is empty where half of the letters would be others.
func Nearest(name string, known []string) string {
	best, least := "", [2]int{len(name)/2 + 1, 0}
	for _, k := range known {
		if name != "" && strings.HasPrefix(k, name) {
			return k
		}
		apart := max(len(k)-len(name), len(name)-len(k))
		if d := [2]int{levenshtein.Distance(name, k, nil), apart}; slices.Compare(d[:], least[:]) < 0 {
			best, least = k, d
		}
	}
	return best
}
