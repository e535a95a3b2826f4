package prometheus

import (
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
)

// Equal matches series whose label has exactly this value.
func Equal(label, value string) string { return label + "=" + quote(value) }

// OneOf matches series whose label has one of these values, each taken literally: my.app becomes "my\\.app".
func OneOf(label string, values ...string) string {
	quoted := make([]string, len(values))
	for i, v := range values {
		quoted[i] = regexp.QuoteMeta(v)
	}
	return label + "=~" + quote(strings.Join(quoted, "|"))
}

// Unlike matches series whose label does not match a regular expression.
func Unlike(label, regex string) string { return label + "!~" + quote(regex) }

// Select is the series of a metric that all matchers match.
func Select(metric string, matchers ...string) string {
	return metric + "{" + strings.Join(matchers, ",") + "}"
}

// Window is a range such as [1m], down to whole milliseconds.
func Window(d time.Duration) string { return "[" + model.Duration(d).String() + "]" }

// quote writes a PromQL string, whose escapes are Go's.
func quote(s string) string { return strconv.Quote(s) }
