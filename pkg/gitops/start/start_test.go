package start_test

import (
	"strings"
	"testing"

	"github.com/serin-cd/serin/pkg/gitops/start"
)

func TestNameFitsTekton(t *testing.T) {
	t.Parallel()
	revision := strings.Repeat("0123456789abcdef", 4)
	long := strings.Repeat("a", 55)
	for app, want := range map[string]string{"podinfo": "podinfo-0123456789ab", long: long + "-0123456"} {
		if got := start.Name(app, revision, 1); got != want {
			t.Errorf("name of %s: got %s, want %s", app, got, want)
		}
	}
	if got, want := start.Name(long, revision, 12), long+"-0123-12"; got != want {
		t.Errorf("name of the 12th attempt: got %s, want %s", got, want)
	}
}
