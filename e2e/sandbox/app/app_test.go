package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func environment(pairs map[string]string) func(string) string {
	return func(name string) string { return pairs[name] }
}

func TestFromEnvironment(t *testing.T) {
	got, err := fromEnvironment(environment(map[string]string{"VERSION": "2", "FAIL_EVERY": "3", "DELAY": "1500ms",
		"NEVER_READY": "true"}))
	if err != nil {
		t.Fatal(err)
	}
	want := behaviour{Version: "2", FailEvery: 3, FailStatus: 500, Delay: 1500 * time.Millisecond, NeverReady: true}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, err := fromEnvironment(environment(map[string]string{"DELAY": "soon"})); err == nil ||
		!strings.Contains(err.Error(), "DELAY") {
		t.Errorf("got %v, want an error that names DELAY", err)
	}
}

// started serves the behaviour; exits counts what would have ended the program.
func started(t *testing.T, b behaviour) (url string, exits *int) {
	t.Helper()
	exits = new(int)
	server := httptest.NewServer(newApp(b, func(int) { *exits++ }))
	t.Cleanup(server.Close)
	return server.URL, exits
}

func ask(t *testing.T, method, url, body string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	return res
}

func TestEveryThirdFails(t *testing.T) {
	url, _ := started(t, behaviour{Version: "2", FailEvery: 3, FailStatus: 500})
	var got []int
	for range 6 {
		res := ask(t, http.MethodGet, url, "")
		got = append(got, res.StatusCode)
		if v := res.Header.Get("X-Version"); v != "2" {
			t.Errorf("got version %q, want 2", v)
		}
	}
	if diff := cmp.Diff([]int{200, 200, 500, 200, 200, 500}, got); diff != "" {
		t.Error(diff)
	}
}

func TestChangedAtRunTime(t *testing.T) {
	url, exits := started(t, behaviour{Version: "2"})
	if got := ask(t, http.MethodPost, url+"/behaviour", `{"failEvery": 1, "failStatus": 503}`).StatusCode; got != 200 {
		t.Fatalf("got %d", got)
	}
	if got := ask(t, http.MethodGet, url, "").StatusCode; got != 503 {
		t.Errorf("got %d after it was told to fail, want 503", got)
	}
	if got := ask(t, http.MethodPost, url+"/behaviour", `{"failEvry": 1}`).StatusCode; got != 400 {
		t.Errorf("got %d for a field that does not exist, want 400", got)
	}
	for _, step := range []struct {
		post string
		want int
	}{{"/unready", 503}, {"/ready", 200}} {
		ask(t, http.MethodPost, url+step.post, "")
		if got := ask(t, http.MethodGet, url+"/readyz", "").StatusCode; got != step.want {
			t.Errorf("got %d from /readyz after %s, want %d", got, step.post, step.want)
		}
	}
	ask(t, http.MethodPost, url+"/crash", "")
	if *exits != 1 {
		t.Errorf("it ended %d times after /crash, want once", *exits)
	}
}

func TestNeverReady(t *testing.T) {
	url, _ := started(t, behaviour{NeverReady: true})
	if got := ask(t, http.MethodGet, url+"/readyz", "").StatusCode; got != 503 {
		t.Errorf("got %d, want 503", got)
	}
}

func TestLeaving(t *testing.T) {
	a := newApp(behaviour{}, func(int) {})
	server := httptest.NewServer(a)
	defer server.Close()
	if ask(t, http.MethodGet, server.URL, "").Close {
		t.Error("it closes connections while it stays")
	}
	a.leave()
	if got := ask(t, http.MethodGet, server.URL, ""); !got.Close || got.StatusCode != 200 {
		t.Errorf("got %s, closing %v, want an answer after which callers make another connection", got.Status,
			got.Close)
	}
}
