package classic

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/serin-cd/serin/pkg/task/failure"
)

func TestQueriesOfTheBuiltInMetrics(t *testing.T) {
	app := Subject{Namespace: "shop", Name: "my.app", Service: "my.app-canary"}
	cases := map[string]struct{ got, want string }{
		"total": {totalQuery(app, view{reporter: "destination"}, time.Minute),
			`sum(rate(istio_requests_total{reporter="destination",destination_workload_namespace="shop",destination_workload=~"my\\.app"}[1m]))`},
		"good": {goodQuery(app, view{reporter: "destination"}, time.Minute),
			`sum(rate(istio_requests_total{reporter="destination",destination_workload_namespace="shop",destination_workload=~"my\\.app",response_code!~"5.*"}[1m]))`},
		"p99": {durationQuery(app, view{reporter: "destination"}, time.Minute),
			`histogram_quantile(0.99, sum(rate(istio_request_duration_milliseconds_bucket{reporter="destination",destination_workload_namespace="shop",destination_workload=~"my\\.app"}[1m])) by (le))`},
		"source": {totalQuery(app, view{reporter: "source"}, 15*time.Second),
			`sum(rate(istio_requests_total{reporter="source",destination_service_namespace="shop",destination_service_name=~"my\\.app-canary"}[15s]))`},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if c.got != c.want {
				t.Errorf("got\n%s, want\n%s", c.got, c.want)
			}
		})
	}
}

func FuzzMetrics(f *testing.F) {
	f.Add(`[{"name": "request-success-rate", "interval": "1m", "min": 99}]`)
	f.Add(`[{"name": "q", "max": 1, "query": "{{ variables.a }}{{ target }}"}]`)
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, "{{") && len(text) > 200 {
			t.Skip("templates that only take time")
		}
		metrics, err := Parse(text)
		if err == nil {
			metrics, err = Fill(metrics, Subject{Namespace: "prod", Name: "podinfo"}, time.Minute, `{"a": "b"}`)
		}
		if err != nil {
			if !errors.Is(err, failure.ErrConfig) {
				t.Errorf("%q: %v, want a wrong configuration", text, err)
			}
			return
		}
		for i, m := range metrics {
			if m.validate(i+1) != nil || m.window <= 0 {
				t.Errorf("%q was read as %+v, which cannot be judged", text, m)
			}
		}
	})
}
