package judge

import (
	"fmt"
	"strconv"
	"time"

	"github.com/serin-cd/serin/pkg/judge/counting"
	"github.com/serin-cd/serin/pkg/judge/sequential"
)

// text says why, with the numbers.
func (w *weighing) text(v Verdict) string {
	f := v.Weighed
	switch v.Code {
	case "threshold":
		return fmt.Sprintf("%d of %d checks failed, last: %s", v.Failed, v.Threshold, v.last(Failed))
	case sequential.HardFailure:
		return fmt.Sprintf("canary %s against primary %s in the %s up to %s",
			share(f.Hard.Canary), share(f.Hard.Primary), inSeconds(f.Grid), timeOfDay(f.Start.Add(f.Hard.At)))
	case sequential.Worse:
		return fmt.Sprintf("%s, blame %s, want below %s", w.both(f.Errors), short(f.Errors.BlameMax()), short(1/f.Alpha))
	case sequential.Slower:
		return fmt.Sprintf("%s, blame %s over %s, want below %s", w.both(f.worst()), short(f.Latency.BlameMax), plural(len(f.Bounds), "bound"), short(1/f.Alpha))
	case sequential.Healthy:
		return fmt.Sprintf("%s, worse by %s pp ruled out: acquit %s, want %s", w.both(f.Errors), short(100*f.Errors.Margin), short(f.Errors.AcquitMax()), short(1/f.Beta))
	case sequential.BoxedTime:
		return fmt.Sprintf("%s, nothing speaks against it: blame %s, want at most 1", w.both(f.Errors), short(f.Blame))
	}
	return w.lack(v)
}

// lack says what was missing for a verdict.
func (w *weighing) lack(v Verdict) string {
	f, since := v.Weighed, inSeconds(v.Since())
	switch v.Code {
	case sequential.NoTraffic:
		text := fmt.Sprintf("no request to the canary in %s at weight %d (%s of %s, reporter %s)", since, v.Weight(), counting.Requests, f.Services[0], reporterName(f.Reporter))
		if f.Reporter == string(counting.Destination) {
			text += ": this reporter does not see requests that reach no pod"
		}
		return text
	case sequential.NoPrimaryTraffic:
		return fmt.Sprintf("no request to the primary in %s (%s of %s, reporter %s), %s to the canary", since, counting.Requests, f.Services[1], reporterName(f.Reporter), count(f.InPhase.Canary.Requests))
	case sequential.TrafficNotShifted:
		all := f.Share.Canary.Requests + f.Share.Primary.Requests
		return fmt.Sprintf("canary got %s of %s, want %d %%: does the route reach every caller?", percentage(f.Share.Canary.Requests/all), count(all), v.Weight())
	case sequential.PrimaryUnhealthy:
		return fmt.Sprintf("primary %s in the last minute, want at most %s: nothing is promoted during an incident", share(f.recent()), percentage(max(0.05, 2*f.Errors.Before)))
	case sequential.Suspect:
		return w.suspicion(v)
	}
	text := fmt.Sprintf("%s, acquit %s, want %s", w.both(f.Errors), short(f.Errors.AcquitMax()), short(1/f.Beta))
	if f.Latency != nil && f.Errors.AcquitMax() >= 1/f.Beta {
		text = fmt.Sprintf("%s, acquit of latency %s, want %s", w.both(f.Errors), short(f.Latency.Acquit), short(1/f.Beta))
	}
	if f.Missing != nil {
		text += fmt.Sprintf(": %s more to the canary would do", count(*f.Missing))
	}
	return text
}

func (w *weighing) suspicion(v Verdict) string {
	f := v.Weighed
	if f.Halted {
		return fmt.Sprintf("%d of %d checks failed, last: %s", v.Failed, v.Threshold, v.last(Failed))
	}
	text := fmt.Sprintf("%s, blame %s", w.both(f.Errors), short(f.Blame))
	if f.Latency != nil {
		text += fmt.Sprintf(", of latency %s", short(f.Latency.Blame))
	}
	return text + ", want at most 1"
}

// both compares the arms over the whole rollout.
func (w *weighing) both(j sequential.Judged) string {
	what := ""
	if j.Le > 0 {
		what = fmt.Sprintf(" over %s ms", number(j.Le))
	}
	return fmt.Sprintf("canary%s %s against primary %s in %s", what, share(j.Seen.Canary), share(j.Seen.Primary), inSeconds(w.since(w.now)))
}

// worst is the bound that is blamed most.
func (w *Weighed) worst() sequential.Judged {
	found := w.Bounds[0]
	for _, b := range w.Bounds[1:] {
		if b.Blame() > found.Blame() {
			found = b
		}
	}
	return found
}

// recent is what the primary counted in the last minute.
func (w *Weighed) recent() sequential.Counts {
	var sum sequential.Counts
	last := max(1, int(time.Minute/w.Grid))
	for _, m := range w.Moments[max(0, len(w.Moments)-last):] {
		sum = sum.Plus(m.Cell.Primary)
	}
	return sum
}

func share(c sequential.Counts) string {
	return fmt.Sprintf("%s/%s (%s)", number(roundedCount(c.Bad)), number(roundedCount(c.Requests)), percentage(c.Rate()))
}

func percentage(rate float64) string { return strconv.FormatFloat(100*rate, 'f', 2, 64) + " %" }

func count(n float64) string { return plural(int(roundedCount(n)), "request") }

// roundedCount is a count as people write it, though counters may hold fractions.
func roundedCount(n float64) float64 {
	if n > 10 {
		return float64(int64(n + 0.5))
	}
	return rounded(n)
}

// short is a number of at most three digits that count.
func short(v float64) string {
	if v >= 1000 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}

func inSeconds(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', 0, 64) + "s" }

func reporterName(name string) string {
	if name == "" {
		return "source or destination"
	}
	return name
}
