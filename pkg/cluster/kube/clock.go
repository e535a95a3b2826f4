package kube

import (
	"net/http"
	"sync"
	"time"
)

// Clock is the API server's clock, read from the Date header of its answers, so that times which
// different pods write can be compared. Its resolution is a second.
type Clock struct {
	mu       sync.Mutex
	server   time.Time // the newest Date
	received time.Time // when it came, by this machine's monotonic clock
	known    chan struct{}
}

// Known is closed once the server has answered, and so its time is known.
func (c *Clock) Known() <-chan struct{} { return c.known }

// After is there when a time has passed.
func (c *Clock) After(d time.Duration) <-chan time.Time { return time.After(d) }

// Now is the API server's time in UTC, in whole seconds; this machine's time before the first answer.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.server.IsZero() {
		return time.Now().UTC().Truncate(time.Second)
	}
	return c.server.Add(time.Since(c.received)).UTC().Truncate(time.Second)
}

func (c *Clock) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		answer, err := next.RoundTrip(r)
		if err == nil {
			c.set(answer.Header.Get("Date"))
		}
		return answer, err
	})
}

func (c *Clock) set(date string) {
	server, err := http.ParseTime(date)
	if err != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.server.IsZero() {
		close(c.known)
	}
	c.server, c.received = server, time.Now()
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
