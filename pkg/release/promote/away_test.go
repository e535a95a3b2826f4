package promote_test

import (
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/serin-cd/serin/internal/releasetest"
	"github.com/serin-cd/serin/pkg/release/promote"
	"github.com/serin-cd/serin/pkg/task/failure"
	"github.com/serin-cd/serin/pkg/task/run"
)

// written are the times at which paths were first written.
type written struct {
	mu    sync.Mutex
	first map[string]time.Time
}

// awayFor does not let the route be written for a time, from the first try on, and tells when what was written.
func (w *written) awayFor(d time.Duration) func(http.RoundTripper) http.RoundTripper {
	var until time.Time
	return releasetest.Before(func(r *http.Request) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		now, name := time.Now(), r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]
		if !releasetest.Writes(r) {
			return nil
		}
		if strings.Contains(r.URL.Path, "/virtualservices/") {
			name = "route"
			if until.IsZero() {
				until = now.Add(d)
			}
			if now.Before(until) {
				return &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}
			}
		}
		if _, ok := w.first[name]; !ok {
			w.first[name] = now
		}
		return nil
	})
}

// TestPrimaryIsChangedOnceProxiesAreConnected has the mesh's control plane away when the promotion begins.
func TestPrimaryIsChangedOnceProxiesAreConnected(t *testing.T) {
	cases := map[string]struct {
		away, atLeast, atMost time.Duration
	}{
		"for long":     {away: 2500 * time.Millisecond, atLeast: 8 * time.Second, atMost: time.Minute},
		"for a moment": {away: 300 * time.Millisecond, atMost: 7 * time.Second},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, _ := at(t)
			w := &written{first: map[string]time.Time{}}
			_, err := promote.Run(t.Context(), a.Run("second", w.awayFor(c.away)), time.Minute)
			must(t, err)
			a.Want(promoted)
			if after := w.first["podinfo-primary"].Sub(w.first["route"]); after < c.atLeast || after > c.atMost {
				t.Errorf("the primary was changed %s after the route could be written, want %s to %s", after, c.atLeast,
					c.atMost)
			}
		})
	}
}

// TestTargetChangesBeforeProxiesAreConnected loses its traffic at once, and nothing is promoted.
func TestTargetChangesBeforeProxiesAreConnected(t *testing.T) {
	a, _ := at(t)
	w := &written{first: map[string]time.Time{}}
	done := make(chan error)
	go func() {
		_, err := promote.Run(t.Context(), a.Run("second", w.awayFor(2500*time.Millisecond)), time.Minute)
		done <- err
	}()
	a.Eventually("it promotes", func() bool { return a.State().Phase == run.Promoting })
	a.Push("3")
	a.Eventually("the canary has no traffic",
		func() bool { s := a.State(); return s.Weight == 0 && s.Phase == run.Promoting })
	if err := <-done; failure.Code(err) != failure.ExitInconclusive ||
		!strings.Contains(err.Error(), ": start a run for the new one") {
		t.Errorf("error %v, want it to say that another revision was judged", err)
	}
	if s := a.State(); s.Phase != run.Closed || s.Outcome != run.RolledBack || !primaryRuns(a, "1") {
		t.Errorf("%+v, want it taken back and the primary as it was", s)
	}
}
