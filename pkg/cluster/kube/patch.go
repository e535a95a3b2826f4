package kube

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Operation is one operation of a JSON patch (RFC 6902). A nil Value is null: as a test it holds where
// the path's last member is absent.
type Operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value"`
	From  string `json:"from,omitempty"` // of copy
}

// Test makes the whole patch fail unless the path holds the value.
func Test(path string, value any) Operation { return Operation{Op: "test", Path: path, Value: value} }

// Add sets a member, whether it is there or not.
func Add(path string, value any) Operation { return Operation{Op: "add", Path: path, Value: value} }

// Replace sets a member that must be there.
func Replace(path string, value any) Operation {
	return Operation{Op: "replace", Path: path, Value: value}
}

// Remove takes a member away that must be there.
func Remove(members ...string) Operation { return Operation{Op: "remove", Path: Path(members...)} }

// Copy adds to a path what stands at another.
func Copy(from, path string) Operation { return Operation{Op: "copy", Path: path, From: from} }

// Patch is the body of a JSON patch.
func Patch(operations ...Operation) ([]byte, error) {
	body, err := json.Marshal(operations)
	if err != nil {
		return nil, fmt.Errorf("writing a patch: %w", err)
	}
	return body, nil
}

// Path joins members to a JSON pointer (RFC 6901).
func Path(members ...string) string {
	escape := strings.NewReplacer("~", "~0", "/", "~1")
	path := ""
	for _, m := range members {
		path += "/" + escape.Replace(m)
	}
	return path
}

// Annotate sets an annotation of an object that has these annotations now, if any.
func Annotate(now map[string]string, key, value string) []Operation {
	if len(now) == 0 {
		return []Operation{Test("/metadata/annotations", nil),
			Add("/metadata/annotations", map[string]string{key: value})}
	}
	return []Operation{Add(Path("metadata", "annotations", key), value)}
}

// Unannotate removes an annotation that an object has.
func Unannotate(key string) Operation { return Remove("metadata", "annotations", key) }

// SetMembers are the operations that give labels or annotations, at a path and as they are now, the wanted members;
// others stay.
func SetMembers(now, wanted map[string]string, path ...string) []Operation {
	if len(now) == 0 && len(wanted) > 0 {
		return []Operation{Test(Path(path...), nil), Add(Path(path...), wanted)}
	}
	var ops []Operation
	for _, key := range slices.Sorted(maps.Keys(wanted)) {
		if value, there := now[key]; !there || value != wanted[key] {
			ops = append(ops, Add(Path(append(slices.Clone(path), key)...), wanted[key]))
		}
	}
	return ops
}

// TestAnnotation holds where the annotation is as it was read: absent, or with that value.
func TestAnnotation(now map[string]string, key string) Operation {
	if len(now) == 0 {
		return Test("/metadata/annotations", nil)
	}
	if value, ok := now[key]; ok {
		return Test(Path("metadata", "annotations", key), value)
	}
	return Test(Path("metadata", "annotations", key), nil)
}
