package scenarios

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/serin-cd/serin/e2e/trial"
)

func TestBadInputChangesNothing(t *testing.T) {
	p := released(t, 10)
	p.push(trial.V2)
	cases := []struct {
		name   string
		params map[string]string
		step   string
		exit   int32
		says   string
	}{
		{"promql", map[string]string{"metrics": `[{"name": "broken", "max": 1, "query": "sum(rate("}]`},
			"prepare-canary", 2, "parse error"},
		{"unreachable", map[string]string{"prometheus-url": "http://prometheus.nowhere:9090"}, "prepare-canary", 1,
			"is Prometheus up?"},
		{"no-url", map[string]string{"prometheus-url": "prometheus:9090"}, "prepare-canary", 2,
			`"prometheus:9090", want http:// or https://`},
		{"interval", map[string]string{"interval": "0s"}, "prepare-canary", 2,
			`reading interval: "0s", want a duration above zero`},
		{"rate", map[string]string{"success-rate": "101"}, "prepare-canary", 2, `reading success-rate: "101"`},
		{"duration", map[string]string{"request-duration": "0"}, "prepare-canary", 2, `reading request-duration: "0"`},
		{"threshold", map[string]string{"threshold": "0"}, "prepare-canary", 2, `reading threshold: "0"`},
		{"container", map[string]string{"image": "serin.test/app:2.0.0", "container": "nginx"}, "prepare-canary", 2,
			`container "nginx", want one of app`},
		{"app", map[string]string{"app": "nothing"}, "prepare-canary", 2, "Deployment nothing"},
	}
	before := p.state()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r, err := p.app.Start(t.Context(), "canary", "bad-"+c.name, classic(c.params))
			if err != nil {
				t.Fatal(err)
			}
			result, err := r.Wait(t.Context(), 2*time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			prepare := result.Tasks["prepare"]
			if got := prepare.Exits[c.step]; result.Succeeded || got != c.exit {
				t.Errorf("%s ended with %d, succeeded %v, want %d and a failed run: %+v", c.step, got, result.Succeeded,
					c.exit, result.Tasks)
			}
			if reason := prepare.Results["reason"]; !strings.Contains(reason, c.says) {
				t.Errorf("prepare's reason %q, want %q in it", reason, c.says)
			}
			if diff := cmp.Diff(before, p.state()); diff != "" {
				t.Errorf("something changed (-before +after):\n%s", diff)
			}
		})
	}
	p.nothingLost()
}
