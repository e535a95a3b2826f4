package load_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/serin-cd/serin/e2e/load"
)

func TestRunCounts(t *testing.T) {
	var n atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Host != "app.example.com" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		switch n.Add(1) % 4 {
		case 0:
			w.Header().Set("X-Version", "2")
			w.WriteHeader(http.StatusInternalServerError)
		case 1:
			_, _ = w.Write([]byte(`{"message": "podinfo 1"}`))
		case 2:
			panic(http.ErrAbortHandler) // no answer
		default:
			w.Header().Set("X-Version", "2")
		}
	}))
	defer server.Close()

	seconds, answers := 0, 0
	report, err := load.Run(t.Context(), load.Options{
		URL: server.URL, Host: "app.example.com", Rate: 100, Duration: 2 * time.Second,
		EachSecond: func(s load.Second) { seconds += s.Requests },
		EachAnswer: func(a load.Answer) {
			answers++
			if (a.Status == 0) != (a.Err != "") {
				t.Errorf("got %+v, want an error where there is no answer, and only there", a)
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	// a busy machine sends fewer in the time
	sent := int(n.Load())
	if sent < 100 || sent > 200 || report.Total.Requests != sent || seconds != sent || answers != sent {
		t.Errorf("got %d requests, %d in seconds, %d one by one, want the %d of the server each, 100 to 200",
			report.Total.Requests, seconds, answers, sent)
	}
	errors, plain, none, good := sent/4, (sent+3)/4, (sent+2)/4, (sent+1)/4
	if report.Total.Failed != errors+none {
		t.Errorf("got %d failures, want %d", report.Total.Failed, errors+none)
	}
	statuses := map[string]int{"200": plain + good, "500": errors, "none": none}
	if diff := cmp.Diff(statuses, report.Total.Statuses); diff != "" {
		t.Error(diff)
	}
	want := map[string]load.Count{"2": {Requests: errors + good, Failed: errors}, "podinfo 1": {Requests: plain},
		"unknown": {Requests: none, Failed: none}}
	if diff := cmp.Diff(want, report.Total.Versions); diff != "" {
		t.Error(diff)
	}
	if l := report.Total.Latency; l.P50 <= 0 || l.P50 > l.P99 || l.P99 > l.Max {
		t.Errorf("got latencies %+v, want them in order", l)
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer server.Close()
	ctx, cancel := context.WithCancel(t.Context())
	report, err := load.Run(ctx, load.Options{URL: server.URL, Rate: 50, EachAnswer: func(load.Answer) { cancel() }})
	if err != nil || report.Total.Requests == 0 || report.Total.Failed > 0 {
		t.Errorf("got %+v (%v), want some answers and no failures", report, err)
	}
}

func TestRunRefuses(t *testing.T) {
	for name, o := range map[string]load.Options{"no rate": {URL: "http://localhost"}, "no URL": {Rate: 1}} {
		if _, err := load.Run(t.Context(), o); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
}
