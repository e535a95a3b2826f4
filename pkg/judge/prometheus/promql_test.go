package prometheus

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestSelectQuotes(t *testing.T) {
	cases := map[string]struct{ got, want string }{
		"plain":  {Select("m", Equal("a", "b")), `m{a="b"}`},
		"quotes": {Select("m", Equal("a", "b\"} or vector(1) #\\")), `m{a="b\"} or vector(1) #\\"}`},
		"dots":   {Select("m", OneOf("w", "my.app", "my.app-primary")), `m{w=~"my\\.app|my\\.app-primary"}`},
		"bars":   {Select("m", OneOf("w", "a|b")), `m{w=~"a\\|b"}`},
		"unlike": {Select("m", Unlike("code", "5.*")), `m{code!~"5.*"}`},
		"window": {Window(90 * time.Second), "[1m30s]"},
		"minute": {Window(time.Minute), "[1m]"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if c.got != c.want {
				t.Errorf("got %s, want %s", c.got, c.want)
			}
		})
	}
}

func FuzzOneOf(f *testing.F) {
	for _, s := range []string{"podinfo", "my.app", `a"b`, `\`, "a\nb", "a|b", "ä", "$^"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if !utf8.ValidString(name) {
			t.Skip("a label value is UTF-8")
		}
		text := strings.TrimPrefix(OneOf("w", name), "w=~")
		regex, err := strconv.Unquote(text)
		if err != nil {
			t.Fatalf("%s is no string: %v", text, err)
		}
		compiled, err := regexp.Compile("^(?s:" + regex + ")$") // as Prometheus anchors it
		if err != nil {
			t.Fatalf("%s is no regular expression: %v", regex, err)
		}
		if !compiled.MatchString(name) || compiled.MatchString(name+"x") {
			t.Errorf("%s matches something other than %q", regex, name)
		}
	})
}

func TestAnswersThatNeverEndAreCut(t *testing.T) {
	body := &limited{ReadCloser: io.NopCloser(bytes.NewReader(make([]byte, 100))), left: 99}
	if _, err := io.ReadAll(body); !errors.Is(err, errBodyLimit) {
		t.Errorf("reading 100 bytes of 99: %v, want a refusal", err)
	}
	body = &limited{ReadCloser: io.NopCloser(bytes.NewReader(make([]byte, 100))), left: 100}
	if _, err := io.ReadAll(body); err != nil {
		t.Errorf("reading 100 bytes of 100: %v, want none", err)
	}
}
