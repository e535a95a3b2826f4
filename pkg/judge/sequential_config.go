package judge

import (
	"slices"
	"time"

	"github.com/serin-cd/serin/pkg/judge/counting"
	"github.com/serin-cd/serin/pkg/judge/sequential"
	"github.com/serin-cd/serin/pkg/task/failure"
	"github.com/serin-cd/serin/pkg/task/parameter"
)

// Sequential says how the sequential judge weighs a canary against its primary.
type Sequential struct {
	// What a stage needs to pass: prove rules out that the canary is worse by the margin, time-box passes after that
	// time unless something speaks against the canary. Pipelines prove at the last stage only.
	Gate string `env:"GATE, default=prove"`
	// How long a stage lasts at least. Raise it to hold each weight longer.
	MinDwell parameter.Span `env:"MIN_DWELL, default=30s"`
	// How long a stage with gate time-box lasts before it passes. Empty is twice the interval.
	TimeBox parameter.Span `env:"TIME_BOX"`
	// Probability that a metric blames a canary that is not worse, over the whole run, as a fraction above 0 and at
	// most 0.05. Lower it to convict later and with more evidence.
	Alpha parameter.Fraction `env:"ALPHA, default=0.01"`
	// Probability that a stage proves a canary that is worse by the margin, as a fraction above 0 and at most 0.08.
	// Lower it to prove with more evidence.
	Beta parameter.Fraction `env:"BETA, default=0.05"`
	// How many errors usually come at once, at least 1, where one cause makes several requests fail together. auto
	// measures it in the ten minutes of the primary before the run.
	DesignEffect string `env:"DESIGN_EFFECT, default=auto"`
	// Regular expression of the response codes that count as errors. Extend it if a 4xx is an error too.
	ErrorCodes string `env:"ERROR_CODES, default=5.."`
	// Whether the share of requests that reach the canary must match its weight: on, or off for mirrored or synthetic
	// traffic.
	WeightCheck string `env:"WEIGHT_CHECK, default=on"`
	// Error rate, as a fraction, by which the canary may exceed the primary without blame.
	Tolerance parameter.Fraction `env:"TOLERANCE, default=0.001"`
	// The same, as a fraction of the primary's error rate before the run. The larger of the two counts.
	ToleranceRelative parameter.Fraction `env:"TOLERANCE_RELATIVE, default=0.25"`
	// Excess error rate, as a fraction, that must be ruled out to prove a canary. A smaller margin needs more
	// requests.
	Margin parameter.Fraction `env:"MARGIN, default=0.01"`
	// The same, as a fraction of the primary's error rate before the run. The larger of the two counts.
	MarginRelative parameter.Fraction `env:"MARGIN_RELATIVE, default=0.5"`
	// Whether request durations are judged: auto if there is enough to go by, off, or required, which fails the step
	// if there is not.
	Latency string `env:"LATENCY, default=auto"`
	// A request duration in milliseconds to judge by, besides those that follow from the primary's own requests. Empty
	// adds none. Set it to your objective.
	LatencyObjective parameter.Milliseconds `env:"LATENCY_OBJECTIVE"`
	// How long request durations do not count after the first weight; after each later one, half as long. Never longer
	// than half of time-box. Raise it for applications that are slow at first.
	WarmUp parameter.Span `env:"WARM_UP, default=60s"`
	// Time between two scrapes of the proxies; auto measures it. Set it if auto is wrong.
	ScrapeInterval string `env:"SCRAPE_INTERVAL, default=auto"`
	// Labels, separated by commas, in which series that count the same requests may differ. Those of the Prometheus
	// operator are known. Add what tells your replicas of Prometheus apart.
	ReplicaLabels []string `env:"REPLICA_LABELS"`
	// What tells the canary from the primary: service, workload, or auto for what the reporter knows best.
	Split string `env:"SPLIT, default=auto"`
}

func (s Sequential) validate(deadline, timeBox time.Duration) error {
	for _, p := range []struct {
		name  string
		value parameter.Fraction
		most  float64
	}{{"alpha", s.Alpha, 0.05}, {"beta", s.Beta, 0.08}} {
		if !(p.value > 0 && float64(p.value) <= p.most) {
			return failure.Configf("reading %s: %v, want above 0 and at most %v: one interval must not convict",
				p.name, p.value, p.most)
		}
	}
	for name, value := range map[string]parameter.Fraction{
		"tolerance": s.Tolerance, "tolerance-relative": s.ToleranceRelative} {
		if !(value < 1) {
			return failure.Configf("reading %s: %v, want at least 0 and below 1", name, value)
		}
	}
	for name, value := range map[string]parameter.Fraction{"margin": s.Margin, "margin-relative": s.MarginRelative} {
		if !(value > 0 && value < 1) {
			return failure.Configf("reading %s: %v, want above 0 and below 1", name, value)
		}
	}
	for name, value := range map[string]time.Duration{"min-dwell": time.Duration(s.MinDwell), "time-box": timeBox} {
		if value > deadline {
			return failure.Configf("reading deadline: %s, want at least %s %s", deadline, name, value)
		}
	}
	if _, err := counting.Codes(s.ErrorCodes); err != nil || s.ErrorCodes == "" {
		return failure.Configf("reading error-codes: %q, want a regular expression such as 5..", s.ErrorCodes)
	}
	if slices.Contains(s.ReplicaLabels, "") {
		return failure.Configf("reading replica-labels: an empty name, want names of labels separated by commas")
	}
	if _, err := s.design(); err != nil {
		return err
	}
	_, err := s.grid()
	return err
}

// design is how many errors come at once, 0 where it has to be measured.
func (s Sequential) design() (parameter.Factor, error) {
	if s.DesignEffect == "auto" {
		return 0, nil
	}
	var f parameter.Factor
	if err := f.EnvDecode(s.DesignEffect); err != nil {
		return 0, failure.Configf("reading design-effect: %q, want auto or a number of at least 1", s.DesignEffect)
	}
	return f, nil
}

// grid is the time between two scrapes, 0 where it has to be measured.
func (s Sequential) grid() (time.Duration, error) {
	if s.ScrapeInterval == "auto" {
		return 0, nil
	}
	t, err := time.ParseDuration(s.ScrapeInterval)
	if err != nil || t < time.Second || t > 10*time.Minute {
		return 0, failure.Configf("reading scrape-interval: %q, want auto or a duration of at least 1s such as 15s",
			s.ScrapeInterval)
	}
	return t, nil
}

// timeBox is the parameter of that name, which follows the interval where it is not given.
func (c Config) timeBox() time.Duration {
	if c.Sequential.TimeBox == 0 {
		return 2 * time.Duration(c.Interval)
	}
	return time.Duration(c.Sequential.TimeBox)
}

// rules are what evidence is weighed by.
func (c Config) rules(once bool) sequential.Rules {
	return sequential.Rules{
		Gate: sequential.Gate(c.Sequential.Gate), MinDwell: time.Duration(c.Sequential.MinDwell), TimeBox: c.timeBox(),
		Deadline: c.deadline(), Alpha: float64(c.Sequential.Alpha), Beta: float64(c.Sequential.Beta), Once: once,
	}
}

// basis is what evidence is weighed by, where errors usually come in clumps of a size.
func (j *Judge) basis(clumps float64) sequential.Basis {
	s := j.config.Sequential
	b := sequential.Basis{
		Rule: sequential.Rule{Tolerance: float64(s.Tolerance), ToleranceRelative: float64(s.ToleranceRelative),
			Margin: float64(s.Margin), MarginRelative: float64(s.MarginRelative)},
		Design: clumps, Clumps: 1, Alpha: float64(s.Alpha), WarmUp: time.Duration(s.WarmUp),
		Warm: j.config.timeBox() / 2, Most: j.most,
	}
	if design, _ := s.design(); design > 0 { // validated
		b.Design, b.Clumps = float64(design), float64(design)
	}
	return b
}

// splitsServices says whether Services may have to tell the arms apart.
func (c Config) splitsServices() bool {
	return c.Sequential.Split == "service" || c.Sequential.Split == "auto" && c.Reporter != "destination"
}
