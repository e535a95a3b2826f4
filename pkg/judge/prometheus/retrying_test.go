package prometheus_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/serin-cd/serin/pkg/judge/prometheus"
)

// jumping is a clock on which waiting takes no time.
type jumping struct {
	mu    sync.Mutex
	now   time.Time
	waits []time.Duration
}

func (j *jumping) Now() time.Time { return j.now }

func (j *jumping) After(d time.Duration) <-chan time.Time {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.now, j.waits = j.now.Add(d), append(j.waits, d)
	c := make(chan time.Time, 1)
	c <- j.now
	return c
}

func TestRetryingAsksAgain(t *testing.T) {
	const good = `{"status":"success","data":{"resultType":"scalar","result":[1,"2"]}}`
	const partial = `{"status":"success","data":{"resultType":"scalar","result":[1,"2"]},"warnings":["store down"]}`
	type answer struct {
		status int
		body   string
		after  string
	}
	cases := map[string]struct {
		answers []answer // the last one stays
		until   time.Duration
		asked   int
		waits   []float64 // seconds, give or take a fifth
		text    string
	}{
		"at once": {[]answer{{200, good, ""}}, time.Minute, 1, nil, ""},
		"third time": {[]answer{{503, "", ""}, {502, "", ""}, {200, good, ""}}, time.Minute, 3,
			[]float64{1, 2}, ""},
		"retry after":          {[]answer{{429, "", "7"}, {200, good, ""}}, time.Minute, 2, []float64{7}, ""},
		"retry after too long": {[]answer{{429, "", "900"}, {200, good, ""}}, 5 * time.Minute, 2, []float64{60}, ""},
		"not worth it": {[]answer{{400, refusal("bad_data", "parse error"), ""}}, time.Minute, 1, nil,
			"parse error"},
		"two partial": {[]answer{{200, partial, ""}, {200, partial, ""}, {200, good, ""}}, time.Minute, 3,
			[]float64{1, 2}, ""},
		"three partial": {[]answer{{200, partial, ""}}, time.Minute, 3, []float64{1, 2},
			"a partial answer (store down) for "},
		"interrupted partial": {[]answer{{200, partial, ""}, {200, partial, ""}, {503, "", ""}, {200, partial, ""},
			{200, good, ""}}, time.Minute, 5,
			[]float64{1, 2, 4, 8}, ""},
		"used up": {[]answer{{503, "", ""}}, 70 * time.Second, 0, []float64{1, 2, 4, 8, 15, 15, 15},
			"503 Service Unavailable for "},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			asked := 0
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				a := c.answers[min(asked, len(c.answers)-1)]
				asked++
				if a.after != "" {
					w.Header().Set("Retry-After", a.after)
				}
				w.WriteHeader(a.status)
				_, _ = w.Write([]byte(a.body))
			}))
			defer server.Close()
			clk := &jumping{now: noon}
			q := newClient(t, prometheus.Config{URL: server.URL}).Retrying(noon.Add(c.until), clk)
			_, err := q.Query(t.Context(), "up", noon)
			if (err == nil) != (c.text == "") || err != nil && !strings.Contains(err.Error(), c.text) {
				t.Errorf("error %v, want %q in it", err, c.text)
			}
			if c.asked != 0 && asked != c.asked {
				t.Errorf("asked %d times, want %d", asked, c.asked)
			}
			for i, d := range clk.waits {
				if i >= len(c.waits) {
					break // how many fit before the end depends on chance
				}
				if got, want := d.Seconds(), c.waits[i]; got < 0.8*want || got > 1.2*want {
					t.Errorf("wait %d is %.2f s, want %v s ± 20 %%", i+1, got, want)
				}
			}
			if clk.now.After(noon.Add(c.until)) {
				t.Errorf("still waiting %s past the end", clk.now.Sub(noon.Add(c.until)))
			}
		})
	}
}
