// Package tty runs a program on a terminal, and tells what that shows.
package tty

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/charmbracelet/x/vt"
	"github.com/creack/pty"
)

// Size of a terminal, in columns and rows.
const (
	Columns = 80
	Rows    = 24
)

// Picture is what a terminal shows after a write of the program.
type Picture struct {
	At      time.Time
	Text    string
	Written string // what the program wrote
	Full    bool   // drawn over the whole terminal, which is given back later
}

// Terminal is one on which a program runs.
type Terminal struct {
	Pictures <-chan Picture // one for each write, until the program has ended
	keys     *os.File
}

// Type types a text.
func (t Terminal) Type(text string) error {
	_, err := t.keys.WriteString(text)
	return err
}

// Start starts a program on a terminal with colours. env is added to its environment. Once ctx is done nobody has to
// take pictures any more.
func Start(ctx context.Context, cmd *exec.Cmd, env ...string) (Terminal, error) {
	cmd.Env = append(os.Environ(), append(env, "TERM=xterm-256color")...)
	keys, err := pty.StartWithSize(cmd, &pty.Winsize{Cols: Columns, Rows: Rows})
	if err != nil {
		return Terminal{}, fmt.Errorf("starting %s: %w", cmd, err)
	}
	pictures := make(chan Picture)
	go func() {
		defer close(pictures)
		draw(ctx, keys, pictures)
		_ = keys.Close()
		_ = cmd.Wait() // its exit code is in cmd
	}()
	return Terminal{pictures, keys}, nil
}

// draw makes a picture of each write until there are no more.
func draw(ctx context.Context, terminal *os.File, pictures chan<- Picture) {
	screen := vt.NewEmulator(Columns, Rows)
	defer screen.Close()
	go func() { _, _ = io.Copy(terminal, screen) }() // answers to what the program asks its terminal
	for buffer := make([]byte, 1<<16); ; {
		n, err := terminal.Read(buffer)
		at := time.Now()
		if err != nil {
			return // it has ended
		}
		if _, err := screen.Write(buffer[:n]); err != nil {
			return
		}
		select {
		case pictures <- Picture{at, screen.String(), string(buffer[:n]), screen.IsAltScreen()}:
		case <-ctx.Done():
			return
		}
	}
}
