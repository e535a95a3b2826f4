package report_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/sethvargo/go-envconfig"

	"github.com/serin-cd/serin/pkg/judge"
	"github.com/serin-cd/serin/pkg/judge/verdict"
	"github.com/serin-cd/serin/pkg/report"
	"github.com/serin-cd/serin/pkg/task/run"
)

// gateway is a Prometheus that holds the counters of one proxy, scraped every 15 s. The canary begins to
// fail and to be slow at its second weight.
type gateway struct{}

func (gateway) Now(context.Context) (time.Time, error) { return noon.Add(time.Hour), nil }

func (gateway) Query(_ context.Context, promql string, at time.Time) (model.Value, error) {
	switch {
	case !strings.Contains(promql, `reporter="source"`):
		return model.Matrix{}, nil
	case strings.HasPrefix(promql, "istio_request_duration"):
		var m model.Matrix
		for le, slow := range map[string][2]float64{"100": {0.1, 0.3}, "500": {0.01, 0.2}, "+Inf": {0, 0}} {
			m = append(m, counter("reviews-primary", le, at, 40, slow[0], slow[0]),
				counter("reviews-canary", le, at, 10, slow[0], slow[1]))
		}
		return m, nil
	}
	return model.Matrix{
		counter("reviews-primary", "200", at, 40, 0.001, 0.001),
		counter("reviews-primary", "503", at, 40, 0.999, 0.999),
		counter("reviews-canary", "200", at, 10, 0, 0.03), counter("reviews-canary", "503", at, 10, 1, 0.97),
	}, nil
}

// counter counts requests a second, less a share before and another one from the second weight on.
func counter(service, value string, until time.Time, rate, before, after float64) *model.SampleStream {
	s := &model.SampleStream{Metric: model.Metric{"__name__": "istio_requests_total", "pod": "gateway",
		"destination_service_name": model.LabelValue(service), "response_code": "200"}}
	if value == "503" || value == "200" {
		s.Metric["response_code"] = model.LabelValue(value)
	} else {
		s.Metric["le"] = model.LabelValue(value)
	}
	total := 0.0
	for at := noon.Add(-15 * time.Minute); !at.After(until); at = at.Add(15 * time.Second) {
		if service == "reviews-canary" && !at.After(noon) {
			continue
		}
		share := before
		if at.After(noon.Add(45 * time.Second)) {
			share = after
		}
		total += 15 * rate * (1 - share)
		s.Values = append(s.Values, model.SamplePair{Timestamp: model.TimeFromUnixNano(at.UnixNano()),
			Value: model.SampleValue(total)})
	}
	return s
}

func weighed(t *testing.T, parameters map[string]string) verdict.Verdict {
	t.Helper()
	var config judge.Config
	err := envconfig.ProcessWith(t.Context(), &envconfig.Config{Target: &config,
		Lookuper: envconfig.MapLookuper(parameters)})
	if err != nil {
		t.Fatal(err)
	}
	j, err := judge.New(config, judge.Target{Namespace: "shop", Canary: "reviews", Primary: "reviews-primary"})
	if err != nil {
		t.Fatal(err)
	}
	stages := []run.Stage{{Weight: 20, At: noon}, {Weight: 21, At: noon.Add(45 * time.Second)}}
	v, err := j.Judge(t.Context(), gateway{}, clock{}, stages, nil)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestReportOfTheSequentialJudge(t *testing.T) {
	cases := map[string]map[string]string{
		"worse":  {"AS_OF": "2026-11-23T12:02:00Z"},
		"early":  {"AS_OF": "2026-11-23T12:00:45Z", "LATENCY": "off", "GATE": "time-box"},
		"nobody": {"AS_OF": "2026-11-23T12:20:00Z", "REPORTER": "destination"},
	}
	for name, parameters := range cases {
		t.Run(name, func(t *testing.T) {
			v := weighed(t, parameters)
			for _, kind := range []string{".json", ".md", ".html"} {
				path := filepath.Join(t.TempDir(), "report"+kind)
				if err := report.File(path)(v); err != nil {
					t.Fatal(err)
				}
				golden(t, name+kind, read(t, path))
			}
			golden(t, name+".txt", table(t, v))

			if back := logged(t, v); len(back.Metrics) != len(v.Metrics) || len(back.Cells) > 0 {
				t.Errorf("%d metrics and %d cells in the log, want %d and none", len(back.Metrics), len(back.Cells),
					len(v.Metrics))
			}
			if len(v.Cells) == 0 {
				t.Error("writing a line has taken the cells away")
			}
		})
	}
}
