package terminal_test

import (
	"bufio"
	"bytes"
	"io"
	"strings"
	"testing"

	"charm.land/lipgloss/v2"
	"github.com/creack/pty"

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

// TestColoursOfATerminal are those that whoever sits before it wants.
func TestColoursOfATerminal(t *testing.T) {
	cases := map[string]struct {
		term, without string
		want          bool
	}{
		"a terminal": {"xterm-256color", "", true}, "with NO_COLOR": {"xterm-256color", "1", false},
		"a dumb one": {"dumb", "", false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Setenv("TERM", c.term)
			t.Setenv("NO_COLOR", c.without)
			t.Setenv("CLICOLOR_FORCE", "")
			controller, screen, err := pty.Open()
			if err != nil {
				t.Fatal(err)
			}
			defer controller.Close()
			defer screen.Close()
			if _, err := io.WriteString(terminal.Writer(screen), terminal.Mood("promoted")+"\n"); err != nil {
				t.Fatal(err)
			}
			got, err := bufio.NewReader(controller).ReadString('\n')
			if err != nil || !strings.Contains(got, "promoted") || strings.Contains(got, "\x1b[32m") != c.want {
				t.Errorf("got %q (%v), want green: %v", got, err, c.want)
			}
		})
	}
}

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
