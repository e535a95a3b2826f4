package summary_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/serin-cd/serin/internal/prometheustest"
	"github.com/serin-cd/serin/internal/releasetest"
	"github.com/serin-cd/serin/pkg/judge/verdict"
	"github.com/serin-cd/serin/pkg/release"
	"github.com/serin-cd/serin/pkg/release/promote"
	"github.com/serin-cd/serin/pkg/release/stage"
	"github.com/serin-cd/serin/pkg/report/summary"
	"github.com/serin-cd/serin/pkg/task/run"
)

const nowhere = "http://127.0.0.1:1"

// shifted is the run of version 2, at weight 20.
func shifted(t *testing.T) (*releasetest.App, *release.Release) {
	t.Helper()
	a := releasetest.New(t)
	a.First()
	a.Push("2")
	r := a.PipelineRun("second")
	_, err := a.Prepare(r)
	must(t, err)
	must(t, stage.Shift(t.Context(), r, 20, time.Minute))
	return a, r
}

// worse has the run judged as failed, by numbers that Prometheus has no more when the report is written.
func worse(t *testing.T, r *release.Release) {
	t.Helper()
	_, err := stage.Judge(t.Context(), r, func(_ context.Context, stages []run.Stage,
		_ func(verdict.Check)) (verdict.Verdict, error) {
		v := verdict.New(verdict.Target{}, stages, stages[0].At)
		v.Decision, v.Code, v.Text = verdict.Fail, "worse", "30 of 100 requests failed, of the primary's 1 of 900"
		return v, nil
	}, time.Minute)
	if err == nil {
		t.Fatal("the canary has passed")
	}
}

// reported is the report of the run and its pages.
func reported(t *testing.T, a *releasetest.App) (summary.Summary, map[string]string) {
	t.Helper()
	kept, err := configMap(t, a, "serin-podinfo-second")
	must(t, err)
	var s summary.Summary
	must(t, json.Unmarshal([]byte(kept.Data["report.json"]), &s))
	if s.Verdict == nil {
		t.Fatalf("kept %s, want a verdict", kept.Data["report.json"])
	}
	return s, kept.Data
}

func TestReportShowsTheVerdictThatWasReached(t *testing.T) {
	server := prometheustest.Start(t)
	a, r := shifted(t)
	worse(t, r)
	const reached = "at weight 20: fail, worse: 30 of 100 requests failed, of the primary's 1 of 900\n"
	if printed := kept(t, r, server); !strings.Contains(printed, reached) {
		t.Errorf("printed\n%s\nwant %q in it", printed, reached)
	}
	s, first := reported(t, a)
	if v := s.Verdict; v.Decision != verdict.Fail || len(v.Warnings) != 1 ||
		!strings.HasPrefix(v.Warnings[0], "judged-again: by the samples that Prometheus has now it would be inconc") {
		t.Errorf("%s, warnings %q, want the verdict, and what there is now", v.Decision, v.Warnings)
	}
	kept(t, r, nowhere)
	if _, again := reported(t, a); !cmp.Equal(first, again) {
		t.Errorf("a second report without Prometheus (-first +second):\n%s", cmp.Diff(first, again))
	}
}

func TestReportWithoutPrometheus(t *testing.T) {
	a, r := shifted(t)
	worse(t, r)
	kept(t, r, nowhere)
	s, data := reported(t, a)
	if v := s.Verdict; v.Reason() != "worse: 30 of 100 requests failed, of the primary's 1 of 900" ||
		len(v.Warnings) != 1 || !strings.HasPrefix(v.Warnings[0], "not-judged-again: ") {
		t.Errorf("%s, warnings %q, want the verdict, and why there is no more", v.Reason(), v.Warnings)
	}
	if !strings.Contains(data["report.html"], "30 of 100") || !strings.Contains(data["report.md"], "30 of 100") {
		t.Errorf("page %.100q, Markdown %.100q, want the verdict in both", data["report.html"], data["report.md"])
	}
}

func TestReportOfARunThatPassed(t *testing.T) {
	server := prometheustest.Start(t)
	a, r := shifted(t)
	_, err := promote.Run(t.Context(), r, time.Minute)
	must(t, err)
	kept(t, r, server)
	s, _ := reported(t, a)
	if v := s.Verdict; s.Outcome != run.Promoted || v.Reason() != "healthy: every stage passed" {
		t.Errorf("%s, %s, want it promoted, and a pass", s.Outcome, v.Reason())
	}
}

// TestReportOfARunThatWasStopped has no verdict but that there was none.
func TestReportOfARunThatWasStopped(t *testing.T) {
	a, r := shifted(t)
	must(t, r.Close(t.Context(), "the step was stopped: terminated", "stopped"))
	kept(t, r, nowhere)
	s, _ := reported(t, a)
	if v := s.Verdict; v.Decision != verdict.Inconclusive ||
		v.Reason() != "undecided: the run ended before a verdict: the step was stopped: terminated" {
		t.Errorf("%s, %s, want it undecided", v.Decision, v.Reason())
	}
}

// TestRunEndsWhileItIsSummedUp has an abort close the run at the report's first question to Prometheus.
func TestRunEndsWhileItIsSummedUp(t *testing.T) {
	server, err := url.Parse(prometheustest.Start(t))
	must(t, err)
	a, r := shifted(t)
	abort := sync.OnceFunc(func() {
		if err := r.Close(t.Context(), "aborted by ann", "aborted by ann"); err != nil {
			t.Error(err)
		}
	})
	proxy := httputil.NewSingleHostReverseProxy(server)
	gate := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		abort()
		proxy.ServeHTTP(w, q)
	}))
	defer gate.Close()
	kept(t, r, gate.URL)
	if s, _ := reported(t, a); s.Outcome != run.RolledBack || s.Reason != "aborted by ann" ||
		s.Verdict.Code != "undecided" {
		t.Errorf("%s: %s, %s, want the ending that was", s.Outcome, s.Reason, s.Verdict.Reason())
	}
}

func TestReasonsThatAreTheSame(t *testing.T) {
	const text = "worse: canary 30/100 (30.00 %%) against primary 1/900 (0.11 %%) in %s, blame 120, want below %d"
	first := fmt.Sprintf(text, "25s", 100)
	if second := fmt.Sprintf(text, "24s", 100); !summary.Same(first, second) {
		t.Errorf("%q and %q differ, want them the same but for a second", first, second)
	}
	if second := fmt.Sprintf(text, "1m0s", 400); summary.Same(first, second) {
		t.Errorf("%q and %q are the same, want them to differ by the bound", first, second)
	}
}
