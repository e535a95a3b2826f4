package judge

import (
	"context"
	"encoding/json"
	"log/slog"
	"math"
	"time"

	"github.com/serin-cd/serin/pkg/judge/sequential"
	"github.com/serin-cd/serin/pkg/task/parameter"
)

// Weighed is what the sequential judge found.
type Weighed struct {
	sequential.Findings
	Start    time.Time
	Grid     time.Duration
	History  sequential.Counts // of the primary, before the start
	Reporter string
	Split    string
	Gate     string
	Services [2]string // or workloads: of the canary and of the primary
	Alpha    float64
	Beta     float64
	Missing  *float64 // requests of the canary, where they were too few
	Queries  []string
}

// outcomes of a decision.
var outcomes = map[sequential.Verdict]Outcome{
	sequential.Pass: Pass, sequential.Fail: Fail, sequential.Inconclusive: Inconclusive,
}

// worded is the verdict of a decision.
func (w *weighing) worded(verdict sequential.Verdict, reason string) Verdict {
	tally := w.limits.tally
	v := Verdict{
		Outcome: outcomes[verdict], Code: reason, At: w.now, Target: w.target, Phases: w.phases, Checks: w.limits.done,
		Failed: tally.failed, Threshold: tally.threshold, Deadline: w.rules.Deadline, Judge: judgeSequential, Warnings: append(w.warnings, w.read.notes...),
		onInconclusive: w.config.OnInconclusive, shadow: w.config.Mode == modeShadow,
	}
	reporter := w.read.reporter
	if reporter == "" {
		reporter = w.read.candidates()[0]
	}
	selection := w.read.selection(reporter)
	found := *w.found
	found.Standing = w.standing()
	v.Weighed = &Weighed{
		Findings: found, Start: w.phases[0].At, Grid: w.read.grid(), History: w.read.past().Primary,
		Reporter: string(w.read.reporter), Split: string(selection.Split), Gate: string(w.rules.Gate),
		Services: [2]string{selection.Canary, selection.Primary}, Alpha: w.rules.Alpha, Beta: w.rules.Beta, Queries: w.read.queries,
	}
	if reason == sequential.LowTraffic || reason == sequential.Undecided {
		v.Weighed.lacking(float64(v.Weight()) / 100)
	}
	v.Text = w.text(v)
	return v
}

// lacking works out how many requests of the canary would do, for the metric that needs most.
func (w *Weighed) lacking(weight float64) {
	share := weight
	if n := w.InPhase.Canary.Requests + w.InPhase.Primary.Requests; w.InPhase.Canary.Requests > 0 && n > 0 {
		share = w.InPhase.Canary.Requests / n
	}
	most := 0.0
	for _, m := range append([]sequential.Judged{w.Errors}, w.Bounds...) {
		if m.AcquitMax() < 1/w.Beta {
			most = max(most, m.Missing(share, w.Beta))
		}
	}
	if most > 0 {
		w.Missing = &most
	}
}

// ratio is bad requests, and all, in the order in which people say them.
type ratio [2]float64

func ratioOf(c sequential.Counts) ratio { return ratio{rounded(c.Bad), rounded(c.Requests)} }

type potEvidence struct {
	Blame  float64 `json:"blame"`
	Acquit float64 `json:"acquit"`
}

// weighedEvidence is the result evidence: the numbers of the errors, and of latency the mean blame.
func (v Verdict) weighedEvidence() string {
	w := v.Weighed
	e := struct {
		Judge   string           `json:"judge"`
		Weight  parameter.Weight `json:"weight"`
		Since   float64          `json:"since"`
		Canary  ratio            `json:"canary"`
		Primary ratio            `json:"primary"`
		Blame   float64          `json:"blame"`
		Acquit  float64          `json:"acquit"`
		Latency *potEvidence     `json:"latency,omitempty"`
		Missing *float64         `json:"missing,omitempty"`
	}{
		Judge: v.Judge, Weight: v.Weight(), Since: rounded(v.Since().Seconds()),
		Canary: ratioOf(w.Errors.Seen.Canary), Primary: ratioOf(w.Errors.Seen.Primary),
		Blame: rounded(w.Errors.Blame()), Acquit: rounded(w.Errors.Acquit()),
	}
	if w.Latency != nil {
		least := math.Inf(1)
		for _, b := range w.Bounds {
			least = min(least, b.Acquit())
		}
		e.Latency = &potEvidence{rounded(w.Latency.Blame), rounded(least)}
	}
	if w.Missing != nil {
		missing := rounded(*w.Missing)
		e.Missing = &missing
	}
	text, err := json.Marshal(e)
	if err != nil {
		return "{}" // all are finite numbers
	}
	return string(text)
}

// log writes a line for each cell that has closed.
func (w *weighing) log(ctx context.Context) {
	found := w.found
	for _, m := range found.Moments[min(w.logged, len(found.Moments)):] {
		end := w.phases[0].At.Add(m.End)
		fields := []any{
			"canary", w.target.Canary, "phase", m.Phase + 1, "weight", w.phases[m.Phase].Weight, "end", end.UTC().Format(time.RFC3339),
			"bad", rounded(m.Cell.Canary.Bad), "requests", rounded(m.Cell.Canary.Requests),
			"primary-bad", rounded(m.Cell.Primary.Bad), "primary-requests", rounded(m.Cell.Primary.Requests),
			"blame", rounded(m.Metric.Blame), "acquit", rounded(m.Metric.Acquit),
		}
		if m.Latency != nil {
			fields = append(fields, "latency-blame", rounded(m.Latency.Blame), "latency-acquit", rounded(m.Latency.Acquit))
		}
		fields = append(fields, "state", w.state(m), "repeated", end.Add(time.Duration(w.config.Settle)).Before(w.began))
		slog.InfoContext(ctx, "cell closed", fields...)
	}
	w.logged = max(w.logged, len(found.Moments))
}

// state says in a word how things stood when a cell had closed.
func (w *weighing) state(m sequential.Moment) string {
	s := sequential.Standing{BlameMax: m.Metric.BlameMax, Blame: m.Metric.Blame, Acquit: m.Metric.AcquitMax,
		Latency: m.Latency, Strata: 1, Obeyed: true, Held: m.Held}
	rules := w.rules
	rules.Gate, rules.MinDwell, rules.Deadline, rules.Once = sequential.Prove, 0, math.MaxInt64, false
	verdict, reason := rules.Decide(s)
	switch {
	case verdict == sequential.Fail:
		return reason
	case verdict == sequential.Pass:
		return "proven"
	case m.Held:
		return "held"
	case s.Calm():
		return "open"
	}
	return "suspect"
}
