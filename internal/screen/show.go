package screen

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"

	"github.com/serin-cd/serin/pkg/release/status"
)

// ErrLeft is that a person left before the run ended.
var ErrLeft = errors.New("you left before it ended")

// lowest is how many rows the last picture has at least, with the prompt below it.
const lowest = 24

// Follow tells each change of a run until it has ended.
type Follow func(ctx context.Context, tell func(status.Change)) (status.Run, error)

// Show draws a run that is followed until it ends, or until the person at the terminal leaves, which ends with ErrLeft.
// The last picture stays above the prompt.
func Show(ctx context.Context, in io.Reader, out io.Writer, r status.Run, now func() time.Time,
	follow Follow) (status.Run, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	program := tea.NewProgram(model{picture: newPicture(r), now: now, width: 80, height: 24},
		tea.WithInput(in), tea.WithOutput(out), tea.WithContext(ctx))
	followed := make(chan struct{})
	go func() {
		defer close(followed)
		ended, err := follow(ctx, func(c status.Change) { program.Send(c) })
		program.Send(end{ended, err})
	}()
	last, err := program.Run()
	stop()
	<-followed
	if m, ok := last.(model); ok {
		if _, bad := lipgloss.Fprintln(out, m.picture.draw(m.width, max(m.height, lowest)-1, now())); bad != nil {
			return status.Run{}, bad
		}
		if m.end != nil {
			return m.end.run, m.end.err
		}
	}
	if err == nil || errors.Is(err, tea.ErrInterrupted) || ctx.Err() != nil && errors.Is(err, tea.ErrProgramKilled) {
		return status.Run{}, ErrLeft
	}
	return status.Run{}, fmt.Errorf("drawing on the terminal: %w", err)
}

// end is that of following.
type end struct {
	run status.Run
	err error
}

// tick is that a second has passed, by which times are drawn.
type tick struct{}

// model is what is drawn, as bubbletea wants it.
type model struct {
	picture       picture
	now           func() time.Time
	width, height int
	end           *end
}

// Init begins to count seconds.
func (m model) Init() tea.Cmd { return second() }

func second() tea.Cmd { return tea.Tick(time.Second, func(time.Time) tea.Msg { return tick{} }) }

// Update takes over what has happened.
func (m model) Update(message tea.Msg) (tea.Model, tea.Cmd) {
	switch message := message.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = message.Width, message.Height
	case tea.KeyPressMsg:
		switch message.String() {
		case "q", "ctrl+c", "esc":
			return m, tea.Quit
		}
	case status.Change:
		m.picture = m.picture.with(message)
	case end:
		m.end = &message
		return m, tea.Quit
	case tick:
		return m, second()
	}
	return m, nil
}

// View draws the picture over the whole terminal.
func (m model) View() tea.View {
	v := tea.NewView(m.picture.draw(m.width, m.height, m.now()))
	v.AltScreen = true
	v.WindowTitle = m.picture.run.App + ": " + m.picture.run.ID.Name
	return v
}
