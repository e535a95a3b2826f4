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

func judged(t *testing.T, parameters map[string]string, q answers) judge.Verdict {
	t.Helper()
	classic := envconfig.MapLookuper(map[string]string{"JUDGE": "classic"})
	var config judge.Config
	err := envconfig.ProcessWith(t.Context(), &envconfig.Config{Target: &config, Lookuper: envconfig.MultiLookuper(envconfig.MapLookuper(parameters), classic)})
	if err != nil {
		t.Fatal(err)
	}
	j, err := judge.New(config, judge.Target{Namespace: "shop", Canary: "reviews", Primary: "reviews-primary"})
	if err != nil {
		t.Fatal(err)
	}
	phases := []run.Stage{{Weight: 20, At: noon}, {Weight: 40, At: noon.Add(66 * time.Second)}}
	verdict, err := j.Judge(t.Context(), q, clock{}, phases, nil)
	if err != nil {
		t.Fatal(err)
	}
	return verdict
}

func TestReport(t *testing.T) {
	custom := `[{"name": "request-success-rate", "min": 99}, {"name": "queue-depth", "min": 1, "max": 10, "query": "max(queue_depth)"}]`
	cases := map[string]struct {
		parameters map[string]string
		answers    answers
	}{
		"fail":    {map[string]string{"THRESHOLD": "3"}, answers{`reporter="source"`: 5, "response_code!~": 4, "histogram_quantile": 120.7}},
		"empty":   {map[string]string{"THRESHOLD": "2", "NO_VALUES": "inconclusive"}, nil},
		"endless": {map[string]string{"METRICS": custom}, answers{`reporter="source"`: 5, "response_code!~": 5, "queue_depth": math.Inf(1)}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			r := report.New(judged(t, c.parameters, c.answers))
			path := filepath.Join(t.TempDir(), "report.json")
			if err := r.WriteFile(path); err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, name+".json", string(text))
			var table strings.Builder
			if err := r.Table(&table); err != nil {
				t.Fatal(err)
			}
			golden(t, name+".txt", table.String())

			for _, kind := range []string{".md", ".html"} {
				path := filepath.Join(t.TempDir(), "report"+kind)
				if err := r.WriteFile(path); err != nil {
					t.Fatal(err)
				}
				golden(t, name+kind, read(t, path))
			}

			line, err := r.Line()
			var back report.Report
			if err != nil || strings.Contains(line, "\n") || json.Unmarshal([]byte(line), &back) != nil {
				t.Fatalf("line %q, %v, want JSON on one line", line, err)
			}
			if diff := cmp.Diff(r, back); diff != "" {
				t.Error("read back (-want +got)\n", diff)
			}
		})
	}
}

func TestReportIsNotAskedFor(t *testing.T) {
	if err := (report.Report{}).WriteFile(""); err != nil {
		t.Errorf("no path: %v, want none", err)
	}
	if err := (report.Report{}).WriteFile(filepath.Join(t.TempDir(), "none", "report")); err == nil {
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
