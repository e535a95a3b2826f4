package prometheus

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"syscall"
	"time"

	prom "github.com/prometheus/client_golang/api/prometheus/v1"

	"github.com/serin-cd/serin/pkg/task/failure"
)

// The kinds of error that another try may mend. Any other is a wrong configuration (failure.ErrConfig),
// which none can, or a refusal of this very query. Test for them with errors.Is.
var (
	// ErrUnavailable means that Prometheus gave no answer, or one that says to come again.
	ErrUnavailable = errors.New("no answer from Prometheus")
	// ErrPartial means that Prometheus warned that its answer lacks data; it was thrown away.
	ErrPartial = errors.New("partial answer from Prometheus")
)

// trouble is one failed try.
type trouble struct {
	address string
	cause   string // a few words, without address or secret
	kind    error
	after   time.Duration // what Retry-After asks for
}

// Error implements error.
func (t *trouble) Error() string { return t.text("") }

func (t *trouble) text(since string) string {
	want := "an answer: is Prometheus up?"
	if errors.Is(t.kind, ErrPartial) {
		want = "a whole answer: are all its stores up?"
	}
	return fmt.Sprintf("querying %s: %s%s, want %s", t.address, t.cause, since, want)
}

// Unwrap gives the kind to errors.Is.
func (t *trouble) Unwrap() error { return t.kind }

// status classifies an answer that is not 200, before anything in it is believed.
func (c *Client) status(resp *http.Response, kind prom.ErrorType, text string) error {
	switch resp.StatusCode {
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return &trouble{c.address, said(resp), ErrUnavailable, retryAfter(resp)}
	case http.StatusUnprocessableEntity:
		if kind == prom.ErrTimeout || kind == prom.ErrCanceled {
			return &trouble{c.address, string(kind) + ": " + text, ErrUnavailable, retryAfter(resp)}
		}
		return fmt.Errorf("querying %s: %s", c.address, text)
	case http.StatusBadRequest:
		return failure.Configf("querying %s: %s", c.address, text)
	case http.StatusUnauthorized, http.StatusForbidden:
		return failure.Configf("querying %s: %s, want permission: is the token or header right?", c.address, said(resp))
	}
	if resp.StatusCode >= 500 {
		return fmt.Errorf("querying %s: %s, want 200", c.address, said(resp))
	}
	return failure.Configf("querying %s: %s, want 200: is this the address of Prometheus?", c.address, said(resp))
}

func said(resp *http.Response) string {
	return fmt.Sprintf("%d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
}

// retryAfter reads seconds or a date.
func retryAfter(resp *http.Response) time.Duration {
	text := resp.Header.Get("Retry-After")
	if n, err := strconv.Atoi(text); err == nil {
		return time.Duration(min(max(n, 0), 3600)) * time.Second
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	now, err := http.ParseTime(resp.Header.Get("Date")) // the server's own clock, not ours
	if err != nil {
		return 0
	}
	return max(at.Sub(now), 0)
}

// network classifies an error that came instead of an answer.
func (c *Client) network(ctx context.Context, err error) error {
	var op *url.Error
	if errors.As(err, &op) {
		err = op.Err // without method and address
	}
	var errno syscall.Errno
	var untrusted *tls.CertificateVerificationError
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("querying %s: %w", c.address, context.Cause(ctx))
	case errors.Is(err, failure.ErrConfig):
		return err
	case errors.Is(err, errBodyLimit):
		return failure.Configf("querying %s: an answer over %d MiB, want less: narrow the query", c.address,
			c.bodyLimit>>20)
	case errors.As(err, &untrusted):
		return failure.Configf("querying %s: %s, want a certificate that prometheus-ca-path, or the system, vouches "+
			"for", c.address, untrusted)
	case os.IsTimeout(err) || errors.Is(err, context.DeadlineExceeded):
		return &trouble{c.address, "timeout", ErrUnavailable, 0}
	case errors.As(err, &errno):
		return &trouble{c.address, errno.Error(), ErrUnavailable, 0}
	}
	return &trouble{c.address, err.Error(), ErrUnavailable, 0}
}
