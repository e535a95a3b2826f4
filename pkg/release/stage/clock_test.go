package stage_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/serin-cd/serin/internal/prometheustest"
	"github.com/serin-cd/serin/internal/releasetest"
	"github.com/serin-cd/serin/pkg/judge"
	"github.com/serin-cd/serin/pkg/judge/prometheus"
	"github.com/serin-cd/serin/pkg/judge/verdict"
	"github.com/serin-cd/serin/pkg/release/stage"
	"github.com/serin-cd/serin/pkg/task/parameter"
	"github.com/serin-cd/serin/pkg/task/run"
)

// TestJudgedOnPrometheusClock has an API server whose clock, and so the record's times, are five minutes off
// Prometheus's. The metric is the time of the check itself.
func TestJudgedOnPrometheusClock(t *testing.T) {
	client, err := prometheus.New(prometheus.Config{URL: prometheustest.Start(t)})
	must(t, err)
	for name, c := range map[string]struct {
		off  time.Duration // of the API server's clock
		text string        // of the warning, empty for none
	}{
		"as one":            {0, ""},
		"Prometheus behind": {5 * time.Minute, "clock-skew: Prometheus's clock is 5m0s behind the API server's"},
		"Prometheus ahead":  {-5 * time.Minute, "clock-skew: Prometheus's clock is 5m0s ahead of the API server's"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := releasetest.New(t)
			a.Second()
			r := a.Run("second", releasetest.Dated(c.off))
			must(t, stage.Shift(t.Context(), r, 20, time.Minute))
			now := time.Now()
			var config judge.Config
			must(t, parameter.Decode(t.Context(), map[string]string{
				"judge": "classic", "interval": "2s", "settle": "1s",
				"metrics": fmt.Sprintf(`[{"name":"instant","query":"vector(time())","min":%d,"max":%d}]`, now.Unix()-10,
					now.Unix()+60),
			}, &config))
			j, err := judge.New(config, judge.Target{Namespace: a.Namespace, Canary: "podinfo",
				Primary: "podinfo-primary"})
			must(t, err)
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			v, err := stage.Judge(ctx, r, stage.Analysis{Judge: j, Prometheus: client, Series: 100}.Live(r.Cluster),
				time.Minute)
			if err != nil || v.Decision != verdict.Pass {
				t.Errorf("verdict %s %q (%v), want a pass", v.Decision, v.Reason(), err)
			}
			skewed := slices.ContainsFunc(v.Warnings,
				func(w string) bool { return c.text != "" && strings.HasPrefix(w, c.text) })
			if skewed != (c.text != "") || len(v.Warnings) > 1 {
				t.Errorf("warnings %q, want %q alone", v.Warnings, c.text)
			}
			if at := v.Stages[0].At; at.Sub(now).Abs() > 10*time.Second {
				t.Errorf("the stage began at %s on Prometheus's clock, want about %s", at, now)
			}
			s, err := r.Fence.Read(t.Context())
			must(t, err)
			if at := s.Record.Stages[0].At.Add(-c.off); s.Record.Phase != run.Shifting ||
				at.Sub(now).Abs() > 10*time.Second {
				t.Errorf("record %s, want it as it was, its time the API server's", s.Record)
			}
		})
	}
}
