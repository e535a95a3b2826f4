package prometheus

import (
	"crypto/tls"
	"errors"
	"io"
	"net/http"
)

// bodyLimit is the longest answer that is read.
const bodyLimit = 128 << 20

var errBodyLimit = errors.New("answer too long")

// transport adds to each request what Config says, and stops reading answers that never end.
type transport struct {
	http.RoundTripper
	token   func() (string, error) // read anew each time: Kubernetes rotates tokens
	headers http.Header
	limit   int64
}

func newTransport(c Config, base http.RoundTripper) (*transport, error) {
	if _, err := c.token(); err != nil {
		return nil, err
	}
	headers, err := c.headers()
	if err != nil {
		return nil, err
	}
	return &transport{RoundTripper: base, token: c.token, headers: headers, limit: bodyLimit}, nil
}

// Transport trusts whom the configuration trusts, and sends nothing of it.
func (c Config) Transport() (*http.Transport, error) {
	authorities, err := c.authorities()
	if err != nil {
		return nil, err
	}
	base := http.DefaultTransport.(*http.Transport).Clone()
	base.TLSClientConfig = &tls.Config{RootCAs: authorities, MinVersion: tls.VersionTLS12}
	return base, nil
}

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	for name, values := range t.headers {
		r.Header[name] = values
	}
	if host := t.headers.Get("Host"); host != "" {
		r.Host = host
	}
	token, err := t.token()
	if err != nil {
		return nil, err
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := t.RoundTripper.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	resp.Body = &limited{ReadCloser: resp.Body, left: t.limit}
	return resp, nil
}

// limited fails, where io.LimitedReader pretends that the answer ended.
type limited struct {
	io.ReadCloser
	left int64
}

func (l *limited) Read(p []byte) (int, error) {
	n, err := l.ReadCloser.Read(p)
	if l.left -= int64(n); l.left < 0 {
		return 0, errBodyLimit
	}
	return n, err
}
