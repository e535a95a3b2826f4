package screen

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/charmbracelet/x/ansi"
	"github.com/google/go-cmp/cmp"

	"github.com/serin-cd/serin/pkg/release/status"
	"github.com/serin-cd/serin/pkg/task/parameter"
	"github.com/serin-cd/serin/pkg/task/run"
)

var update = flag.Bool("update", false, "write the golden files")

var noon = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

func at(seconds int) time.Time { return noon.Add(time.Duration(seconds) * time.Second) }

// begun and ended are changes of a task.
func begun(name string, from int) status.Change {
	return status.Change{Task: &status.Task{Name: name, Started: at(from), Until: at(from + 300), State: "Running"}}
}

func ended(name string, from, to int, verdict, reason string, e *status.Evidence) status.Change {
	state := "Succeeded"
	if verdict == "fail" {
		state = "StepFailed"
	}
	return status.Change{Task: &status.Task{Name: name, Started: at(from), Ended: at(to), State: state,
		Verdict: verdict, Reason: reason, Evidence: e}}
}

func weight(percent parameter.Weight, from int) status.Change {
	return status.Change{Weight: &run.Stage{Weight: percent, At: at(from)}}
}

func said(from int, text string) status.Change { return status.Change{At: at(from), Event: text} }

// started is a run that the Pipeline's second stage judges.
func started() []status.Change {
	return []status.Change{
		{Plan: []string{"prepare", "stage-20", "stage-40", "stage-60", "promote", "finish"}},
		{Serving: &status.Version{Images: []string{"example.com/shop:1.4.2"}}},
		{Canary: &status.Version{Images: []string{"example.com/shop:1.5.0"}}},
		{Phase: run.Preparing}, begun("prepare", 0), ended("prepare", 0, 9, "", "", nil),
		{Phase: run.Shifting}, begun("stage-20", 10), weight(20, 12),
		said(11, "Starting canary analysis for shop.production"), said(12, "Advance shop.production canary weight 20"),
		ended("stage-20", 10, 45, "pass", "time-box: canary 1/339 (0.29 %) against primary 0/1402 (0.00 %) in 30s, "+
			"nothing speaks against it: blame 0.7, want at most 1",
			&status.Evidence{Weight: 20, Since: 30, Canary: [2]float64{1, 339}, Primary: [2]float64{0, 1402}}),
		begun("stage-40", 46), weight(40, 48), said(48, "Advance shop.production canary weight 40"),
	}
}

// judged is how far the judging of that stage is.
func judged(state string, blame float64) status.Change {
	return status.Change{Judging: &status.Judging{
		Task: "stage-40", At: at(66), Judge: "sequential", State: state, Gate: "time-box", MinDwell: 15 * time.Second,
		TimeBox: 30 * time.Second, Deadline: 10 * time.Minute, BlameLimit: 100, AcquitLimit: 20,
		Evidence: status.Evidence{Weight: 40, Canary: [2]float64{3, 1262}, Primary: [2]float64{0, 2801}, Blame: blame,
			Acquit: 4.25},
		Slow: []status.Slow{{Ms: 5, Canary: 400, Primary: 300}, {Ms: 10, Canary: 90, Primary: 12},
			{Ms: 25, Canary: 14, Primary: 0}},
	}}
}

func TestDraw(t *testing.T) {
	local := time.Local
	time.Local = time.UTC
	t.Cleanup(func() { time.Local = local })
	rolledBack := status.Change{Ended: &status.Run{
		ID: run.ID{Namespace: "production", Name: "shop-7", UID: "u"}, App: "shop", Created: at(0), Ended: at(80),
		State: "Failed", Outcome: run.RolledBack, Verdict: "fail",
		Reason: "worse: canary 97/1294 (7.50 %) against primary 0/2906 (0.00 %) in 15s, blame 160, want below 100",
	}}
	failed := append(started(), judged("worse", 160),
		ended("stage-40", 46, 70, "fail", "worse: canary 97/1294 (7.50 %) against primary 0/2906 (0.00 %) in 15s",
			&status.Evidence{Weight: 40, Canary: [2]float64{97, 1294}, Primary: [2]float64{0, 2906}, Blame: 160}),
		status.Change{Phase: run.Closed}, begun("finish", 70), ended("finish", 70, 80, "", "", nil), rolledBack)
	cases := map[string]struct {
		width, height int
		changes       []status.Change
	}{
		"nothing-yet": {80, 24, nil},
		"preparing":   {80, 24, started()[:5]},
		"judging":     {80, 24, append(started(), judged("open", 0.7))},
		"suspect":     {80, 24, append(started(), judged("suspect", 12))},
		"narrow":      {50, 24, append(started(), judged("open", 0.7))},
		"low":         {80, 12, append(started(), judged("open", 0.7))},
		"wide":        {160, 50, append(started(), judged("open", 0.7))},
		"tiny":        {20, 3, append(started(), judged("open", 0.7))},
		"unread": {80, 24, append(started(), status.Change{Unread: "the numbers of stage-40: pods \"p\" is " +
			"forbidden: User \"ann\" cannot get resource \"pods/log\""})},
		"classic": {80, 24, append(started(), status.Change{Judging: &status.Judging{Task: "stage-40", Judge: "classic",
			State: "failed", Deadline: 10 * time.Minute, Check: 2, Checks: 3, Failed: 1, Threshold: 5,
			Text: "request-duration 12 ms, want at most 1000 ms (340 requests in 1m); request-success-rate 98.5 %, " +
				"want at least 99 % (340 requests in 1m)"}})},
		"rolled-back": {80, 23, failed},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got := ansi.Strip(pictured(c.changes).draw(c.width, c.height, at(66)))
			lines := strings.Split(got, "\n")
			if len(lines) > c.height {
				t.Errorf("%d lines, want at most %d", len(lines), c.height)
			}
			for _, line := range lines {
				if w := ansi.StringWidth(line); w > c.width {
					t.Errorf("%d columns, want at most %d: %s", w, c.width, line)
				}
			}
			golden(t, name+".txt", got+"\n")
		})
	}
}

func pictured(changes []status.Change) picture {
	p := newPicture(status.Run{ID: run.ID{Namespace: "production", Name: "shop-7", UID: "u"}, App: "shop",
		Created: at(0)})
	for _, c := range changes {
		p = p.with(c)
	}
	return p
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}
