package judge_test

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/serin-cd/serin/pkg/judge/prometheus"
	"github.com/serin-cd/serin/pkg/judge/verdict"
	"github.com/serin-cd/serin/pkg/task/failure"
	"github.com/serin-cd/serin/pkg/task/run"
)

// stream is a series as Istio's proxies write it, scraped every 15 s.
type stream struct {
	labels map[string]string
	offset float64 // of its scrapes, in seconds
	from   float64 // after noon
	rate   float64 // in a second
	native bool
}

// answer is a stream as Prometheus's HTTP API writes it, up to a time.
func (s stream) answer(upTo, window float64) map[string]any {
	var values [][2]any
	total := 0.0
	for at := -1200 + s.offset; at <= upTo; at += 15 {
		if at < s.from {
			continue
		}
		total += 15 * s.rate
		if at >= upTo-window {
			values = append(values, [2]any{float64(noon.Unix()) + at, fmt.Sprint(total)})
		}
	}
	if len(values) == 0 {
		return nil
	}
	if s.native {
		histogram := map[string]any{"count": "30", "sum": "12", "buckets": [][]any{{0, "0.5", "1", "30"}}}
		return map[string]any{"metric": s.labels, "histograms": [][2]any{{values[0][0], histogram}}}
	}
	return map[string]any{"metric": s.labels, "values": values}
}

// labels are those of Istio 1.2x, of a gateway that calls and of a sidecar that is called.
func labels(reporter, metric, arm, code string, more ...string) map[string]string {
	service := map[string]string{"reviews": "reviews-canary", "reviews-primary": "reviews-primary"}[arm]
	l := map[string]string{
		"__name__": metric, "reporter": reporter, "response_code": code, "response_flags": "-",
		"request_protocol": "http",
		"destination_app":  "reviews", "destination_canonical_revision": "latest",
		"destination_canonical_service": "reviews",
		"destination_cluster":           "Kubernetes",
		"destination_principal":         "spiffe://cluster.local/ns/shop/sa/default",
		"destination_service":           service + ".shop.svc.cluster.local",
		"destination_service_name":      service, "destination_service_namespace": "shop",
		"destination_version":  "unknown",
		"destination_workload": arm, "destination_workload_namespace": "shop",
		"source_app": "istio-ingressgateway", "source_canonical_service": "istio-ingressgateway",
		"source_cluster":   "Kubernetes",
		"source_principal": "spiffe://cluster.local/ns/istio-system/sa/istio-ingressgateway-service-account",
		"source_version":   "unknown",
		"source_workload":  "istio-ingressgateway", "source_workload_namespace": "istio-system",
		"connection_security_policy": "unknown", "instance": "10.244.0.7:15020", "job": "kubernetes-pods",
		"namespace": "istio-system", "pod": "istio-ingressgateway-7d8f9c5b4-x2x8v",
	}
	switch reporter {
	case "destination":
		l["connection_security_policy"], l["instance"], l["namespace"], l["pod"] = "mutual_tls", "10.244.0.9:15020",
			"shop",
			arm+"-5d6b8f7c9-abcde"
	case "waypoint":
		l["connection_security_policy"], l["instance"], l["namespace"], l["pod"] = "mutual_tls", "10.244.0.11:15020",
			"shop",
			"waypoint-6c8d9f-qwert"
	}
	for i := 0; i+1 < len(more); i += 2 {
		l[more[i]] = more[i+1]
	}
	return l
}

const (
	requestsTotal = "istio_requests_total"
	durations     = "istio_request_duration_milliseconds_bucket"
)

// pair are both arms as one reporter counts them: 10 requests a second to the canary, 40 to the primary.
func pair(reporter string, more ...string) []stream {
	late := map[string]float64{"source": 4, "destination": 9, "waypoint": 4}[reporter]
	return []stream{
		{labels: labels(reporter, requestsTotal, "reviews", "200", more...), offset: late, from: 0, rate: 10},
		{labels: labels(reporter, requestsTotal, "reviews-primary", "200", more...), offset: late, from: -1200,
			rate: 40},
	}
}

// buckets are histograms of both arms whose requests all take between 100 and 500 ms.
func buckets(spell func(string) string) (all []stream) {
	for _, le := range []string{"100", "500", "1000", "+Inf"} {
		rate := 1.0
		if le == "100" {
			rate = 0
		}
		for arm, n := range map[string]float64{"reviews": 10, "reviews-primary": 40} {
			s := stream{labels: labels("source", durations, arm, "200", "le", spell(le)), offset: 4, from: -1200,
				rate: rate * n}
			if arm == "reviews" {
				s.from = 0
			}
			all = append(all, s)
		}
	}
	return all
}

// laidOut are histograms with bounds of their own; all requests of the primary take 300 ms, those of the canary 900.
func laidOut(bounds map[string][]string) (all []stream) {
	for arm, les := range bounds {
		from, rate, takes := -1200.0, 40.0, 300.0
		if arm == "reviews" {
			from, rate, takes = 0, 10, 900
		}
		for _, le := range append(les, "+Inf") {
			s := stream{labels: labels("source", durations, arm, "200", "le", le), offset: 4, from: from, rate: rate}
			if most, err := strconv.ParseFloat(le, 64); err == nil && most < takes {
				s.rate = 0
			}
			all = append(all, s)
		}
	}
	return all
}

// otherPod counts the same as another one.
func otherPod(streams []stream) []stream {
	for _, s := range streams {
		s.labels["pod"] += "-2"
	}
	return streams
}

func onlyPrimary(streams []stream) []stream {
	return slices.DeleteFunc(streams, func(s stream) bool { return s.labels["destination_workload"] == "reviews" })
}

// lacking leaves out a bucket of the canary.
func lacking(streams []stream, le string) []stream {
	return slices.DeleteFunc(streams, func(s stream) bool {
		return s.labels["destination_workload"] == "reviews" && s.labels["le"] == le
	})
}

func plain(le string) string { return le }

func floating(le string) string {
	return strings.ReplaceAll(strings.ReplaceAll(le+".0", "+Inf.0", "+Inf"), "1000.0", "1e+03")
}

// replayed answers as Prometheus does that holds these streams.
func replayed(t *testing.T, streams []stream, warnings ...string) *prometheus.Client {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query, at := r.FormValue("query"), 0.0
		if _, err := fmt.Sscan(r.FormValue("time"), &at); err != nil {
			t.Errorf("time %q of %s", r.FormValue("time"), query)
		}
		var window float64
		if _, err := fmt.Sscanf(query[strings.LastIndex(query, "["):], "[%fs]", &window); err != nil {
			t.Errorf("no window in %s", query)
		}
		result := []any{}
		for _, s := range streams {
			if !s.matches(query) {
				continue
			}
			if a := s.answer(at-float64(noon.Unix()), window); a != nil {
				result = append(result, a)
			}
		}
		answer := map[string]any{"status": "success", "data": map[string]any{"resultType": "matrix", "result": result}}
		if len(warnings) > 0 {
			answer["warnings"] = warnings
		}
		if err := json.NewEncoder(w).Encode(answer); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(server.Close)
	client, err := prometheus.New(prometheus.Config{URL: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// matches knows the two ways to select arms, and leaves le to the judge.
func (s stream) matches(query string) bool {
	l := s.labels
	if !strings.HasPrefix(query, l["__name__"]+"{") || !strings.Contains(query,
		fmt.Sprintf("reporter=%q", l["reporter"])) {
		return false
	}
	if strings.Contains(query, "destination_service_name=~") {
		return strings.Contains(query, l["destination_service_name"])
	}
	return strings.Contains(query, fmt.Sprintf("workload=~\"%s|", l["destination_workload"])) ||
		strings.Contains(query, "|"+l["destination_workload"]+"\"") ||
		strings.Contains(query, fmt.Sprintf("workload=~%q", l["destination_workload"]))
}

func TestShapesOfIstio(t *testing.T) {
	lost := []stream{{labels: labels("source", requestsTotal, "reviews", "503", "destination_workload", "unknown",
		"destination_workload_namespace", "unknown",
		"destination_app", "unknown", "destination_principal", "unknown", "response_flags", "UH"), offset: 4,
		from: 0, rate: 10},
		pair("source")[1], pair("destination")[1]}
	native := append(pair("source"), stream{labels: labels("source", durations, "reviews-primary", "200"), offset: 4,
		from: -1200, rate: 1, native: true})
	cases := map[string]struct {
		streams  []stream
		more     map[string]string
		reason   string
		reporter string
		bounds   int
		warning  string
	}{
		"both reporters": {append(pair("source"), pair("destination")...), nil,
			"undecided: canary 0/600 (0.00 %) against primary 0/2400 (0.00 %) in 70s", "source", 0,
			"latency-not-judged: 0 requests"},
		"called only": {pair("destination"), nil, "undecided: canary 0/600 (0.00 %) against primary 0/2400",
			"destination", 0, ""},
		"waypoint": {append(pair("waypoint"), pair("destination")...), map[string]string{"REPORTER": "waypoint"},
			"undecided: canary 0/600 (0.00 %) against primary 0/2400", "waypoint", 0, ""},
		"waypoint unnamed": {append(pair("waypoint"), pair("destination")...), nil,
			"undecided: canary 0/600 (0.00 %) against primary 0/2400", "destination", 0, ""},
		"no pod": {lost, nil,
			"hard-failure: canary 150/150 (100.00 %) against primary 0/600 (0.00 %) in the 15s up to 12:00:04Z",
			"source", 0, ""},
		"replicas": {append(pair("source", "prometheus_replica", "prometheus-0"),
			pair("source", "prometheus_replica", "prometheus-1")...), nil,
			"undecided: canary 0/600 (0.00 %) against primary 0/2400", "source", 0, "duplicate-series: "},
		"other replicas": {append(pair("source", "region", "a"), pair("source", "region", "b")...),
			map[string]string{"REPLICA_LABELS": "region"}, "undecided: canary 0/600 (0.00 %) against primary 0/2400",
			"source",
			0, "duplicate-series: "},
		"histograms": {append(pair("source"), buckets(plain)...), nil, "undecided: canary 0/600", "source", 1, ""},
		"Prometheus 3": {append(pair("source"), buckets(floating)...), map[string]string{"LATENCY_OBJECTIVE": "700"},
			"undecided: canary 0/600", "source", 2, ""},
		"canary without": {append(pair("source"), onlyPrimary(buckets(plain))...), nil, "undecided: canary 0/600",
			"source", 0, "latency-not-judged: the canary's proxies have no such histogram"},
		"other buckets": {append(pair("source"), lacking(buckets(plain), "500")...),
			map[string]string{"LATENCY_OBJECTIVE": "700"}, "undecided: canary 0/600", "source", 1,
			"latency-bound-dropped: some pods have no bucket up to 500 ms"},
		"nothing in common": {append(pair("source"), laidOut(map[string][]string{
			"reviews": {"10", "50", "250", "1000"}, "reviews-primary": {"5", "25", "100", "500"}})...),
			map[string]string{"DEADLINE": "70s", "TIME_BOX": "60s", "MIN_DWELL": "60s"},
			"latency-not-comparable: the histograms of canary and primary have no bound in common", "source", 0,
			"latency-bound-dropped: some pods have no bucket up to 500 ms"},
		"primaries with nothing in common": {slices.Concat(pair("source"), laidOut(map[string][]string{
			"reviews": {"5", "25", "100", "500"}, "reviews-primary": {"5", "25", "100", "500"}}),
			otherPod(laidOut(map[string][]string{"reviews-primary": {"10", "50", "250", "1000"}}))),
			map[string]string{"DEADLINE": "70s", "TIME_BOX": "60s", "MIN_DWELL": "60s"},
			"latency-not-comparable: the histograms of canary and primary have no bound in common", "source", 0, ""},
		"one in common": {append(pair("source"), laidOut(map[string][]string{
			"reviews": {"10", "50", "250", "1000"}, "reviews-primary": {"5", "25", "100", "500", "1000"}})...), nil,
			"undecided: canary 0/600", "source", 1, "latency-bound-dropped: some pods have no bucket up to 500 ms"},
		"native": {native, nil, "undecided: canary 0/600", "source", 0,
			"latency-not-judged: native histograms have no buckets of their own"},
		"gRPC": {append(pair("source"), stream{labels: labels("source", requestsTotal, "reviews", "200",
			"request_protocol", "grpc", "grpc_response_status", "14"), offset: 4, rate: 1}), nil,
			"worse: canary 60/660 (9.09 %) against primary 0/2400", "source", 0, ""},
		"other codes": {append(pair("source"), stream{labels: labels("source", requestsTotal, "reviews", "429"),
			offset: 4, rate: 1}), map[string]string{"ERROR_CODES": "429|5.."}, "worse: canary 60/660", "source", 0, ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			c.more = maps.Clone(c.more)
			if c.more == nil {
				c.more = map[string]string{}
			}
			c.more["JUDGE"], c.more["AS_OF"] = "sequential", "2026-11-23T12:01:10Z"
			c.more["MIN_DWELL"] = cmp.Or(c.more["MIN_DWELL"], "2m")
			v, err := ofReviews(t, replayed(t, c.streams), c.more)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(v.Reason(), c.reason) || v.Target.Reporter != c.reporter ||
				len(v.Metrics)-1 != c.bounds {
				t.Errorf("%q, reporter %s, %d bounds, want %q, %s, %d", v.Reason(), v.Target.Reporter, len(v.Metrics)-1,
					c.reason,
					c.reporter, c.bounds)
			}
			if all := strings.Join(v.Warnings, "\n"); !strings.Contains(all, c.warning) {
				t.Errorf("warnings %q, want %q", all, c.warning)
			}
			for _, b := range v.Metrics[1:] {
				if math.Abs(b.Canary.Requests) > 0 && *b.LeMs < 500 || b.Canary.Bad > 0 {
					t.Errorf("bound %v: %+v", *b.LeMs, b.Canary)
				}
			}
		})
	}
}

// Without a history, the first cells decide which proxies are believed. Those that call are scraped, and their first
// cell closes, while that of the others, of which there are none, still waits for a late sample.
func TestNoHistory(t *testing.T) {
	young := func(all []stream) (streams []stream) {
		for _, s := range all {
			s.from = 0
			streams = append(streams, s)
		}
		return streams
	}
	both := append(pair("source"), pair("destination")...)
	for name, c := range map[string]struct {
		streams          []stream
		at               string
		reason, reporter string
	}{
		"first cell of one":  {pair("source"), "12:00:19Z", "undecided: canary 0/150", ""},
		"first cell of none": {pair("source"), "12:00:15Z", "undecided: canary 0/0", ""},
		"callers": {pair("source"), "12:01:10Z", "undecided: canary 0/600 (0.00 %) against primary 0/1800",
			"source"},
		"called": {pair("destination"), "12:01:10Z", "undecided: canary 0/600", "destination"},
		"both":   {both, "12:01:10Z", "undecided: canary 0/600", "source"},
	} {
		t.Run(name, func(t *testing.T) {
			v, err := ofReviews(t, replayed(t, young(c.streams)), map[string]string{"JUDGE": "sequential",
				"AS_OF": "2026-11-23T" + c.at, "MIN_DWELL": "2m"})
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(v.Reason(), c.reason) || v.Target.Reporter != c.reporter {
				t.Errorf("%q, reporter %q, want %q, %q", v.Reason(), v.Target.Reporter, c.reason, c.reporter)
			}
		})
	}
}

// TestLimitOfDurations has requests of the canary that take 900 ms, and of the primary that take 300.
func TestLimitOfDurations(t *testing.T) {
	same := laidOut(map[string][]string{"reviews": {"500", "1000"}, "reviews-primary": {"500", "1000"}})
	cases := map[string]struct {
		latency, longest string
		reason, warning  string
	}{
		"beside latency":  {"auto", "400", "slower: ", ""},
		"without latency": {"off", "400", "limit: 600/600 (100.00 %) of the canary took over 500 ms", ""},
		"both within":     {"off", "1000", "healthy: ", ""},
		"no such bound": {"off", "1001", "healthy: ",
			"limit-not-judged: request-duration 1001 ms: the histograms of both have no bound that long"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			v, err := ofReviews(t, replayed(t, append(pair("source"), same...)), map[string]string{
				"JUDGE": "sequential", "AS_OF": "2026-11-23T12:02:10Z", "LATENCY": c.latency,
				"REQUEST_DURATION": c.longest})
			if err != nil {
				t.Fatal(err)
			}
			all := strings.Join(v.Warnings, "\n")
			if !strings.HasPrefix(v.Reason(), c.reason) || !strings.Contains(all, c.warning) ||
				c.warning == "" && strings.Contains(all, "limit-not-judged") {
				t.Errorf("%q, warnings %q, want %q and %q", v.Reason(), all, c.reason, c.warning)
			}
		})
	}
}

func TestPartialAnswersAreNotJudged(t *testing.T) {
	_, err := ofReviews(t, replayed(t, pair("source"), "store shop-eu is down"),
		map[string]string{"JUDGE": "sequential"})
	if !errors.Is(err, prometheus.ErrPartial) || failure.Code(err) != failure.ExitError {
		t.Errorf("error %v, want one that another try may mend", err)
	}
}

func TestLatencyIsRequired(t *testing.T) {
	_, err := ofReviews(t, replayed(t, pair("source")), map[string]string{"JUDGE": "sequential", "LATENCY": "required"})
	want := "judging reviews: latency cannot be judged: 0 requests of the primary in " +
		"istio_request_duration_milliseconds_bucket before the start, want 100, want latency auto or a longer history"
	if err == nil || err.Error() != want || failure.Code(err) != failure.ExitError {
		t.Errorf("error %v, want %q", err, want)
	}
}

func ofReviews(t *testing.T, client *prometheus.Client, parameters map[string]string) (verdict.Verdict, error) {
	t.Helper()
	q := &past{client, noon.Add(time.Hour)}
	j := newJudge(t, "reviews", parameters, "shop")
	return j.Judge(t.Context(), q, clock{q}, []run.Stage{{Weight: 20, At: noon}}, nil)
}
