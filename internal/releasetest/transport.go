package releasetest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// transport is a function that does a request.
type transport func(*http.Request) (*http.Response, error)

// RoundTrip does a request.
func (t transport) RoundTrip(r *http.Request) (*http.Response, error) { return t(r) }

// Writes says whether a request changes an object other than an event.
func Writes(r *http.Request) bool {
	return r.Method != http.MethodGet && !strings.HasSuffix(r.URL.Path, "/events")
}

// Process does what a process does that dies at some point: its writes pass until so many have been done,
// and from then on no request leaves it. What it read does not matter for what it leaves behind, so a
// death between any two writes is all deaths.
type Process struct {
	Writes int    // that are done before it dies
	After  func() // each of them

	mu   sync.Mutex
	died bool
}

// Died says whether the process wanted to write once more than it could.
func (p *Process) Died() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.died
}

// Through is the process's way to the server.
func (p *Process) Through(next http.RoundTripper) http.RoundTripper {
	return transport(func(r *http.Request) (*http.Response, error) {
		if !p.lives(r) {
			return nil, context.Canceled
		}
		answer, err := next.RoundTrip(r)
		// the Lease is renewed beside the rest, which goes on meanwhile
		if Writes(r) && p.After != nil && !strings.Contains(r.URL.Path, "/leases") {
			p.After()
		}
		return answer, err
	})
}

func (p *Process) lives(r *http.Request) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if Writes(r) {
		p.died = p.died || p.Writes == 0
		p.Writes--
	}
	return !p.died
}

// Before calls a function before each request; an error is that of the request, which is then not done.
func Before(do func(*http.Request) error) func(http.RoundTripper) http.RoundTripper {
	return func(next http.RoundTripper) http.RoundTripper {
		return transport(func(r *http.Request) (*http.Response, error) {
			if err := do(r); err != nil {
				return nil, err
			}
			return next.RoundTrip(r)
		})
	}
}

// Dated is a server whose clock is off this machine's.
func Dated(off time.Duration) func(http.RoundTripper) http.RoundTripper {
	return func(next http.RoundTripper) http.RoundTripper {
		return transport(func(r *http.Request) (*http.Response, error) {
			answer, err := next.RoundTrip(r)
			if err == nil {
				answer.Header.Set("Date", time.Now().Add(off).UTC().Format(http.TimeFormat))
			}
			return answer, err
		})
	}
}

// Losing does each request, and loses the answer to the first try of each write.
func Losing() func(http.RoundTripper) http.RoundTripper {
	var mu sync.Mutex
	lost := map[string]bool{}
	return func(next http.RoundTripper) http.RoundTripper {
		return transport(func(r *http.Request) (*http.Response, error) {
			body, err := peek(r)
			if err != nil {
				return nil, err
			}
			answer, err := next.RoundTrip(r)
			if err != nil || !Writes(r) {
				return answer, err
			}
			mu.Lock()
			defer mu.Unlock()
			key := r.Method + r.URL.Path + body
			if lost[key] {
				return answer, nil
			}
			lost[key] = true
			answer.Body.Close()
			return nil, &net.OpError{Op: "read", Net: "tcp", Err: errors.New("connection reset by peer")}
		})
	}
}

// peek reads a request's body and leaves it as it was.
func peek(r *http.Request) (string, error) {
	if r.Body == nil {
		return "", nil
	}
	body, err := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	return string(body), err
}

// OnWrite calls a function before a write whose path ends so, once.
func OnWrite(suffix string, do func()) func(http.RoundTripper) http.RoundTripper {
	once := sync.OnceFunc(do)
	return Before(func(r *http.Request) error {
		if Writes(r) && strings.HasSuffix(r.URL.Path, suffix) {
			once()
		}
		return nil
	})
}
