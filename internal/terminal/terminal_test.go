package terminal_test

import (
	"bytes"
	"strings"
	"testing"

	"charm.land/lipgloss/v2"

	"github.com/serin-cd/serin/internal/terminal"
)

// written is what a table with a verdict in colours comes to.
func written(t *testing.T) string {
	t.Helper()
	var table terminal.Table
	table.Row(terminal.Title("APP"), "STATE", "RUN")
	table.Row("shop", terminal.Mood("promoted"), "shop-1")
	table.Row("a-longer-one", terminal.Mood("fail, worse: 1/2"), "-")
	table.Row("ångström-店", "", "shop-2")
	var out bytes.Buffer
	if err := table.Write(terminal.Writer(&out)); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

const plain = `APP           STATE             RUN
shop          promoted          shop-1
a-longer-one  fail, worse: 1/2  -
ångström-店                     shop-2
`

func TestTableIsPlainWithoutATerminal(t *testing.T) {
	if got := written(t); got != plain {
		t.Errorf("got\n%q\nwant\n%q", got, plain)
	}
}

func TestTableStaysInLineWithColours(t *testing.T) {
	t.Setenv("CLICOLOR_FORCE", "1")
	t.Setenv("TERM", "xterm-256color")
	got := written(t)
	if !strings.Contains(got, "\x1b[32mpromoted\x1b[m") || !strings.Contains(got, "\x1b[31mfail\x1b[m, worse") {
		t.Errorf("got %q, want promoted in green and fail in red", got)
	}
	want := strings.Split(plain, "\n")
	for i, line := range strings.Split(got, "\n") {
		if lipgloss.Width(line) != lipgloss.Width(want[i]) {
			t.Errorf("line %q is %d wide, want %d", line, lipgloss.Width(line), lipgloss.Width(want[i]))
		}
	}
	t.Setenv("CLICOLOR_FORCE", "")
	t.Setenv("TERM", "dumb")
	if got := written(t); got != plain {
		t.Errorf("got %q on a dumb terminal, want plain text", got)
	}
}
