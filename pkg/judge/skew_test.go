package judge_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/serin-cd/serin/pkg/judge"
	"github.com/serin-cd/serin/pkg/task/run"
)

func TestSkew(t *testing.T) {
	api := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	stages := []run.Stage{{Weight: 20, At: api}, {Weight: 40, At: api.Add(time.Minute)}}
	cases := map[string]struct {
		off, want time.Duration
		text      string
	}{
		"none":              {0, 0, ""},
		"a little":          {5 * time.Second, 0, ""},
		"a little, behind":  {-5 * time.Second, 0, ""},
		"ahead":             {5*time.Minute + 2*time.Second, 5 * time.Minute, "5m0s ahead of the API server's"},
		"a little more":     {5*time.Minute - 400*time.Millisecond, 5 * time.Minute, "5m0s ahead of the API server's"},
		"still more":        {5*time.Minute + 3*time.Second, 5*time.Minute + 5*time.Second, "5m5s ahead"},
		"behind":            {-5*time.Minute + 200*time.Millisecond, -5 * time.Minute, "5m0s behind the API server's"},
		"just not a little": {5*time.Second + time.Millisecond, 5 * time.Second, "5s ahead"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			skew := judge.SkewOf(api.Add(c.off), api)
			want := []run.Stage{{Weight: 20, At: api.Add(c.want)}, {Weight: 40, At: api.Add(time.Minute + c.want)}}
			if diff := cmp.Diff(want, skew.Stages(stages)); diff != "" {
				t.Errorf("stages (-want +got):\n%s", diff)
			}
			text := strings.Join(skew.Warnings(), "\n")
			if (c.text == "") != (text == "") || !strings.Contains(text, c.text) {
				t.Errorf("warnings %q, want %q in them", text, c.text)
			}
		})
	}
}
