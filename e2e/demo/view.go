package demo

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/serin-cd/serin/e2e/load"
	"github.com/serin-cd/serin/e2e/trial"
)

// quiet is how often the status is printed where it cannot be drawn over.
const quiet = 10 * time.Second

// view is a log that scrolls, with a status below it that is drawn anew each second.
type view struct {
	w        io.Writer
	terminal bool
	drawn    bool      // a status is on the screen
	last     time.Time // when a status was printed
	seen     int       // events shown
	shown    map[string]bool
}

func newView(w io.Writer, terminal bool) *view {
	return &view{w: w, terminal: terminal, shown: map[string]bool{}}
}

func (v *view) title(text string) { v.line("\n" + v.bold(text)) }

func (v *view) event(text string) { v.line("  event    " + text) }

func (v *view) verdict(weight, verdict, reason string) {
	v.line(fmt.Sprintf("  verdict  at %s %%: %s: %s", weight, v.bold(verdict), reason))
}

// line prints above the status.
func (v *view) line(text string) {
	if v.drawn {
		fmt.Fprint(v.w, "\r\x1b[K")
		v.drawn = false
	}
	fmt.Fprintln(v.w, text)
}

func (v *view) bold(text string) string {
	if !v.terminal {
		return text
	}
	return "\x1b[1m" + text + "\x1b[0m"
}

// status shows the canary's share and what clients got in the newest of the seconds.
func (v *view) status(s trial.State, seconds []load.Second, since time.Duration) {
	text := fmt.Sprintf("  %3ds  canary %s %3d %%", int(since.Seconds()), bar(s.Weight), s.Weight)
	if n := len(seconds); n > 0 && seconds[n-1].Requests > 0 {
		last := seconds[n-1]
		text += fmt.Sprintf("  %d requests/s  %.1f %% errors  P99 %s ", last.Requests,
			100*float64(last.Failed)/float64(last.Requests), last.Latency.P99.Round(time.Millisecond))
		for _, version := range slices.Sorted(maps.Keys(last.Versions)) {
			text += fmt.Sprintf(" %s: %d", version, last.Versions[version].Requests)
		}
	}
	switch {
	case v.terminal:
		fmt.Fprint(v.w, "\r\x1b[K"+text)
		v.drawn = true
	case time.Since(v.last) >= quiet:
		fmt.Fprintln(v.w, text)
		v.last = time.Now()
	}
}

func bar(percent int64) string {
	n := int(percent) / 5
	return strings.Repeat("█", n) + strings.Repeat("░", 20-n)
}

// table is the end of the story.
func (v *view) table(endings []ending) {
	v.line("")
	t := tabwriter.NewWriter(v.w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "VERSION\tPIPELINERUN\tOUTCOME\tWIDEST\tTOOK\tREQUESTS\tFAILED\tSERVES NOW\tREASON")
	for _, e := range endings {
		failed := 0
		for _, n := range e.lost {
			failed += n
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%d %%\t%s\t%d\t%d\t%s\t%s\n", e.version, e.result.Reason,
			e.result.Results["outcome"], e.widest,
			e.took.Round(time.Second), e.requests, failed, e.serves, short(e.result.Results["reason"]))
	}
	t.Flush()
}

// short keeps a reason on its line.
func short(reason string) string {
	const most = 90
	if r := []rune(reason); len(r) > most {
		return string(r[:most]) + "…"
	}
	return reason
}
