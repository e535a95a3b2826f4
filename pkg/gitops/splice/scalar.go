package splice

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// scalar is a single value that is to be written.
type scalar struct {
	text string
	tag  string
}

func scalarOf(value any) (scalar, error) {
	switch value := value.(type) {
	case string:
		if !utf8.ValidString(value) || strings.ContainsRune(value, hole) {
			return scalar{}, fmt.Errorf("cannot be %q: want text", value)
		}
		return scalar{value, "!!str"}, nil
	case bool:
		return scalar{strconv.FormatBool(value), "!!bool"}, nil
	case int:
		return scalar{strconv.Itoa(value), "!!int"}, nil
	}
	return scalar{}, fmt.Errorf("cannot be %v: want text, a bool or a whole number", value)
}

// is says whether a node has this value.
func (s scalar) is(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.Value == s.text && n.ShortTag() == s.tag
}

// written is the value as it stands in a file, in the style of the one that it takes the place of.
func (s scalar) written(style yaml.Style, flow bool) string {
	switch {
	case s.tag != "!!str":
		return s.text
	case style&yaml.DoubleQuotedStyle != 0:
		return double(s.text)
	case style&yaml.SingleQuotedStyle != 0 && strings.IndexFunc(s.text, unprintable) < 0:
		return "'" + strings.ReplaceAll(s.text, "'", "''") + "'"
	case plain(s.text, flow):
		return s.text
	}
	return double(s.text)
}

// unprintable characters stand in double quotes only.
func unprintable(r rune) bool { return !unicode.IsPrint(r) }

// double is text in double quotes, as JSON has them, with what is not printed as escapes.
func double(text string) string {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(text) // a string always can
	var out strings.Builder
	for _, r := range strings.TrimSuffix(b.String(), "\n") {
		switch {
		case r > 0xffff && unprintable(r):
			fmt.Fprintf(&out, `\U%08x`, r)
		case r > 0x7e && unprintable(r):
			fmt.Fprintf(&out, `\u%04x`, r)
		default:
			out.WriteRune(r)
		}
	}
	return out.String()
}

// older is what earlier readers of YAML, Helm's among them, take for numbers and bools.
var older = regexp.MustCompile(`^(?i:y|n|yes|no|on|off|[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?|` +
	`[-+]?[0-9_]*\.?[0-9_]*(e[-+]?[0-9]+)?)$`)

// plain says whether text is read as this text without quotes, by the parser itself.
func plain(text string, flow bool) bool {
	if text == "" || older.MatchString(text) || strings.IndexFunc(text, unprintable) >= 0 ||
		strings.Contains(text, "{{") {
		return false
	}
	around := "a: " + text + "\n"
	if flow {
		around = "{a: " + text + "}\n"
	}
	documents, err := parse([]byte(around))
	if err != nil || len(documents) != 1 || len(documents[0].Content) != 1 {
		return false
	}
	top := documents[0].Content[0]
	return len(top.Content) == 2 && top.Content[1].Style == 0 && top.Content[1].LineComment == "" &&
		scalar{text, "!!str"}.is(top.Content[1])
}
