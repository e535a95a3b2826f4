package counting

import (
	"math"
	"regexp"
	"strconv"
	"strings"

	"github.com/prometheus/common/model"

	"github.com/serin-cd/serin/pkg/judge/prometheus"
)

// The metrics that are counted.
const (
	Requests  = "istio_requests_total"
	Durations = "istio_request_duration_milliseconds_bucket"
)

// Reporter is the proxy that counts a request. Inside the mesh both do, so they are never added up.
type Reporter string

// The reporters.
const (
	Source      Reporter = "source"      // the caller's: sees what callers got, failed connections included
	Destination Reporter = "destination" // the pod's own: sees only what reached a pod
	Waypoint    Reporter = "waypoint"    // the one between them, in ambient mode
)

// Together says whether one proxy counts both arms, in the same instant.
func (r Reporter) Together() bool { return r != Destination }

// Split is the label that tells the arms from each other.
type Split string

// The splits.
const (
	ByService  Split = "service"
	ByWorkload Split = "workload" // a request that reached no pod has workload "unknown", and is lost
)

// SplitOf is how the arms are told from each other unless somebody knows better.
func SplitOf(r Reporter) Split {
	if r == Destination {
		return ByWorkload
	}
	return ByService
}

// Selection is the series of both arms, as one reporter counts them.
type Selection struct {
	Reporter  Reporter
	Split     Split
	Namespace string
	Canary    string // Service or workload
	Primary   string
}

func (s Selection) label() model.LabelName { return model.LabelName("destination_" + s.named()) }

func (s Selection) named() string {
	if s.Split == ByService {
		return "service_name"
	}
	return "workload"
}

func (s Selection) of(metric string, arms []string, more ...string) string {
	namespace := "destination_" + string(s.Split) + "_namespace"
	return prometheus.Select(metric, append([]string{
		prometheus.Equal("reporter", string(s.Reporter)), prometheus.Equal(namespace, s.Namespace),
		prometheus.OneOf(string(s.label()), arms...)}, more...)...)
}

// Requests selects the requests of both arms: one query, so one evaluation.
func (s Selection) Requests() string { return s.of(Requests, []string{s.Canary, s.Primary}) }

// Durations selects the buckets of both arms that end at these bounds, in milliseconds.
func (s Selection) Durations(bounds []float64) string {
	var all []string
	for _, le := range bounds {
		all = append(all, spellings(le))
	}
	all = append(all, regexp.QuoteMeta("+Inf"))
	return s.of(Durations, []string{s.Canary, s.Primary}, prometheus.Anchored("le", strings.Join(all, "|")))
}

// AllDurations selects all buckets of both arms.
func (s Selection) AllDurations() string { return s.of(Durations, []string{s.Canary, s.Primary}) }

// PrimaryDurations selects all buckets of the primary.
func (s Selection) PrimaryDurations() string { return s.of(Durations, []string{s.Primary}) }

// spellings are the ways to write a bound: Prometheus 3 rewrites 500 to 500.0 and 1000000 to 1e+06.
func spellings(le float64) string {
	plain := regexp.QuoteMeta(strconv.FormatFloat(le, 'f', -1, 64))
	if le == math.Trunc(le) {
		plain += `(\.0+)?`
	}
	if short := strconv.FormatFloat(le, 'g', -1, 64); strings.Contains(short, "e") {
		plain += "|" + regexp.QuoteMeta(short)
	}
	return plain
}

// arm is which of both a series belongs to.
type arm int

const (
	neither arm = iota
	canary
	primary
)

func (s Selection) arm(m model.Metric) arm {
	switch string(m[s.label()]) {
	case s.Canary:
		return canary
	case s.Primary:
		return primary
	}
	return neither
}

func (s Selection) nameOf(a arm) string {
	if a == canary {
		return s.Canary
	}
	return s.Primary
}

// bound reads the label le, however it is written.
func bound(text string) (float64, bool) {
	le, err := strconv.ParseFloat(text, 64)
	return le, err == nil && !math.IsNaN(le)
}

func spelled(le float64) string {
	if math.IsInf(le, 1) {
		return "+Inf"
	}
	return strconv.FormatFloat(le, 'f', -1, 64)
}

// grpcFailures are the gRPC statuses that are the server's fault: UNKNOWN, DEADLINE_EXCEEDED, INTERNAL,
// UNAVAILABLE and DATA_LOSS.
var grpcFailures = map[model.LabelValue]bool{"2": true, "4": true, "13": true, "14": true, "15": true}

// Bad says which requests are bad: those whose code matches, and gRPC's failures, whose code is 200.
func Bad(codes *regexp.Regexp) func(model.Metric) bool {
	return func(m model.Metric) bool {
		return codes.MatchString(string(m["response_code"])) ||
			m["response_code"] == "200" && grpcFailures[m["grpc_response_status"]]
	}
}

// Codes compiles the regular expression that codes of bad requests match as a whole.
func Codes(text string) (*regexp.Regexp, error) { return regexp.Compile("^(?:" + text + ")$") }
