package recording

import (
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"time"
	"unicode/utf8"

	"github.com/creack/pty"
)

// Cast is how a recording is made.
type Cast struct {
	Columns, Rows uint16
	Typed         string        // what is shown as typed, before the program's output
	Faster        float64       // by how much it plays faster than it was
	Frame         time.Duration // what comes within one is shown at once
	Last          time.Duration // how long the end stays
}

// header is the first line of an asciicast.
type header struct {
	Version   int               `json:"version"`
	Width     uint16            `json:"width"`
	Height    uint16            `json:"height"`
	Timestamp int64             `json:"timestamp"`
	Title     string            `json:"title"`
	Env       map[string]string `json:"env"`
}

// Record runs a program on a terminal until it ends, and writes what it prints as an asciicast, version 2.
func (c Cast) Record(w io.Writer, cmd *exec.Cmd) error {
	out := json.NewEncoder(w)
	out.SetEscapeHTML(false)
	begin := time.Now()
	if err := out.Encode(header{2, c.Columns, c.Rows, begin.Unix(), c.Typed, map[string]string{
		"TERM": "xterm-256color"}}); err != nil {
		return err
	}
	terminal, err := pty.StartWithSize(cmd, &pty.Winsize{Cols: c.Columns, Rows: c.Rows})
	if err != nil {
		return fmt.Errorf("recording %s: %w", cmd, err)
	}
	defer terminal.Close()
	write := func(at time.Duration, text []byte) error {
		return out.Encode([]any{at.Round(time.Millisecond).Seconds(), "o", string(text)})
	}
	at, pending := time.Duration(0), []byte("$ "+c.Typed+"\r\n")
	for buffer := make([]byte, 1<<16); ; {
		n, err := terminal.Read(buffer)
		if now := time.Duration(float64(time.Since(begin)) / c.Faster); now-at >= c.Frame && utf8.Valid(pending) {
			if err := write(at, pending); err != nil {
				return err
			}
			at, pending = now, nil
		}
		pending = append(pending, buffer[:n]...)
		if err != nil { // it has ended
			break
		}
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("recording %s: %w", cmd, err)
	}
	if err := write(at, pending); err != nil {
		return err
	}
	return write(at+c.Last, nil)
}
