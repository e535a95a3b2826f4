package simulation

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/model"

	"github.com/serin-cd/serin/pkg/judge/counting"
	"github.com/serin-cd/serin/pkg/judge/verdict"
)

// wildPrometheus holds a wild rollout. It knows nothing of what its clock does not show yet.
type wildPrometheus struct {
	*wild
	now    *time.Time
	passed chan time.Time
}

func (p wildPrometheus) Now(context.Context) (time.Time, error) { return *p.now, nil }

func (p wildPrometheus) Query(_ context.Context, text string, at time.Time) (model.Value, error) {
	q, err := p.store.question(text)
	if err != nil {
		return nil, err
	}
	if early := at.Sub(*p.now); early > 0 {
		q, at = &question{q.shape, q.selector, q.window - early}, *p.now
	}
	return q.answer(p.store, model.TimeFromUnixNano(at.UnixNano())), nil
}

// wildClock is the judge's own, which passes as soon as somebody waits.
type wildClock struct{ wildPrometheus }

func (c wildClock) Now() time.Time { return *c.now }

func (c wildClock) After(d time.Duration) <-chan time.Time {
	*c.now = c.now.Add(d)
	c.passed <- *c.now
	return c.passed
}

// judged is what the judge says that begins at a time, or that is asked as of another.
func (w *wild) judged(ctx context.Context, from, asOf time.Time) (verdict.Verdict, error) {
	s := w.settings
	if !asOf.IsZero() {
		s = s.set("AS_OF", asOf.Format(time.RFC3339Nano))
	}
	j, err := s.newJudge(ctx)
	if err != nil {
		return verdict.Verdict{}, err
	}
	p := wildPrometheus{w, &from, make(chan time.Time, 1)}
	return j.Judge(ctx, p, wildClock{p}, w.stages, nil)
}

// told is the report, less what judging again may leave out: how it was asked, checks of a canary that is convicted
// anyway, and what was noted of a reporter that was not believed.
func told(t *testing.T, v verdict.Verdict) string {
	t.Helper()
	v.Queries, v.Checks, v.Failed = nil, nil, 0
	v.Warnings = slices.DeleteFunc(slices.Sorted(slices.Values(v.Warnings)), func(w string) bool {
		return strings.HasPrefix(w, counting.DuplicateSeries)
	})
	text, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestWildRolloutsJudgedTwice judges poll by poll, as of the same time again, and later. Where nothing in the history
// or in the first cells says who counts, later cells may.
func TestWildRolloutsJudgedTwice(t *testing.T) {
	ends := map[string]int{}
	for seed := range uint64(100) {
		w := newWild(seed)
		live, err := w.judged(t.Context(), w.first, time.Time{})
		if err != nil {
			if !strings.Contains(err.Error(), "latency cannot be judged") {
				t.Errorf("seed %d: %v", seed, err)
			}
			continue
		}
		ends[live.Code]++
		over := noon.Add(time.Hour)
		again, err := w.judged(t.Context(), over, live.At)
		if diff := cmp.Diff(told(t, live), told(t, again)); err != nil || diff != "" {
			t.Errorf("seed %d with %v: %v (-live +again)\n%s", seed, w.settings, err, diff)
		}
		if live.Target.Reporter == "" {
			continue
		}
		later, err := w.judged(t.Context(), over, live.At.Add(time.Duration(w.random.IntN(100000))*time.Millisecond))
		if err != nil {
			t.Errorf("seed %d, later: %v", seed, err)
			continue
		}
		for i, cell := range live.AllCells {
			if early := live.Decision == verdict.Fail && i == len(live.AllCells)-1; early {
				break // it may not have been closed
			}
			if diff := cmp.Diff(withoutLatency(cell), withoutLatency(later.AllCells[i])); diff != "" {
				t.Errorf("seed %d with %v, cell %d (-live +later)\n%s", seed, w.settings, i, diff)
				break
			}
		}
	}
	if len(ends) < 8 {
		t.Errorf("rollouts end %v, want at least 8 reasons", ends)
	}
}

// withoutLatency is what a cell counted, and what that amounted to.
func withoutLatency(c verdict.Cell) verdict.Cell {
	c.Latency, c.State = nil, "" // bounds may become fewer
	return c
}
