package judge_test

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/sethvargo/go-envconfig"

	"github.com/serin-cd/serin/pkg/judge"
	"github.com/serin-cd/serin/pkg/task/run"
)

// crowd is a Prometheus that holds many pods, and has answered already: what is measured is the judge.
type crowd struct{ answers map[string]model.Matrix }

const pods, codes, scrapes = 100, 20, 240

func (crowd) Now(context.Context) (time.Time, error) {
	return noon.Add(scrapes * 15 * time.Second), nil
}

func (c crowd) Query(_ context.Context, query string, at time.Time) (model.Value, error) {
	return c.answers[query[:strings.Index(query, "{")]+at.Format(time.TimeOnly)], nil
}

// newCrowd scrapes everything each 15 s for an hour: 100 pods with 20 codes each.
func newCrowd() crowd {
	c := crowd{map[string]model.Matrix{}}
	history, now := noon.Format(time.TimeOnly), noon.Add(scrapes*15*time.Second).Format(time.TimeOnly)
	for pod := range pods {
		arm := "reviews-primary"
		if pod%5 == 0 {
			arm = "reviews"
		}
		for code := range codes {
			l := model.Metric{}
			for name, value := range labels("destination", "istio_requests_total", arm, fmt.Sprint(200+20*code)) {
				l[model.LabelName(name)] = model.LabelValue(value)
			}
			l["pod"] = model.LabelValue(fmt.Sprintf("%s-5d6b8f7c9-%05d", arm, pod))
			all := &model.SampleStream{Metric: l}
			past := &model.SampleStream{Metric: l}
			for i := -60; i < scrapes; i++ {
				at := noon.Add(time.Duration(i)*15*time.Second + time.Duration(pod)*140*time.Millisecond)
				sample := model.SamplePair{Timestamp: model.TimeFromUnixNano(at.UnixNano()),
					Value: model.SampleValue(i + 100)}
				if i >= -20 {
					all.Values = append(all.Values, sample)
				}
				if i < 0 {
					past.Values = append(past.Values, sample)
				}
			}
			c.answers["istio_requests_total"+now] = append(c.answers["istio_requests_total"+now], all)
			c.answers["istio_requests_total"+history] = append(c.answers["istio_requests_total"+history], past)
		}
	}
	return c
}

// BenchmarkJudgeOneStage judges a stage of 100 pods, 20 codes and 240 scrapes, all of whose samples have been read.
func BenchmarkJudgeOneStage(b *testing.B) {
	var config judge.Config
	parameters := map[string]string{"JUDGE": "sequential", "REPORTER": "destination", "LATENCY": "off",
		"AS_OF": noon.Add(time.Hour).Format(time.RFC3339)}
	if err := envconfig.ProcessWith(b.Context(), &envconfig.Config{Target: &config,
		Lookuper: envconfig.MapLookuper(parameters)}); err != nil {
		b.Fatal(err)
	}
	j, err := judge.New(config, judge.Target{Namespace: "shop", Canary: "reviews", Primary: "reviews-primary"})
	if err != nil {
		b.Fatal(err)
	}
	q := newCrowd()
	c := clock{&past{nil, noon.Add(time.Hour)}}
	quiet(b)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for b.Loop() {
		if _, err := j.Judge(b.Context(), q, c, []run.Stage{{Weight: 20, At: noon}}, nil); err != nil {
			b.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(after.TotalAlloc-before.TotalAlloc)/float64(b.N)/(1<<20), "MiB/op")
}

// quiet logs nothing while something is measured.
func quiet(b *testing.B) {
	log := slog.Default()
	slog.SetDefault(slog.New(slog.DiscardHandler))
	b.Cleanup(func() { slog.SetDefault(log) })
}
