package judge

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/serin-cd/serin/pkg/judge/classic"
	"github.com/serin-cd/serin/pkg/judge/verdict"
	"github.com/serin-cd/serin/pkg/task/failure"
	"github.com/serin-cd/serin/pkg/task/parameter"
)

const (
	modeShadow      = "shadow"
	latencyRequired = "required"
	lowestMost      = 1e-12 // rate of errors that is allowed where none is: 0 allows any
)

// Target says what is judged.
type Target struct {
	// Namespace of the application.
	Namespace string `env:"NAMESPACE, required" json:"namespace"`
	// Workload that is judged: the Deployment that people change.
	Canary string `env:"CANARY, required" json:"canary"`
	// Workload that serves today.
	Primary string `env:"PRIMARY, required" json:"primary"`
	// Service in front of the canary alone. Empty is the canary's name with -canary.
	CanaryService string `env:"CANARY_SERVICE" json:"canaryService,omitempty"`
	// Service in front of the primary alone. Empty is the primary's name.
	PrimaryService string `env:"PRIMARY_SERVICE" json:"primaryService,omitempty"`
}

// Config says how it is judged.
type Config struct {
	// How the canary is judged: sequential compares it with its primary over the same seconds, classic checks it
	// against fixed bounds, as Flagger does.
	Judge string `env:"JUDGE, default=sequential"`
	// What a verdict does: enforce takes a bad canary back. shadow only reports the verdict and lets the release go
	// on: use it to try the judge out.
	Mode string `env:"MODE, default=enforce"`
	// Metrics and their bounds, as a JSON list such as [{"name": "request-success-rate", "interval": "1m", "min":
	// 99}]. Empty takes success-rate and request-duration. With the sequential judge they are limits: a canary fails
	// on one only while its primary keeps it.
	Metrics string `env:"METRICS"`
	// Least share of requests that do not fail with a 5xx, in percent. Used only if metrics is empty. Empty is 99 with
	// the classic judge and no limit with the sequential one, which fails a canary that is beyond it beyond doubt while
	// its primary is not.
	SuccessRate parameter.Rate `env:"SUCCESS_RATE"`
	// Longest 99th percentile of the request duration, in milliseconds. Used only if metrics is empty. Empty is 1000
	// with the classic judge and no limit with the sequential one, which counts requests slower than the first bound of
	// both histograms that is not below it.
	RequestDuration parameter.Milliseconds `env:"REQUEST_DURATION"`
	// Time from one check to the next, and how far a metric looks back unless it has an interval of its own. Shorten
	// it, to no less than two scrapes, to judge faster; a stage then sees fewer requests.
	Interval parameter.Duration `env:"INTERVAL, default=60s"`
	// Failed checks that end the run, counted over all its stages. Lower it to be stricter.
	Threshold parameter.Count `env:"THRESHOLD, default=1"`
	// Passed checks that a stage needs, with the classic judge. Raise it to hold each weight longer.
	Checks parameter.Count `env:"CHECKS, default=1"`
	// What a check without values counts as, with the classic judge: fail, or inconclusive, which counts as neither
	// passed nor failed. Use fail for Flagger's way.
	NoValues string `env:"NO_VALUES, default=fail"`
	// Variables for the queries in metrics, as a JSON object of strings.
	Variables string `env:"VARIABLES, default={}"`
	// How long the judge waits after an instant before it asks Prometheus about it, so that everything is scraped.
	// Raise it if samples reach Prometheus late, by remote write for instance.
	Settle parameter.Duration `env:"SETTLE, default=5s"`
	// How long a stage may last without a verdict; after that it is inconclusive. Empty is 900s if gate is prove with
	// the sequential judge, else 600s. Raise it for applications of little traffic.
	Deadline parameter.Span `env:"DEADLINE"`
	// Which proxy counts the requests: source, destination or waypoint, or auto for the one that sees the primary's
	// requests. Set it if auto finds the wrong one.
	Reporter string `env:"REPORTER, default=auto"`
	// How an inconclusive stage ends: stop exits 4, fail exits 3, pass exits 0 and lets the release go on.
	OnInconclusive string `env:"ON_INCONCLUSIVE, default=stop"`
	Sequential     Sequential
	// Most series that one answer of Prometheus may hold; with more the step exits 2. Raise it for applications with
	// very many pods or callers.
	SeriesLimit parameter.Count `env:"SERIES_LIMIT, default=5000"`
	// Weights and their times, as JSON. Empty reads them from the VirtualService.
	Rollout string `env:"ROLLOUT"`
	// RFC 3339 time as of which to judge once. Empty judges until there is a verdict.
	AsOf string `env:"AS_OF"`
	// File for the JSON report. Empty writes none.
	Report string `env:"REPORT"`
}

// validated checks the names, and fills in the Service.
func (t Target) validated() (Target, error) {
	if t.CanaryService == "" {
		t.CanaryService = t.Canary + "-canary"
	}
	if t.PrimaryService == "" {
		t.PrimaryService = t.Primary
	}
	if t.Canary == t.Primary {
		return t, failure.Configf("judging %s: canary and primary are both %q, want two names", t.Canary, t.Canary)
	}
	if len(validation.IsDNS1123Label(t.Namespace)) > 0 {
		return t, failure.Configf("judging %s: namespace %q, want a DNS name", t.Canary, t.Namespace)
	}
	for _, n := range []struct{ what, name string }{{"canary", t.Canary}, {"primary", t.Primary},
		{"canary-service", t.CanaryService}, {"primary-service", t.PrimaryService}} {
		if len(validation.IsDNS1123Subdomain(n.name)) > 0 {
			return t, failure.Configf("judging %s: %s %q, want a DNS name", t.Canary, n.what, n.name)
		}
	}
	return t, nil
}

func (c Config) validate() error {
	for _, p := range []struct {
		name, value string
		known       []string
	}{
		{"judge", c.Judge, []string{verdict.Sequential, verdict.Classic}},
		{"mode", c.Mode, []string{"enforce", modeShadow}},
		{"no-values", c.NoValues, []string{"fail", "inconclusive"}},
		{"reporter", c.Reporter, []string{"auto", "source", "destination", "waypoint"}},
		{"on-inconclusive", c.OnInconclusive, []string{"stop", "fail", "pass"}},
		{"gate", c.Sequential.Gate, []string{"prove", "time-box"}},
		{"split", c.Sequential.Split, []string{"auto", "service", "workload"}},
		{"weight-check", c.Sequential.WeightCheck, []string{"on", "off"}},
		{"latency", c.Sequential.Latency, []string{"auto", "off", latencyRequired}},
	} {
		if !slices.Contains(p.known, p.value) {
			last := len(p.known) - 1
			return failure.Configf("reading %s: %q, want %s or %s",
				p.name, p.value, strings.Join(p.known[:last], ", "), p.known[last])
		}
	}
	if c.Judge == verdict.Sequential {
		return c.Sequential.validate(c.deadline(), c.timeBox())
	}
	return nil
}

// deadline is how long a stage may go on.
func (c Config) deadline() time.Duration {
	switch {
	case c.Deadline > 0:
		return time.Duration(c.Deadline)
	case c.Judge == verdict.Sequential && c.Sequential.Gate == "prove":
		return 900 * time.Second
	}
	return 600 * time.Second
}

// asOf is the time of a replay, zero where there is none.
func (c Config) asOf() (time.Time, error) {
	if c.AsOf == "" {
		return time.Time{}, nil
	}
	at, err := time.Parse(time.RFC3339, c.AsOf)
	if err != nil {
		return at, failure.Configf("reading as-of: %q, want a time such as 2026-11-23T10:00:00Z", c.AsOf)
	}
	return at, nil
}

// evident takes the metrics out of a list that the sequential judge has evidence about: the highest rate of errors, and
// the milliseconds that one request in a hundred may exceed, each 0 for any.
func evident(list []classic.Metric) (rest []classic.Metric, most, longest float64) {
	for _, m := range list {
		switch {
		case m.Query == "" && m.Name == verdict.SuccessRate && m.Max == nil:
			// percent with decimals: a rate that is just allowed must not be beyond it by what binary fractions cost
			rate := max(math.Round((100-*m.Min)*1e10)/1e12, lowestMost)
			if most == 0 || rate < most {
				most = rate
			}
		case m.Query == "" && m.Name == verdict.RequestDuration && m.Min == nil:
			if longest == 0 || *m.Max < longest {
				longest = *m.Max
			}
		default:
			rest = append(rest, m)
		}
	}
	return rest, most, longest
}

// meter measures the metrics of the configuration.
func (c Config) meter(of classic.Subject) (classic.Meter, error) {
	m := classic.Meter{Subject: of, Reporter: c.Reporter, Split: c.Sequential.Split}
	list := c.named()
	if c.Metrics != "" {
		var err error
		if list, err = classic.Parse(c.Metrics); err != nil {
			return m, err
		}
	}
	var err error
	m.Metrics, err = classic.Fill(list, of, time.Duration(c.Interval), c.Variables)
	return m, err
}

// named are the metrics that have a parameter of their own.
func (c Config) named() []classic.Metric {
	least, longest := float64(c.SuccessRate), float64(c.RequestDuration)
	if c.Judge == verdict.Classic {
		least, longest = cmp.Or(least, 99), cmp.Or(longest, 1000)
	}
	var list []classic.Metric
	if least > 0 {
		list = append(list, classic.Metric{Name: verdict.SuccessRate, Min: &least})
	}
	if longest > 0 {
		list = append(list, classic.Metric{Name: verdict.RequestDuration, Max: &longest})
	}
	return list
}
