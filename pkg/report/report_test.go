package report_test

import (
	"context"
	"encoding/json"
	"flag"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/model"
	"github.com/sethvargo/go-envconfig"

	"github.com/serin-cd/serin/pkg/judge"
	"github.com/serin-cd/serin/pkg/judge/verdict"
	"github.com/serin-cd/serin/pkg/report"
	"github.com/serin-cd/serin/pkg/task/run"
)

var (
	noon   = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	update = flag.Bool("update", false, "rewrite the golden files")
)

// answers is a Prometheus that gives the same answer to every query with a word in it.
type answers map[string]float64

func (answers) Now(context.Context) (time.Time, error) { return noon.Add(time.Hour), nil }

func (a answers) Query(_ context.Context, promql string, _ time.Time) (model.Value, error) {
	for _, word := range []string{"queue_depth", "histogram_quantile", `response_code!~`, `reporter="source"`} {
		if value, ok := a[word]; ok && strings.Contains(promql, word) {
			return model.Vector{{Value: model.SampleValue(value)}}, nil
		}
	}
	return model.Vector{}, nil
}

type clock struct{}

func (clock) Now() time.Time                       { return noon.Add(time.Hour) }
func (clock) After(time.Duration) <-chan time.Time { return nil }

func judged(t *testing.T, parameters map[string]string, q answers) verdict.Verdict {
	t.Helper()
	classic := envconfig.MapLookuper(map[string]string{"JUDGE": "classic"})
	var config judge.Config
	err := envconfig.ProcessWith(t.Context(), &envconfig.Config{Target: &config,
		Lookuper: envconfig.MultiLookuper(envconfig.MapLookuper(parameters), classic)})
	if err != nil {
		t.Fatal(err)
	}
	j, err := judge.New(config, judge.Target{Namespace: "shop", Canary: "reviews", Primary: "reviews-primary"})
	if err != nil {
		t.Fatal(err)
	}
	stages := []run.Stage{{Weight: 20, At: noon}, {Weight: 40, At: noon.Add(66 * time.Second)}}
	v, err := j.Judge(t.Context(), q, clock{}, stages, nil)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestReport(t *testing.T) {
	custom := `[{"name": "request-success-rate", "min": 99}, {"name": "queue-depth", "min": 1, "max": 10, "query": "max(queue_depth)"}]`
	cases := map[string]struct {
		parameters map[string]string
		answers    answers
	}{
		"fail": {map[string]string{"THRESHOLD": "3"}, answers{`reporter="source"`: 5, "response_code!~": 4,
			"histogram_quantile": 120.7}},
		"empty": {map[string]string{"THRESHOLD": "2", "NO_VALUES": "inconclusive"}, nil},
		"endless": {map[string]string{"METRICS": custom}, answers{`reporter="source"`: 5, "response_code!~": 5,
			"queue_depth": math.Inf(1)}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			v := judged(t, c.parameters, c.answers)
			path := filepath.Join(t.TempDir(), "report.json")
			if err := report.File(path)(v); err != nil {
				t.Fatal(err)
			}
			golden(t, name+".json", read(t, path))
			golden(t, name+".txt", table(t, v))

			for _, kind := range []string{".md", ".html"} {
				path := filepath.Join(t.TempDir(), "report"+kind)
				if err := report.File(path)(v); err != nil {
					t.Fatal(err)
				}
				golden(t, name+kind, read(t, path))
			}

			if back := logged(t, v); table(t, back) != table(t, v) {
				t.Errorf("of the log:\n%s\nwant\n%s", table(t, back), table(t, v))
			}
		})
	}
}

// logged is a verdict read back from the line that a step logs.
func logged(t *testing.T, v verdict.Verdict) verdict.Verdict {
	t.Helper()
	line, err := v.Line()
	var back verdict.Verdict
	if err != nil || strings.Contains(line, "\n") || json.Unmarshal([]byte(line), &back) != nil {
		t.Fatalf("line %q, %v, want JSON on one line", line, err)
	}
	if again, err := back.Line(); again != line {
		t.Errorf("read back and written again (-want +got, %v)\n%s", err, cmp.Diff(line, again))
	}
	return back
}

func table(t *testing.T, v verdict.Verdict) string {
	t.Helper()
	var text strings.Builder
	if err := report.Table(&text, v); err != nil {
		t.Fatal(err)
	}
	return text.String()
}

func TestReportIsNotAskedFor(t *testing.T) {
	if err := report.File("")(verdict.Verdict{}); err != nil {
		t.Errorf("no path: %v, want none", err)
	}
	if err := report.File(filepath.Join(t.TempDir(), "none", "report"))(verdict.Verdict{}); err == nil {
		t.Error("no such folder is no error, want one")
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got)\n%s", name, diff)
	}
}
