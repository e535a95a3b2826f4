// Package terminal writes for people: columns that stay in line, and colours where there is a terminal.
package terminal

import (
	"io"
	"os"
	"strings"

	"charm.land/lipgloss/v2"
	"github.com/charmbracelet/colorprofile"
	"golang.org/x/term"
)

// Good, Bad and Busy are colours of the terminal's own sixteen, which can be read on its background.
var (
	Good  = lipgloss.NewStyle().Foreground(lipgloss.Green)
	Bad   = lipgloss.NewStyle().Foreground(lipgloss.Red)
	Busy  = lipgloss.NewStyle().Foreground(lipgloss.Yellow)
	title = lipgloss.NewStyle().Bold(true)
	faint = lipgloss.NewStyle().Faint(true)
)

// moods are how words that say how something stands are shown.
var moods = map[string]lipgloss.Style{
	"pass": Good, "passed": Good, "promoted": Good, "initialized": Good, "ok": Good, "Succeeded": Good, "held": Good,
	"fail": Bad, "failed": Bad, "rolled-back": Bad, "refused": Bad, "error": Bad, "broken": Bad, "Failed": Bad,
	"beyond": Bad, "StepFailed": Bad,
	"inconclusive": Busy, "warning": Busy, "unfinished": Busy, "half ejected": Busy,
	"preparing": Busy, "shifting": Busy, "promoting": Busy,
	"Running": Busy, "no-values": Busy, "shared": Busy, "beyond by both": Busy,
	"superseded": faint, "unchanged": faint, "at rest": faint, "Pruned": faint,
}

// Writer writes styled text to what may be a terminal. Elsewhere, with NO_COLOR and with TERM=dumb, it is plain.
func Writer(w io.Writer) io.Writer { return colorprofile.NewWriter(w, os.Environ()) }

// Is says whether a stream is a terminal that can be drawn on.
func Is(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb"
}

// Mood shows a word as good or bad, if it is known as either. Of a text with a comma its first part is the word.
func Mood(text string) string {
	word, rest, comma := strings.Cut(text, ",")
	style, known := moods[word]
	if !known {
		return text
	}
	if comma {
		rest = "," + rest
	}
	return style.Render(word) + rest
}

// Title is a text in bold.
func Title(text string) string { return title.Render(text) }

// Faint is a text that matters less.
func Faint(text string) string { return faint.Render(text) }

// between is what is between two columns, at least.
const between = "  "

// Table is rows of cells, which may be styled.
type Table struct {
	// Indent is what each row begins with.
	Indent string
	rows   [][]string
}

// Row adds a row.
func (t *Table) Row(cells ...string) { t.rows = append(t.rows, cells) }

// Write writes the rows with their columns in line.
func (t *Table) Write(w io.Writer) error {
	var widths []int
	for _, row := range t.rows {
		for i, cell := range row[:max(0, len(row)-1)] { // nothing follows the last one
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], lipgloss.Width(cell))
		}
	}
	for _, row := range t.rows {
		line := t.Indent
		for i, cell := range row {
			if line += cell; i < len(row)-1 {
				line += strings.Repeat(" ", widths[i]-lipgloss.Width(cell)) + between
			}
		}
		if _, err := io.WriteString(w, strings.TrimRight(line, " ")+"\n"); err != nil {
			return err
		}
	}
	return nil
}
