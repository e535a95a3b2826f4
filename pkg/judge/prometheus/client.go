package prometheus

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"math"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/api"
	prom "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"

	"github.com/serin-cd/serin/pkg/task/failure"
)

const (
	queryTimeout = 30 * time.Second
	// askTimeout leaves Prometheus time to say itself that it has run out of it.
	askTimeout = queryTimeout + 5*time.Second
	// seriesLimit is how many series an answer may hold, unless Limited says otherwise.
	seriesLimit = 5000
)

// querier is the one call of client_golang that is made.
type querier interface {
	Query(context.Context, string, time.Time, ...prom.Option) (model.Value, prom.Warnings, prom.Infos, error)
}

// Client asks one Prometheus; each call asks exactly once. See Retrying for more patience.
type Client struct {
	address   string
	query     querier
	matchers  string // of each query, besides its own
	series    int
	bodyLimit int64
}

// New checks a configuration. It does not ask anything yet.
func New(config Config) (*Client, error) {
	base, err := config.Transport()
	if err != nil {
		return nil, err
	}
	return Over(config, base)
}

// Over is New for a Prometheus that is reached in another way than by its address, which texts go on to show.
func Over(config Config, base http.RoundTripper) (*Client, error) {
	address, err := config.address()
	if err != nil {
		return nil, err
	}
	matchers, err := config.matchers()
	if err != nil {
		return nil, err
	}
	t, err := newTransport(config, base)
	if err != nil {
		return nil, err
	}
	c := &Client{address: address, matchers: matchers, series: seriesLimit, bodyLimit: t.limit}
	inner, err := api.NewClient(api.Config{Address: address, Client: &http.Client{
		Transport: t,
		Timeout:   askTimeout,
		// A redirect leads to a login page, and would take the token along.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}})
	if err != nil {
		return nil, failure.Configf("reading prometheus-url: %w", err)
	}
	c.query = prom.NewAPI(classifying{inner, c})
	return c, nil
}

// Limited is the client with another limit of series in an answer.
func (c *Client) Limited(series int) *Client {
	other := *c
	other.series = series
	return &other
}

// Now is the time on Prometheus's clock.
func (c *Client) Now(ctx context.Context) (time.Time, error) {
	value, err := c.Query(ctx, "time()", time.Time{})
	if err != nil {
		return time.Time{}, err
	}
	scalar, ok := value.(*model.Scalar)
	if !ok || math.IsNaN(float64(scalar.Value)) || math.IsInf(float64(scalar.Value), 0) {
		return time.Time{}, failure.Configf("querying %s: time() is %s, want a scalar: is this Prometheus?",
			c.address, value.Type())
	}
	return time.UnixMilli(int64(math.Round(float64(scalar.Value) * 1000))).UTC(), nil
}

// Query evaluates an expression at an instant; a zero instant leaves the time to Prometheus.
func (c *Client) Query(ctx context.Context, promql string, at time.Time) (model.Value, error) {
	promql = restricted(promql, c.matchers)
	value, warnings, infos, err := c.query.Query(ctx, promql, at,
		prom.WithTimeout(queryTimeout), prom.WithLimit(uint64(c.series)+1))
	if err != nil {
		return nil, c.answered(err)
	}
	if n := size(value); n > c.series {
		return nil, failure.Configf("querying %s: more than %d series, want at most series-limit %d: "+
			"narrow the query or raise the limit",
			c.address, c.series, c.series)
	}
	if len(warnings) > 0 {
		return nil, &trouble{c.address, "a partial answer (" + strings.Join(warnings, "; ") + ")", ErrPartial, 0}
	}
	if len(infos) > 0 {
		slog.InfoContext(ctx, "prometheus remarks on a query", "query", promql, "infos", strings.Join(infos, "; "))
	}
	return value, nil
}

// answered words what client_golang makes of an answer with status 200.
func (c *Client) answered(err error) error {
	var answer *prom.Error
	if !errors.As(err, &answer) {
		return err
	}
	return failure.Configf("querying %s: %s, want JSON as Prometheus's query API gives it: is this its address?",
		c.address, answer.Msg)
}

func size(value model.Value) int {
	switch v := value.(type) {
	case model.Vector:
		return len(v)
	case model.Matrix:
		return len(v)
	}
	return 1
}

// classifying turns refusals into errors of our kinds, before client_golang blurs them or asks again by GET.
type classifying struct {
	api.Client
	client *Client
}

// Do implements api.Client.
func (c classifying) Do(ctx context.Context, req *http.Request) (*http.Response, []byte, error) {
	resp, body, err := c.Client.Do(ctx, req)
	if err != nil {
		return nil, nil, c.client.network(ctx, err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp, body, nil
	}
	if get := asGet(ctx, req, resp); get != nil {
		return c.Do(ctx, get)
	}
	var refusal struct {
		ErrorType prom.ErrorType `json:"errorType"`
		Error     string         `json:"error"`
	}
	if json.Unmarshal(body, &refusal) != nil || refusal.Error == "" {
		refusal.Error = said(resp)
	}
	return nil, nil, c.client.status(resp, refusal.ErrorType, refusal.Error)
}

// asGet is a query that was refused for its method, as a proxy of Prometheus's may that lets people only read, with the
// other method; nil where that was not the reason.
func asGet(ctx context.Context, req *http.Request, resp *http.Response) *http.Request {
	switch resp.StatusCode {
	case http.StatusForbidden, http.StatusMethodNotAllowed, http.StatusNotImplemented:
	default:
		return nil
	}
	if req.Method != http.MethodPost || req.GetBody == nil {
		return nil
	}
	body, err := req.GetBody()
	if err != nil {
		return nil
	}
	form, err := io.ReadAll(body)
	if err != nil {
		return nil
	}
	to := *req.URL
	to.RawQuery = string(form)
	get, err := http.NewRequestWithContext(ctx, http.MethodGet, to.String(), nil)
	if err != nil {
		return nil
	}
	return get
}
