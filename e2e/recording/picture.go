package recording

import (
	"bufio"
	"cmp"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"image/color"
	"io"
	"strings"

	uv "github.com/charmbracelet/ultraviolet"
	"github.com/charmbracelet/x/ansi"
	"github.com/charmbracelet/x/vt"
)

// What a character takes, and what is around all of them, in pixels.
const (
	column = 8.4
	row    = 18
	size   = 14 // of the font
	border = 14
)

// palette is for the colours that have names. The others are as the program gives them.
var palette = map[ansi.BasicColor]string{
	ansi.Red: "#f47067", ansi.Green: "#57ab5a", ansi.Yellow: "#daaa3f", ansi.Blue: "#539bf5", ansi.Magenta: "#b083f0",
	ansi.Cyan: "#39c5cf",
}

const (
	ink   = "#d0d7de"
	paper = "#1c2128"
)

// frame is what the terminal shows from some second on: the keys of its lines.
type frame struct {
	at    float64
	lines []int
}

// film is a recording as it is drawn.
type film struct {
	header
	frames []frame
	lines  []string // that differ, as SVG
	known  map[string]int
}

// Draw reads an asciicast and writes it as an SVG that plays it again and again.
func Draw(w io.Writer, cast io.Reader) error {
	f, err := develop(cast)
	if err != nil {
		return fmt.Errorf("drawing the recording: %w", err)
	}
	return f.write(w)
}

// develop plays a recording on a terminal of its own, and keeps each picture.
func develop(cast io.Reader) (*film, error) {
	f := &film{known: map[string]int{}}
	lines := bufio.NewReader(cast)
	first, err := lines.ReadBytes('\n')
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(first, &f.header); err != nil {
		return nil, err
	}
	if f.Width == 0 || f.Height == 0 {
		return nil, fmt.Errorf("a terminal of %d columns and %d rows, want some", f.Width, f.Height)
	}
	terminal := vt.NewSafeEmulator(int(f.Width), int(f.Height))
	defer terminal.Close()
	go func() { _, _ = io.Copy(io.Discard, terminal) }() // answers to what the program asked its terminal
	for events := json.NewDecoder(lines); ; {
		var event [3]any
		err := events.Decode(&event)
		if errors.Is(err, io.EOF) && len(f.frames) > 0 {
			return f, nil
		}
		if err != nil {
			return nil, err
		}
		at, known := event[0].(float64)
		text, printed := event[2].(string)
		if !known || !printed {
			return nil, fmt.Errorf("event %v, want [seconds, \"o\", text]", event)
		}
		if _, err := terminal.Write([]byte(text)); err != nil {
			return nil, err
		}
		f.keep(at, terminal)
	}
}

func (f *film) keep(at float64, terminal *vt.SafeEmulator) {
	now := frame{at: at}
	for y := range int(f.Height) {
		line := drawLine(terminal, int(f.Width), y)
		key, known := f.known[line]
		if !known {
			key = len(f.lines)
			f.lines, f.known[line] = append(f.lines, line), key
		}
		now.lines = append(now.lines, key)
	}
	f.frames = append(f.frames, now)
}

// drawLine draws a line of a terminal, a piece for all that looks alike.
func drawLine(terminal *vt.SafeEmulator, width, y int) string {
	var line strings.Builder
	for x := 0; x < width; {
		first := cellAt(terminal, x, y)
		from, text := x, ""
		for ; x < width; x++ {
			next := cellAt(terminal, x, y)
			if !next.Style.Equal(&first.Style) || block(next.Content) != block(first.Content) {
				break
			}
			text += next.Content
		}
		drawPiece(&line, from, x-from, text, first.Style)
	}
	return line.String()
}

func cellAt(terminal *vt.SafeEmulator, x, y int) uv.Cell {
	cell := terminal.CellAt(x, y)
	if cell == nil {
		return uv.Cell{Content: " "}
	}
	known := *cell
	known.Content = cmp.Or(known.Content, " ")
	return known
}

// block is a character that bars are made of, or nothing. Fonts disagree about their size.
func block(character string) string {
	if character == "█" || character == "░" {
		return character
	}
	return ""
}

func drawPiece(line *strings.Builder, from, columns int, text string, style uv.Style) {
	if strings.TrimSpace(text) == "" {
		return
	}
	look := fmt.Sprintf(` fill="%s"`, hex(style.Fg))
	if style.Attrs&uv.AttrFaint != 0 {
		look += ` opacity=".6"`
	}
	short := strings.TrimLeft(text, " ")
	from, columns = from+len(text)-len(short), columns-len(text)+len(short)
	text = strings.TrimRight(short, " ")
	columns -= len(short) - len(text)
	x, width := float64(from)*column, float64(columns)*column
	if of := block(text[:min(len(text), len("█"))]); of != "" {
		if of == "░" {
			look = fmt.Sprintf(` fill="%s" opacity=".2"`, hex(style.Fg))
		}
		fmt.Fprintf(line, `<rect x="%.1f" y="-11" width="%.1f" height="13"%s/>`, x, width, look)
		return
	}
	if style.Attrs&uv.AttrBold != 0 {
		look += ` font-weight="bold"`
	}
	fmt.Fprintf(line, `<text x="%.1f" textLength="%.1f"%s>`, x, width, look)
	_ = xml.EscapeText(line, []byte(text)) // to a string
	line.WriteString("</text>")
}

func hex(c color.Color) string {
	if c == nil {
		return ink
	}
	if named, ok := c.(ansi.BasicColor); ok && palette[named] != "" {
		return palette[named]
	}
	r, g, b, _ := c.RGBA()
	return fmt.Sprintf("#%02x%02x%02x", r>>8, g>>8, b>>8)
}

// write writes the frames side by side, and moves them past a window of the size of one.
func (f *film) write(w io.Writer) error {
	width, height := float64(f.Width)*column+2*border, int(f.Height)*row+2*border
	last := f.frames[len(f.frames)-1].at
	out := bufio.NewWriter(w)
	fmt.Fprintf(out, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %d" width="%.0[1]f" height="%[2]d" `+
		"font-family=\"ui-monospace,'DejaVu Sans Mono',Menlo,Consolas,monospace\" font-size=\"%[3]d\">\n<title>", width,
		height, size)
	_ = xml.EscapeText(out, []byte(f.Title)) // the error is that of Flush
	fmt.Fprintf(out, "</title>\n<style>text{white-space:pre}.film{animation:film %.2fs steps(1,end) infinite}"+
		"@media(prefers-reduced-motion:reduce){.film{animation:none;transform:translateX(-%.0fpx)}}@keyframes film{",
		last, width*float64(max(0, len(f.frames)-2)))
	for i, frame := range f.frames {
		fmt.Fprintf(out, "%.3f%%{transform:translateX(-%.0fpx)}", 100*frame.at/max(last, 1e-9), width*float64(i))
	}
	fmt.Fprintf(out, "}</style>\n<rect width=\"100%%\" height=\"100%%\" rx=\"8\" fill=\"%s\"/>\n<defs>\n", paper)
	for key, line := range f.lines {
		if line != "" {
			fmt.Fprintf(out, "<g id=\"l%d\">%s</g>\n", key, line)
		}
	}
	fmt.Fprint(out, "</defs>\n<g class=\"film\">\n")
	for i, frame := range f.frames {
		f.writeFrame(out, width*float64(i)+border, frame)
	}
	fmt.Fprint(out, "</g>\n</svg>\n")
	return out.Flush()
}

func (f *film) writeFrame(out io.Writer, x float64, frame frame) {
	fmt.Fprintf(out, `<g transform="translate(%.0f %d)">`, x, border+size)
	for y, key := range frame.lines {
		if f.lines[key] != "" {
			fmt.Fprintf(out, `<use href="#l%d" y="%d"/>`, key, y*row)
		}
	}
	fmt.Fprintln(out, "</g>")
}
