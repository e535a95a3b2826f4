package verdict

import (
	"fmt"
	"strconv"
	"time"

	"github.com/serin-cd/serin/pkg/judge/sequential"
)

// text says why, with the numbers.
func (w Weighing) text(v Verdict) string {
	alpha, beta := w.Rules.Alpha, w.Rules.Beta
	switch v.Code {
	case Threshold:
		return v.failedChecks()
	case sequential.HardFailure:
		return fmt.Sprintf("canary %s against primary %s in the %s up to %s",
			share(w.Hard.Canary), share(w.Hard.Primary), inSeconds(w.Grid), timeOfDay(w.Start.Add(w.Hard.At)))
	case sequential.Worse:
		return fmt.Sprintf("%s, blame %s, want below %s", w.both(v, w.Errors), short(w.Errors.BlameMax()),
			short(1/alpha))
	case sequential.Slower:
		return fmt.Sprintf("%s, blame %s over %s, want below %s",
			w.both(v, w.slowest()), short(w.Latency.BlameMax), plural(len(w.Bounds), "bound"), short(1/alpha))
	case sequential.LimitBroken:
		return w.broken()
	case sequential.Healthy:
		return fmt.Sprintf("%s, worse by %s pp ruled out: acquit %s, want %s",
			w.both(v, w.Errors), short(100*w.Errors.Margin), short(w.Errors.AcquitMax()), short(1/beta))
	case sequential.BoxedTime:
		return fmt.Sprintf("%s, nothing speaks against it: blame %s, want at most 1", w.both(v, w.Errors),
			short(w.Blame))
	}
	return w.lack(v)
}

// lack says what was missing for a verdict.
func (w Weighing) lack(v Verdict) string {
	since := inSeconds(v.Since())
	switch v.Code {
	case sequential.NoTraffic:
		text := fmt.Sprintf("no request to the canary in %s at weight %d (%s of %s, reporter %s)",
			since, v.Weight(), w.Metric, w.Arms[0], w.reporter())
		if w.Reporter == "destination" {
			text += ": this reporter does not see requests that reach no pod"
		}
		return text
	case sequential.NoPrimaryTraffic:
		return fmt.Sprintf("no request to the primary in %s (%s of %s, reporter %s), %s to the canary",
			since, w.Metric, w.Arms[1], w.reporter(), count(w.InStage.Canary.Requests))
	case sequential.TrafficNotShifted:
		all := w.Share.Canary.Requests + w.Share.Primary.Requests
		return fmt.Sprintf("canary got %s of %s, want %d %%: does the route reach every caller?",
			percentage(w.Share.Canary.Requests/all), count(all), v.Weight())
	case sequential.PrimaryUnhealthy:
		return fmt.Sprintf("primary %s in the last minute, want at most %s: nothing is promoted during an incident",
			share(w.Recent), percentage(sequential.HoldLimit(w.Errors.Before)))
	case sequential.Suspect:
		return w.suspicion(v)
	case sequential.CanarySilent:
		return fmt.Sprintf("no request to the canary for a while at weight %d, %s to the primary in %s (%s of %s, "+
			"reporter %s): does it run?", v.Weight(), count(w.InStage.Primary.Requests), since, w.Metric, w.Arms[0],
			w.reporter())
	case sequential.NotComparable:
		return "the histograms of canary and primary have no bound in common: give their pods the same " +
			"sidecar.istio.io/statsHistogramBuckets, or set latency off"
	}
	return w.unproven(v)
}

// unproven says what is left to prove.
func (w Weighing) unproven(v Verdict) string {
	enough := 1 / w.Rules.Beta
	text := fmt.Sprintf("%s, acquit %s, want %s", w.both(v, w.Errors), short(w.Errors.AcquitMax()), short(enough))
	if w.Latency != nil && w.Errors.AcquitMax() >= enough {
		text = fmt.Sprintf("%s, acquit of latency %s, want %s", w.both(v, w.Errors), short(w.Latency.Acquit),
			short(enough))
	}
	if v.Missing != nil {
		text += fmt.Sprintf(": %s more to the canary would do", count(*v.Missing))
	}
	return text
}

func (w Weighing) suspicion(v Verdict) string {
	for _, l := range w.Limits {
		if l.Suspect() {
			return w.limited(l) + ", not beyond doubt"
		}
	}
	if w.Halted {
		return v.failedChecks()
	}
	text := fmt.Sprintf("%s, blame %s", w.both(v, w.Errors), short(w.Blame))
	if w.Latency != nil {
		text += fmt.Sprintf(", of latency %s", short(w.Latency.Blame))
	}
	return text + ", want at most 1"
}

// broken tells of the limit that is.
func (w Weighing) broken() string {
	for _, l := range w.Limits {
		if l.Broken() {
			low, high := l.Ends()
			return fmt.Sprintf("%s, beyond doubt: canary at least %s, primary at most %s", w.limited(l),
				percentage(low), percentage(high))
		}
	}
	return ""
}

func (w Weighing) limited(l sequential.Limited) string {
	what := "failed"
	if l.Le > 0 {
		what = fmt.Sprintf("took over %s ms", number(l.Le))
	}
	return fmt.Sprintf("%s of the canary %s, of the primary %s, want at most %s", share(l.Seen.Canary), what,
		share(l.Seen.Primary), percentage(l.Most))
}

func (v Verdict) failedChecks() string {
	return fmt.Sprintf("%d of %d checks failed, last: %s", v.Failed, v.Threshold, v.lastCheck(Failed))
}

// both compares the arms over the whole rollout.
func (w Weighing) both(v Verdict, j sequential.Judged) string {
	what := ""
	if j.Le > 0 {
		what = fmt.Sprintf(" over %s ms", number(j.Le))
	}
	return fmt.Sprintf("canary%s %s against primary %s in %s",
		what, share(j.Seen.Canary), share(j.Seen.Primary), inSeconds(v.At.Sub(w.Start)))
}

// slowest is the bound that is blamed most.
func (w Weighing) slowest() sequential.Judged {
	found := w.Bounds[0]
	for _, b := range w.Bounds[1:] {
		if b.Blame() > found.Blame() {
			found = b
		}
	}
	return found
}

func (w Weighing) reporter() string {
	if w.Reporter == "" {
		return "source or destination"
	}
	return w.Reporter
}

func share(c sequential.Counts) string {
	return fmt.Sprintf("%s/%s (%s)", number(roundedCount(c.Bad)), number(roundedCount(c.Requests)),
		percentage(c.Rate()))
}

func percentage(rate float64) string { return strconv.FormatFloat(100*rate, 'f', 2, 64) + " %" }

func count(n float64) string { return plural(int(roundedCount(n)), "request") }

// roundedCount is a count as people write it, though counters may hold fractions.
func roundedCount(n float64) float64 {
	if n > 10 {
		return float64(int64(n + 0.5))
	}
	return Rounded(n)
}

// short is a number of at most three digits that count.
func short(v float64) string {
	if v >= 1000 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}

func inSeconds(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', 0, 64) + "s" }

func timeOfDay(t time.Time) string { return t.UTC().Format("15:04:05Z") }
