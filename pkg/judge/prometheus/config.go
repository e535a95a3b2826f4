package prometheus

import (
	"crypto/x509"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/serin-cd/serin/pkg/task/failure"
)

// Config says which Prometheus is asked, and as whom.
type Config struct {
	// Address of Prometheus, with http:// or https:// and without a user or a query. Change it if yours is elsewhere.
	URL string `env:"PROMETHEUS_URL, default=http://prometheus.istio-system:9090"`
	// File with the bearer token for Prometheus, such as /workspace/prometheus/token. Empty sends no token.
	TokenPath string `env:"PROMETHEUS_TOKEN_PATH"`
	// File with the PEM certificates that must have signed Prometheus's, such as /workspace/prometheus/ca.crt. Empty
	// trusts the system's.
	CAPath string `env:"PROMETHEUS_CA_PATH"`
	// Headers of each query, as a JSON object such as {"X-Scope-OrgID": "shop"}. Empty sends none. Needed for tenants.
	Headers string `env:"PROMETHEUS_HEADERS"`
	// Label matchers of PromQL that each query gets besides its own, such as cluster="eu-1",env!="dev". Empty adds
	// none. Set it if one Prometheus, Thanos or Mimir has the series of several clusters: their applications of the
	// same name and namespace would be counted together. A query of yours gets it in each pair of braces: write up{}
	// for up.
	Matchers string `env:"PROMETHEUS_MATCHERS"`
}

// secret are headers that no parameter may hold.
var secret = []string{"Authorization", "Proxy-Authorization", "Cookie"}

var headerName = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// sendable says whether a text fits into a header.
func sendable(text string) bool { return !strings.ContainsFunc(text, unicode.IsControl) }

// address is the URL without a slash at its end, which must hold no secret: texts show it.
func (c Config) address() (string, error) {
	u, err := url.Parse(c.URL)
	switch {
	case err == nil && u.User != nil:
		return "",
			failure.Configf("reading prometheus-url: a user in the address, want none: use prometheus-token-path")
	case err != nil:
		return "", failure.Configf("reading prometheus-url: not an address, want http:// or https://")
	case u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.RawQuery != "" || u.Fragment != "":
		u.RawQuery, u.Fragment = "", ""
		return "", failure.Configf("reading prometheus-url: %q, want http:// or https:// with a host and no query", u)
	}
	return strings.TrimRight(u.String(), "/"), nil
}

func (c Config) token() (string, error) {
	if c.TokenPath == "" {
		return "", nil
	}
	text, err := os.ReadFile(c.TokenPath)
	if err != nil {
		return "", failure.Configf("reading prometheus token: %w, want a file or an empty token-path", err)
	}
	token := strings.TrimSpace(string(text))
	if token == "" || !sendable(token) {
		return "", failure.Configf("reading prometheus token: %s holds no token, want one line", c.TokenPath)
	}
	return token, nil
}

func (c Config) authorities() (*x509.CertPool, error) {
	if c.CAPath == "" {
		return nil, nil
	}
	text, err := os.ReadFile(c.CAPath)
	if err != nil {
		return nil, failure.Configf("reading prometheus CA: %w, want a file or an empty ca-path", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, failure.Configf("reading prometheus CA: %s holds no certificate, want PEM", c.CAPath)
	}
	return pool, nil
}

// headers never repeats what it reads: header values are secrets.
func (c Config) headers() (http.Header, error) {
	if c.Headers == "" {
		return nil, nil
	}
	var pairs map[string]string
	if err := json.Unmarshal([]byte(c.Headers), &pairs); err != nil {
		return nil, failure.Configf(
			`reading prometheus-headers: not a JSON object of strings, want one such as {"X-Scope-OrgID": "shop"}`)
	}
	headers := http.Header{}
	for name, value := range pairs {
		if !headerName.MatchString(name) || !sendable(value) {
			return nil, failure.Configf("reading prometheus-headers: header %q cannot be sent, "+
				"want a name and a value without line breaks", name)
		}
		if slices.Contains(secret, http.CanonicalHeaderKey(name)) {
			return nil, failure.Configf("reading prometheus-headers: header %s is a secret, and who reads a "+
				"PipelineRun reads its parameters: want it from a Secret, as the file prometheus-token-path", name)
		}
		headers.Set(name, value)
	}
	return headers, nil
}
