package explain_test

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/serin-cd/serin/internal/explain"
	"github.com/serin-cd/serin/pkg/judge/sequential"
	"github.com/serin-cd/serin/pkg/judge/verdict"
	"github.com/serin-cd/serin/pkg/release/status"
	"github.com/serin-cd/serin/pkg/report/summary"
	"github.com/serin-cd/serin/pkg/task/failure"
	"github.com/serin-cd/serin/pkg/task/run"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// judged is a run with the verdict of one of the reports that the real judge has made.
func judged(t *testing.T, name string, changes ...func(*verdict.Verdict)) explain.Known {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "pkg", "report", "testdata", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var v verdict.Verdict
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	for _, change := range changes {
		change(&v)
	}
	r := ended("rolled-back", v.Reason())
	return explain.Known{Run: r, Stages: v.Stages, Verdict: v.Decision,
		Report: &summary.Summary{Run: r.ID, App: r.App, Outcome: r.Outcome, Reason: r.Reason, Verdict: &v}}
}

func ended(outcome run.Outcome, reason string) status.Run {
	return status.Run{ID: run.ID{Namespace: "shop", Name: "reviews-7", UID: "u"}, App: "reviews", Created: noon,
		Started: noon, Ended: noon.Add(5 * time.Minute), State: "Failed", Outcome: outcome, Reason: reason,
		Revision: "3f8a1c2d9e0b77aa"}
}

func explained(t *testing.T, k explain.Known, stage int) (explain.Explanation, string) {
	t.Helper()
	e, err := explain.Of(k, stage)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := e.Write(&out); err != nil {
		t.Fatal(err)
	}
	return e, regexp.MustCompile("\x1b\\[[0-9;]*m").ReplaceAllString(out.String(), "")
}

// slower judges by what the report holds, as if the errors were all right.
func slower(v *verdict.Verdict) { v.Code = sequential.Slower }

func hard(v *verdict.Verdict) {
	v.Code, v.Hard = sequential.HardFailure, &verdict.Hard{End: 60, Canary: verdict.Ratio{150, 150},
		Primary: verdict.Ratio{1, 600}}
}

func limited(v *verdict.Verdict) {
	cold := 1000.0
	v.Code, v.Limits = sequential.LimitBroken, []verdict.Limit{{Most: 0.01, Canary: verdict.Ratio{23, 1200},
		Primary: verdict.Ratio{4.8, 4800}, CanaryLow: 0.011, PrimaryHigh: 0.003}, {LeMs: &cold, Most: 0.01}}
}

// suspect is as far as the report goes at its sixth interval, when blame had begun to grow.
func suspect(v *verdict.Verdict) {
	v.Decision, v.Code = verdict.Inconclusive, sequential.Suspect
	cut(v, 5)
}

func low(v *verdict.Verdict) {
	v.Decision, v.Code, v.Stages = verdict.Inconclusive, sequential.LowTraffic, v.Stages[:1]
	cut(v, 2)
}

// cut leaves so many intervals of a report, with their errors alone.
func cut(v *verdict.Verdict, n int) {
	last := v.Cells[n-1]
	v.Cells, v.Grid.Cells, v.Metrics = v.Cells[:n], n, v.Metrics[:1]
	v.At = v.Stages[0].At.Add(time.Duration(last.End) * time.Second)
	m := &v.Metrics[0]
	m.Blame, m.BlameMax, m.Acquit, m.AcquitMax = last.Blame, 1, last.Acquit, max(last.Acquit, 1)
	for _, c := range v.Cells {
		m.BlameMax = max(m.BlameMax, c.Blame)
	}
}

func TestExplanations(t *testing.T) {
	t.Setenv("TZ", "UTC")
	time.Local = time.UTC
	stage20 := status.Task{Name: "stage-20", Ended: noon.Add(40 * time.Second), State: "Succeeded", Verdict: "pass",
		Reason: "time-box: all is calm", Evidence: &status.Evidence{Weight: 20, Since: 40, Canary: [2]float64{3, 400},
			Primary: [2]float64{1, 1600}, Blame: 0.4, Acquit: 3}}
	first := judged(t, "worse")
	first.Tasks = []status.Task{stage20}
	boxed := judged(t, "worse", func(v *verdict.Verdict) { v.Rules.TimeBox = 30 })
	boxed.Tasks = first.Tasks
	unreported := explain.Known{Run: ended("rolled-back", "worse: many"), Stages: first.Stages, Verdict: "fail",
		Tasks: []status.Task{stage20}}
	pruned := explain.Known{Run: ended("promoted", "every stage passed"), Stages: first.Stages, Verdict: "pass",
		Pruned: true}
	refused := explain.Known{Run: ended("refused", "2 reasons"), Tasks: []status.Task{{Name: "prepare",
		Ended: noon.Add(time.Second), State: "Failed", Reason: "config: Deployment reviews is paused: resume it"}}}
	cases := map[string]struct {
		known explain.Known
		stage int
	}{
		"worse": {judged(t, "worse"), 0}, "slower": {judged(t, "worse", slower), 0}, "first-stage": {boxed, 1},
		"not-by-the-report": {first, 1}, "hard": {judged(t, "worse", hard), 0},
		"not-shifted": {judged(t, "worse", func(v *verdict.Verdict) { v.Code = sequential.TrafficNotShifted }), 0},
		"limit":       {judged(t, "worse", limited), 0},
		"suspect":     {judged(t, "worse", suspect), 0}, "low-traffic": {judged(t, "early", low), 0},
		"unfinished": {judged(t, "early"), 0}, "nobody": {judged(t, "nobody"), 0}, "classic": {judged(t, "fail"), 0},
		"endless": {judged(t, "endless"), 0}, "empty": {judged(t, "empty"), 0},
		"unreported": {unreported, 1}, "pruned": {pruned, 0}, "refused": {refused, 0},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			e, got := explained(t, c.known, c.stage)
			golden := filepath.Join("testdata", name+".txt")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if _, err := json.Marshal(e); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestNothingIsMadeUp changes what a report needs to be weighed again.
func TestNothingIsMadeUp(t *testing.T) {
	cases := map[string]struct {
		change func(*verdict.Verdict)
		want   string
	}{
		"an interval is gone": {func(v *verdict.Verdict) { v.Cells = v.Cells[1:] },
			"the report has the last 7 of 8 intervals"},
		"another count": {func(v *verdict.Verdict) { v.Cells[2].Canary[0] += 5 },
			"the report's intervals lead to a blame of"},
		"an older report": {func(v *verdict.Verdict) { v.Rules = verdict.Rules{} }, "did not keep the judge's rules"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			e, text := explained(t, judged(t, "worse", c.change), 0)
			if len(e.Stage.Otherwise) > 0 || !strings.Contains(text, c.want) ||
				!strings.Contains(text, "cannot be computed") || e.Stage.Compared == nil {
				t.Errorf("%d changes, want none, the comparison, and %q in\n%s", len(e.Stage.Otherwise), c.want, text)
			}
		})
	}
}

func TestStageThatIsNone(t *testing.T) {
	_, err := explain.Of(judged(t, "worse"), 3)
	if failure.Code(err) != failure.ExitConfig ||
		!strings.Contains(err.Error(), "it had 1 (weight 20), 2 (weight 21)") {
		t.Errorf("error %v, want the stages that there are", err)
	}
}

// TestAdvice is what the page about judging advises, word for word.
func TestAdvice(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "judging.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(page), "### What the reasons mean")
	table, _, _ = strings.Cut(table, "###")
	rows := 0
	for row := range strings.Lines(table) {
		cells := strings.Split(strings.TrimSpace(row), "|")
		if len(cells) != 5 || !strings.Contains(cells[1], "`") {
			continue
		}
		for code := range strings.SplitSeq(cells[1], ",") {
			rows++
			k := judged(t, "worse", func(v *verdict.Verdict) { v.Code = strings.Trim(code, " `") })
			e, _ := explained(t, k, 0)
			if want := strings.TrimSpace(strings.ReplaceAll(cells[3], "`", "")); e.Advice != want {
				t.Errorf("%s: advice %q, want %q", code, e.Advice, want)
			}
		}
	}
	if rows < 13 {
		t.Errorf("%d reasons on the page, want all", rows)
	}
}
