package sequential

import (
	"math"
	"time"
)

// Gate is what a stage asks for.
type Gate string

// The gates.
const (
	Prove   Gate = "prove"    // it must be ruled out that the canary is worse by the margin
	TimeBox Gate = "time-box" // it is enough that nothing speaks against the canary for a while
)

// Decision is what evidence amounts to.
type Decision string

// The decisions. Wait is that there is none yet.
const (
	Wait         Decision = ""
	Pass         Decision = "pass"
	Fail         Decision = "fail"
	Inconclusive Decision = "inconclusive"
)

// Reasons of a decision.
const (
	HardFailure       = "hard-failure"
	Worse             = "worse"
	Slower            = "slower"
	LimitBroken       = "limit"
	CanarySilent      = "canary-silent"
	Healthy           = "healthy"
	BoxedTime         = "time-box"
	Undecided         = "undecided"
	NoTraffic         = "no-traffic"
	NoPrimaryTraffic  = "no-primary-traffic"
	TrafficNotShifted = "traffic-not-shifted"
	PrimaryUnhealthy  = "primary-unhealthy"
	Suspect           = "suspect"
	LowTraffic        = "low-traffic"
	NotComparable     = "latency-not-comparable"
)

// Rules are those of one stage.
type Rules struct {
	Gate     Gate
	MinDwell time.Duration
	TimeBox  time.Duration
	Deadline time.Duration
	Alpha    float64
	Beta     float64
	Once     bool // judge as of one time, without waiting for another
}

// Standing is what a decision rests on.
type Standing struct {
	Since    time.Duration // the weight was set
	Hard     bool          // the canary fails nearly every request
	Blame    float64
	BlameMax float64
	Acquit   float64  // its most, in this stage
	Latency  *Latency // nil where it is not judged
	Strata   int      // closed in this stage
	Held     bool     // the primary fails too
	Obeyed   bool     // the weight
	Broken   bool     // a limit, by the canary and not by the primary
	Halted   bool     // by a limit that the canary seems to be beyond
	Silent   bool     // the canary, while the primary is called
	Unlike   bool     // the arms' histograms have no bound in common
	Canary   float64  // requests in this stage
	Primary  float64
}

// Latency is the part of latency in a standing.
type Latency struct {
	Blame    float64 // the mean over bounds
	BlameMax float64 // of the mean
	Acquit   float64 // the least over bounds of their most in this stage
}

// level is the wealth that a pot begins with, give or take what adding up fractions costs.
const level = 1 + 1e-9

// calm says whether nothing speaks against the canary.
func (s Standing) calm() bool {
	return s.Blame <= level && (s.Latency == nil || s.Latency.Blame <= level)
}

func (s Standing) proven(beta float64) bool {
	return s.Acquit >= 1/beta && (s.Latency == nil || s.Latency.Acquit >= 1/beta)
}

// free says whether nothing speaks against the canary, or stands in the way of saying so.
func (s Standing) free() bool {
	return s.calm() && !s.Held && !s.Halted && !s.Unlike && s.Obeyed && s.Strata > 0
}

// Decide weighs a standing.
func (r Rules) Decide(s Standing) (Decision, string) {
	switch {
	case s.Hard:
		return Fail, HardFailure
	case s.BlameMax >= 1/r.Alpha:
		return Fail, Worse
	case s.Latency != nil && s.Latency.BlameMax >= 1/r.Alpha:
		return Fail, Slower
	case s.Broken:
		return Fail, LimitBroken
	case s.Silent:
		return Inconclusive, CanarySilent
	}
	if s.free() {
		if s.Since >= r.MinDwell && s.proven(r.Beta) {
			return Pass, Healthy
		}
		if r.Gate == TimeBox && s.Since >= r.TimeBox {
			return Pass, BoxedTime
		}
	}
	if s.Since < r.Deadline {
		if r.Once {
			return Inconclusive, Undecided
		}
		return Wait, ""
	}
	return Inconclusive, s.lack()
}

// lack is what a stage lacked at its deadline.
func (s Standing) lack() string {
	switch {
	case s.Canary == 0:
		return NoTraffic
	case s.Primary == 0:
		return NoPrimaryTraffic
	case !s.Obeyed:
		return TrafficNotShifted
	case s.Held:
		return PrimaryUnhealthy
	case !s.calm() || s.Halted:
		return Suspect
	case s.Unlike:
		return NotComparable
	}
	return LowTraffic
}

// State says in a word how things stood when a cell had closed: the reason to fail, proven, held, open or suspect.
func (r Rules) State(m Moment) string {
	s := Standing{BlameMax: m.Metric.BlameMax, Blame: m.Metric.Blame, Acquit: m.Metric.AcquitMax,
		Latency: m.Latency, Strata: 1, Obeyed: true, Held: m.Held}
	proving := Rules{Gate: Prove, Deadline: math.MaxInt64, Alpha: r.Alpha, Beta: r.Beta}
	decision, reason := proving.Decide(s)
	switch {
	case decision == Fail:
		return reason
	case decision == Pass:
		return "proven"
	case m.Held:
		return "held"
	case s.calm():
		return "open"
	}
	return "suspect"
}
