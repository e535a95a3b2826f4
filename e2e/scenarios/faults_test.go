package scenarios

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/serin-cd/serin/e2e/faults"
)

// TestFaultAtEachMoment plays one fault at each of some moments, all side by side, so that each way of being taken back
// is seen. `make test-faults` plays the others.
func TestFaultAtEachMoment(t *testing.T) {
	moments, pairs := faultAtEachMoment(t)
	leave := parallel(t, int64(len(moments)))
	round, err := faults.Start(t.Context(), installed(t), moments, 150, os.Stderr)
	if round != nil {
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			if err := round.Close(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	round.Play(t.Context(), pairs, func(p faults.Pair, r faults.Result) { // for one after the other
		leave()
		t.Logf("%s, %s: %.1f s, %s, %d of %d requests lost", r.Moment, r.Fault, r.Seconds, r.By, r.Lost, r.Sent)
		if r.Failed != "" {
			t.Errorf("%s, %s: %s", r.Moment, r.Fault, r.Failed)
			round.Tell(t.Context(), p.Moment, os.Stderr)
		}
	})
}

func faultAtEachMoment(t *testing.T) (moments []faults.Moment, pairs []faults.Pair) {
	t.Helper()
	fault := map[string]faults.Fault{}
	for _, f := range faults.Faults() {
		fault[f.Name] = f
	}
	for _, m := range faults.Moments() {
		name, ok := map[string]string{
			"preparing":                    "CancelledRunFinally",
			"20 %: shifting":               "step killed -9",
			"20 %: analysing":              "Cancelled",
			"40 %: between steps":          "PipelineRun deleted",
			"40 %: analysing":              "step pod deleted",
			"60 %: analysing":              "StoppedRunFinally",
			"promoting, primary unchanged": "Cancelled",
			"promoting, primary changed":   "CancelledRunFinally",
			"draining":                     "step killed -9",
		}[m.String()]
		if ok {
			moments, pairs = append(moments, m), append(pairs, faults.Pair{Moment: m, Fault: fault[name]})
		}
	}
	if len(pairs) != 9 {
		t.Fatalf("got %d moments, want 9", len(pairs))
	}
	return moments, pairs
}
