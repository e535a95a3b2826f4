package prometheus

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/serin-cd/serin/pkg/task/failure"
)

// matcher is one at the beginning of a text: label, operator, value in quotes.
var matcher = regexp.MustCompile(`^\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*(=~|!~|!=|=)\s*("(?:[^"\\]|\\.)*")\s*(,|$)`)

// own are the labels by which queries tell applications, arms and reporters apart.
var own = []string{"__name__", "reporter", "response_code", "grpc_response_status", "le", "destination_service_name",
	"destination_service_namespace", "destination_workload", "destination_workload_namespace"}

// matchers are the label matchers that each query gets besides its own, as PromQL writes them.
func (c Config) matchers() (string, error) {
	var all []string
	for rest := c.Matchers; strings.TrimSpace(rest) != ""; {
		m := matcher.FindStringSubmatch(rest)
		if m == nil {
			return "", failure.Configf(
				"reading prometheus-matchers: %q, want label matchers of PromQL without braces, "+
					`such as cluster="eu-1",env!="dev"`,
				rest,
			)
		}
		label, operator, quoted := m[1], m[2], m[3]
		if slices.Contains(own, label) {
			return "", failure.Configf(
				"reading prometheus-matchers: label %s, want another: queries match it themselves",
				label,
			)
		}
		value, err := strconv.Unquote(quoted)
		if err != nil {
			return "", failure.Configf("reading prometheus-matchers: %s is %s, want a string with Go's escapes", label,
				quoted)
		}
		if _, err := regexp.Compile(value); err != nil && strings.HasSuffix(operator, "~") {
			return "", failure.Configf("reading prometheus-matchers: %s: %w", label, err)
		}
		all, rest = append(all, label+operator+quoted), rest[len(m[0]):]
	}
	return strings.Join(all, ","), nil
}

// restricted adds matchers to each selector of an expression: after each opening brace that is in no string and no
// comment.
func restricted(promql, matchers string) string {
	if matchers == "" {
		return promql
	}
	var b strings.Builder
	var in rune // what ends the string or comment that is open: a quote, or a line's end
	escaped := false
	for _, c := range promql {
		b.WriteRune(c)
		switch {
		case escaped:
			escaped = false
		case in != 0:
			escaped = c == '\\' && (in == '"' || in == '\'')
			if c == in {
				in = 0
			}
		case c == '"' || c == '\'' || c == '`':
			in = c
		case c == '#':
			in = '\n'
		case c == '{':
			b.WriteString(matchers + ",")
		}
	}
	return b.String()
}
