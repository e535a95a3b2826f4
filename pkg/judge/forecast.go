package judge

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/serin-cd/serin/pkg/judge/counting"
	"github.com/serin-cd/serin/pkg/judge/sequential"
)

const (
	heaviest   = 90              // weight, in percent, that is advised
	weightStep = 10              // between weights that are advised
	spare      = 1.25            // times what proof should take that is advised as deadline
	deadlines  = 5 * time.Minute // an advised deadline is a multiple of it
	longestOne = 24 * time.Hour  // that is advised
)

// forecast says at once if the deadline will come before proof can, and what would do.
func (w *weighing) forecast(ctx context.Context) {
	if w.rules.Gate != sequential.Prove || w.rules.Once || w.now.Sub(w.stage().At) >= w.rules.Deadline {
		return
	}
	text := w.read.foretold(w.rules, int(w.stage().Weight))
	if text == "" {
		return
	}
	slog.WarnContext(ctx, "the deadline comes before proof can", "canary", w.target.Canary, "forecast", text)
	if w.Forecast != nil {
		w.Forecast(ctx, text)
	}
}

// foretold is how long proof takes at a weight, in percent, and what would make it fit; empty if it fits already.
func (r *reading) foretold(rules sequential.Rules, weight int) string {
	past := r.past()
	takes := func(weight int) time.Duration {
		return sequential.ForecastProof(r.basis(past.Clumps), past.Primary, r.bounds, counting.HistorySpan,
			float64(weight)/100, rules.Beta).Takes
	}
	at := takes(weight)
	if at <= rules.Deadline {
		return ""
	}
	var advice []string
	for w := weight - weight%weightStep + weightStep; w <= heaviest; w += weightStep {
		if takes(w) <= rules.Deadline {
			advice = append(advice, fmt.Sprintf("weight %d", w))
			break
		}
	}
	if deadline := time.Duration(spare*float64(at)).Round(deadlines) + deadlines; deadline <= longestOne {
		advice = append(advice, "deadline "+minutes(deadline))
	}
	advice = append(advice, "gate time-box")
	rate := past.Primary.Requests / counting.HistorySpan.Seconds()
	return fmt.Sprintf("Proof at weight %d takes about %s with %.3g requests a second, more than the deadline of "+
		"%s: %s would do", weight, minutes(at), rate, minutes(rules.Deadline), strings.Join(advice, " or "))
}

// minutes is a duration in them.
func minutes(d time.Duration) string { return fmt.Sprintf("%.3gm", d.Minutes()) }
