package prometheus_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/model"

	"github.com/serin-cd/serin/internal/prometheustest"
	"github.com/serin-cd/serin/pkg/judge/prometheus"
	"github.com/serin-cd/serin/pkg/task/failure"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func TestQueryAsksRealPrometheus(t *testing.T) {
	url := prometheustest.Start(t,
		prometheustest.Steady(`istio_requests_total{destination_workload="my.app"}`, noon, noon.Add(time.Minute),
			15*time.Second, 10, 5),
		prometheustest.Steady(`istio_requests_total{destination_workload="myxapp"}`, noon, noon.Add(time.Minute),
			15*time.Second, 99, 5))
	client := newClient(t, prometheus.Config{URL: url + "/"})

	now, err := client.Now(t.Context())
	if err != nil || time.Since(now).Abs() > 5*time.Second {
		t.Errorf("time on its clock is %s, %v, want about now", now, err)
	}
	selector := prometheus.Select("istio_requests_total", prometheus.OneOf("destination_workload", "my.app", "none"))
	value, err := client.Query(t.Context(), selector, noon.Add(30*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	if vector, ok := value.(model.Vector); !ok || len(vector) != 1 || vector[0].Value != 20 {
		t.Errorf("%s is %v, want 20 of my.app alone", selector, value)
	}
	value, err = client.Query(t.Context(), selector+prometheus.Window(time.Minute), noon.Add(30*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	if matrix, ok := value.(model.Matrix); !ok || len(matrix) != 1 || len(matrix[0].Values) != 3 {
		t.Errorf("a window is %v, want 3 raw samples", value)
	}

	_, err = client.Query(t.Context(), "sum(", noon)
	if !errors.Is(err, failure.ErrConfig) || !strings.Contains(err.Error(), "parse error") {
		t.Errorf("bad PromQL: %v, want a wrong configuration in Prometheus's own words", err)
	}
	_, err = client.Limited(1).Query(t.Context(), "istio_requests_total", noon)
	if !errors.Is(err, failure.ErrConfig) || !strings.Contains(err.Error(),
		"more than 1 series, want at most series-limit 1") {
		t.Errorf("2 series: %v, want the limit", err)
	}
	_, err = client.Query(t.Context(), `istio_requests_total * on(job) group_left istio_requests_total`, noon)
	if failure.Code(err) != failure.ExitError || errors.Is(err, prometheus.ErrUnavailable) {
		t.Errorf("many-to-many matching: %v, want an error that is not worth another try", err)
	}
}

func TestQueryClassifiesAnswers(t *testing.T) {
	const scalar = `{"status":"success","data":{"resultType":"scalar","result":[1,"2"]}`
	cases := map[string]struct {
		status    int
		body      string
		code      int
		retryable bool
		text      string
	}{
		"answer": {200, scalar + `}`, 0, false, ""},
		"info":   {200, scalar + `,"infos":["may not be a counter"]}`, 0, false, ""},
		"empty":  {200, `{"status":"success","data":{"resultType":"vector","result":[]}}`, 0, false, ""},
		"warning": {200, scalar + `,"warnings":["store down"]}`, 1, true,
			"a partial answer (store down), want a whole answer"},
		"unknown type": {200, `{"status":"success","data":{"resultType":"tensor","result":[]}}`, 2, false,
			"want JSON"},
		"not JSON":          {200, `<html>login</html>`, 2, false, "want JSON"},
		"moved":             {302, ``, 2, false, "302 Found, want 200: is this the address of Prometheus?"},
		"bad request":       {400, refusal("bad_data", "parse error at char 5"), 2, false, ": parse error at char 5"},
		"unauthorized":      {401, ``, 2, false, "401 Unauthorized, want permission"},
		"forbidden":         {403, ``, 2, false, "403 Forbidden, want permission"},
		"not found":         {404, `404 page not found`, 2, false, "404 Not Found, want 200"},
		"request timeout":   {408, ``, 1, true, "408 Request Timeout"},
		"too many requests": {429, ``, 1, true, "429 Too Many Requests, want an answer: is Prometheus up?"},
		"timeout":           {422, refusal("timeout", "query timed out"), 1, true, "timeout: query timed out"},
		"canceled":          {422, refusal("canceled", "shutting down"), 1, true, "canceled: shutting down"},
		"too many samples": {422, refusal("execution", "query processing would load too many samples into memory"), 1,
			false, ": query processing would"},
		"internal":        {500, ``, 1, true, "500 Internal Server Error"},
		"not implemented": {501, ``, 1, false, "501 Not Implemented"},
		"bad gateway":     {502, `<html>`, 1, true, "502 Bad Gateway"},
		"unavailable":     {503, `Service Unavailable`, 1, true, "503 Service Unavailable"},
		"gateway timeout": {504, ``, 1, true, "504 Gateway Timeout"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			asked := 0
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked++
				w.Header().Set("Location", "/login?token=hidden")
				w.WriteHeader(c.status)
				_, _ = w.Write([]byte(c.body))
			}))
			defer server.Close()
			_, err := newClient(t, prometheus.Config{URL: server.URL}).Query(t.Context(), "up", noon)
			if code := failure.Code(err); code != c.code {
				t.Errorf("exit %d (%v), want %d", code, err, c.code)
			}
			retryable := errors.Is(err, prometheus.ErrUnavailable) || errors.Is(err, prometheus.ErrPartial)
			if retryable != c.retryable {
				t.Errorf("worth another try: %v (%v), want %v", retryable, err, c.retryable)
			}
			if err != nil && !strings.Contains(err.Error(), c.text) || err != nil &&
				strings.Contains(err.Error(), "hidden") {
				t.Errorf("error %q, want %q in it and no secret", err, c.text)
			}
			times := 1
			if c.status == http.StatusForbidden || c.status == http.StatusNotImplemented {
				times = 2 // by the other method
			}
			if asked != times {
				t.Errorf("asked %d times, want %d", asked, times)
			}
		})
	}
}

func refusal(kind, text string) string {
	return fmt.Sprintf(`{"status":"error","errorType":%q,"error":%q}`, kind, text)
}

func TestQuerySendsWhatItShould(t *testing.T) {
	token := filepath.Join(t.TempDir(), "token")
	writeFile(t, token, "first\n")
	var form, auth, tenant []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		form = append(form,
			r.Method+" "+r.URL.Path+" "+r.FormValue("query")+" "+r.FormValue("time")+" "+
				r.FormValue("timeout")+" "+r.FormValue("limit"))
		auth, tenant = append(auth, r.Header.Get("Authorization")), append(tenant, r.Header.Get("X-Scope-OrgID"))
		_, _ = w.Write([]byte(`{"status":"success","data":{"resultType":"vector","result":[]}}`))
	}))
	defer server.Close()
	client := newClient(t, prometheus.Config{URL: server.URL + "/prom", TokenPath: token,
		Headers: `{"x-scope-orgid": "shop"}`})
	if _, err := client.Query(t.Context(), "up", noon); err != nil {
		t.Fatal(err)
	}
	writeFile(t, token, "second")
	if _, err := client.Query(t.Context(), "up", time.Time{}); err != nil {
		t.Fatal(err)
	}
	want := []string{"POST /prom/api/v1/query up 1795435200 30s 5001", "POST /prom/api/v1/query up  30s 5001"}
	if diff := cmp.Diff(want, form); diff != "" {
		t.Error("requests (-want +got)\n", diff)
	}
	if diff := cmp.Diff([]string{"Bearer first", "Bearer second"}, auth); diff != "" {
		t.Error("the token is read anew (-want +got)\n", diff)
	}
	if diff := cmp.Diff([]string{"shop", "shop"}, tenant); diff != "" {
		t.Error("headers (-want +got)\n", diff)
	}
}

func TestQueryWithoutPrometheus(t *testing.T) {
	server := httptest.NewServer(nil)
	server.Close()
	_, err := newClient(t, prometheus.Config{URL: server.URL}).Query(t.Context(), "up", noon)
	want := "querying " + server.URL + ": connection refused, want an answer: is Prometheus up?"
	if err == nil || err.Error() != want || failure.Code(err) != failure.ExitError {
		t.Errorf("error %v, want %q and exit 1", err, want)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = newClient(t, prometheus.Config{URL: server.URL}).Query(ctx, "up", noon)
	if !errors.Is(err, context.Canceled) || errors.Is(err, prometheus.ErrUnavailable) {
		t.Errorf("ended context: %v, want that and no other try", err)
	}
}

func TestNewChecksItsConfiguration(t *testing.T) {
	dir := t.TempDir()
	junk := filepath.Join(dir, "junk")
	writeFile(t, junk, " \n")
	cases := map[string]struct {
		config prometheus.Config
		text   string
	}{
		"no scheme": {prometheus.Config{URL: "prometheus:9090"},
			`reading prometheus-url: "prometheus:9090", want http:// or https://`},
		"no host": {prometheus.Config{URL: "http://"}, `reading prometheus-url: "http:", want http:// or https://`},
		"user": {prometheus.Config{URL: "http://me:hidden@prometheus"},
			"reading prometheus-url: a user in the address, want none"},
		"unreadable": {prometheus.Config{URL: "http://hidden\x7f"}, "reading prometheus-url: not an address"},
		"query": {prometheus.Config{URL: "http://prometheus?token=hidden"},
			`"http://prometheus", want http:// or https:// with a host and no query`},
		"no token": {prometheus.Config{URL: "http://p", TokenPath: dir + "/none"},
			"no such file or directory, want a file or an empty token-path"},
		"empty token": {prometheus.Config{URL: "http://p", TokenPath: junk}, "holds no token"},
		"no CA":       {prometheus.Config{URL: "http://p", CAPath: dir + "/none"}, "reading prometheus CA: open"},
		"junk CA":     {prometheus.Config{URL: "http://p", CAPath: junk}, "holds no certificate, want PEM"},
		"headers": {prometheus.Config{URL: "http://p", Headers: `{"a": hidden}`},
			"reading prometheus-headers: not a JSON object of strings"},
		"header value": {prometheus.Config{URL: "http://p", Headers: `{"a": "hidden\n"}`}, `header "a" cannot be sent`},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := prometheus.New(c.config)
			if !errors.Is(err, failure.ErrConfig) || !strings.Contains(err.Error(), c.text) ||
				strings.Contains(err.Error(), "hidden") {
				t.Errorf("error %v, want %q as wrong configuration, without the secret", err, c.text)
			}
		})
	}
}

func newClient(t *testing.T, config prometheus.Config) *prometheus.Client {
	t.Helper()
	client, err := prometheus.New(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestMatchersOfEachQuery keeps the clusters of one Prometheus apart.
func TestMatchersOfEachQuery(t *testing.T) {
	series := func(cluster string, rate float64) prometheustest.Series {
		return prometheustest.Steady(`istio_requests_total{destination_workload="a{b",cluster="`+cluster+`"}`, noon,
			noon.Add(time.Minute), 15*time.Second, 10, rate)
	}
	url := prometheustest.Start(t, series("eu-1", 5), series("us-1", 7), series("dev-1", 9))
	sum := "sum(" + prometheus.Select(
		"istio_requests_total",
		prometheus.Equal("destination_workload", "a{b"),
	) + ") + sum(" +
		prometheus.Select(
			"istio_requests_total",
		) + ") # of {\n" +
		`+ (sum(istio_requests_total{destination_workload='{\'{'}) or sum({__name__=` + "`{\\`" + `}) or vector(0))`
	for matchers, want := range map[string]model.SampleValue{
		"":                                 4 * (10 + 10 + 10) / 4 * 2,
		`cluster="eu-1"`:                   20,
		` cluster =~ "eu.*|us-[0-9]+" , `:  40,
		`cluster!="eu-1",cluster!~"dev.*"`: 20,
		`cluster="x\"{y"`:                  -1,
	} {
		client := newClient(t, prometheus.Config{URL: url, Matchers: matchers})
		value, err := client.Query(t.Context(), sum, noon)
		if err != nil {
			t.Fatal(err)
		}
		got := model.SampleValue(-1)
		if vector := value.(model.Vector); len(vector) == 1 {
			got = vector[0].Value
		}
		if got != want {
			t.Errorf("with matchers %q: %v, want %v", matchers, got, want)
		}
	}
}

func TestMatchersThatAreWrong(t *testing.T) {
	for matchers, want := range map[string]string{
		"cluster":                 `"cluster", want label matchers of PromQL without braces`,
		`{cluster="eu-1"}`:        "without braces",
		`cluster="eu-1" env="a"`:  "want label matchers of PromQL",
		`a="b",,`:                 `",", want label matchers`,
		`cluster=eu-1`:            "want label matchers of PromQL",
		`cluster=~"("`:            "cluster: error parsing regexp",
		`cluster="\q"`:            "want a string with Go's escapes",
		`reporter="source"`:       "label reporter, want another: queries match it themselves",
		`env="a"} or vector(1) #`: "want label matchers of PromQL",
	} {
		_, err := prometheus.New(prometheus.Config{URL: "http://localhost", Matchers: matchers})
		if !errors.Is(err, failure.ErrConfig) || !strings.Contains(err.Error(), "reading prometheus-matchers: ") ||
			!strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", matchers, err, want)
		}
	}
}
