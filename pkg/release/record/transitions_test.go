package record_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/serin-cd/serin/pkg/judge/verdict"
	"github.com/serin-cd/serin/pkg/release/record"
	"github.com/serin-cd/serin/pkg/task/parameter"
	"github.com/serin-cd/serin/pkg/task/run"
)

var (
	mine   = run.ID{Namespace: "prod", Name: "mine", UID: "1"}
	theirs = run.ID{Namespace: "prod", Name: "theirs", UID: "2"}
	noon   = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	later  = noon.Add(time.Minute)
)

// recorded is a run that began at noon, and was given these weights then, at a phase.
func recorded(id run.ID, phase run.Phase, weights ...parameter.Weight) *record.Record {
	r := &record.Record{ID: id, Created: noon, Phase: phase, Revision: "new", Previous: "old"}
	for _, w := range weights {
		r.Stages = append(r.Stages, run.Stage{Weight: w, At: noon})
	}
	return r
}

func ended(id run.ID, outcome run.Outcome, weights ...parameter.Weight) *record.Record {
	r := recorded(id, run.Closed, weights...)
	r.Outcome, r.Reason = outcome, "because"
	return r
}

// with is a record with another stage a minute later.
func with(r *record.Record, weight parameter.Weight) *record.Record {
	r.Stages = append(r.Stages, run.Stage{Weight: weight, At: later})
	return r
}

// transition is one row of the tables below.
type transition struct {
	now  *record.Record
	want *record.Record
	err  string // part of the error
	kind error  // of the error, where it has one
}

// check does a transition, and does it again on what it returned.
func check(t *testing.T, cases map[string]transition, do func(*record.Record) (*record.Record, error)) {
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			before := c.now.String()
			got, err := do(c.now)
			if c.now.String() != before {
				t.Errorf("changed what it was given to %s, want %s", c.now, before)
			}
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) || c.kind != nil && !errors.Is(err, c.kind) {
					t.Errorf("error %v, want %q in it, of kind %v", err, c.err, c.kind)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("record (-want +got):\n%s", diff)
			}
			again, err := do(got)
			if err != nil {
				t.Errorf("again: %v", err)
			}
			if diff := cmp.Diff(got, again); diff != "" {
				t.Errorf("twice is not once (-once +twice):\n%s", diff)
			}
		})
	}
}

func TestOpen(t *testing.T) {
	opened := &record.Record{ID: mine, Created: later, Phase: run.Preparing, Revision: "new", Previous: "old"}
	check(t, map[string]transition{
		"nothing before":            {now: nil, want: opened},
		"after another's promotion": {now: ended(theirs, run.Promoted, 20, 40), want: opened},
		"after a first release":     {now: ended(theirs, run.Initialized), want: opened},
		"mine, preparing":           {now: recorded(mine, run.Preparing), want: recorded(mine, run.Preparing)},
		"mine, shifting": {now: recorded(mine, run.Shifting, 20),
			want: recorded(mine, run.Shifting, 20)},
		"mine, promoting": {now: recorded(mine, run.Promoting, 20),
			want: recorded(mine, run.Promoting, 20)},
		"mine, preparing another": {now: &record.Record{ID: mine, Created: noon, Phase: run.Preparing,
			Revision: "older"}, want: opened},
		"mine, shifting another": {now: &record.Record{ID: mine, Phase: run.Shifting, Revision: "older"},
			err: "run mine is shifting revision older, not new", kind: record.ErrFenced},
		"mine, ended": {now: ended(mine, run.RolledBack),
			err: `run mine has ended as "rolled-back": start a new one`, kind: record.ErrFenced},
		"another's, preparing": {now: recorded(theirs, run.Preparing),
			err: "PipelineRun prod/theirs has been at it since 2026-01-02T12:00:00Z (phase preparing, canary weight " +
				"0): wait for it or cancel it"},
		"another's, shifting": {now: recorded(theirs, run.Shifting, 20),
			err: "(phase shifting, canary weight 20)"},
		"another's, promoting": {now: recorded(theirs, run.Promoting, 20),
			err: "(phase promoting, canary weight 20)"},
		"same name, another PipelineRun": {now: recorded(run.ID{Namespace: "prod", Name: "mine", UID: "0"},
			run.Shifting, 20), err: "prod/mine has been at it"},
	}, func(now *record.Record) (*record.Record, error) { return record.Open(now, mine, "new", "old", later) })

	_, err := record.Open(recorded(theirs, run.Shifting, 20), mine, "new", "old", later)
	if holder, busy := record.IsBusy(err); !busy || holder.ID != theirs {
		t.Errorf("holder %v, busy %v, want %v", holder, busy, theirs)
	}
}

func TestShift(t *testing.T) {
	shifting := recorded(mine, run.Shifting)
	check(t, map[string]transition{
		"first":   {now: recorded(mine, run.Preparing), want: with(shifting, 40)},
		"further": {now: recorded(mine, run.Shifting, 20), want: with(recorded(mine, run.Shifting, 20), 40)},
		"back": {now: recorded(mine, run.Shifting, 20, 60),
			want: with(recorded(mine, run.Shifting, 20, 60), 40)},
		"there already": {now: recorded(mine, run.Shifting, 20, 40), want: recorded(mine, run.Shifting, 20, 40)},
		"once more after 0": {now: recorded(mine, run.Shifting, 40, 0),
			want: with(recorded(mine, run.Shifting, 40, 0), 40)},
		"no record": {now: nil, err: "no record of a run: run prepare first", kind: record.ErrFenced},
		"promoting": {now: recorded(mine, run.Promoting, 20), err: "the run is promoting",
			kind: record.ErrFenced},
		"late, after a fail": {now: ended(mine, run.RolledBack, 20), err: "the run is closed (because)",
			kind: record.ErrFenced},
		"another's": {now: recorded(theirs, run.Shifting, 20), err: "PipelineRun prod/theirs has been at it",
			kind: record.ErrFenced},
		"another's, ended": {now: ended(theirs, run.Promoted, 20),
			err: `the record is that of PipelineRun prod/theirs, ended as "promoted"`, kind: record.ErrFenced},
	}, func(now *record.Record) (*record.Record, error) { return record.Shift(now, mine, 40, later) })
}

func TestShiftRefusesWhatIsNoShare(t *testing.T) {
	for _, weight := range []parameter.Weight{-1, 101, 130} {
		if got, err := record.Shift(recorded(mine, run.Preparing), mine, weight, later); err == nil {
			t.Errorf("%d %%: %s, want an error", weight, got)
		}
	}
}

func TestShiftKeepsTimesInOrder(t *testing.T) {
	got, err := record.Shift(recorded(mine, run.Shifting, 20), mine, 40, noon.Add(-time.Second))
	if err != nil {
		t.Fatal(err)
	}
	if at := got.Stages[1].At; !at.Equal(noon) {
		t.Errorf("a second stage at %s, want it not before the first, %s", at, noon)
	}
}

func TestBeginPromotion(t *testing.T) {
	passed := recorded(mine, run.Promoting, 20)
	passed.Verdict, passed.Passed = verdict.Pass, later
	check(t, map[string]transition{
		"shifting":  {now: recorded(mine, run.Shifting, 20), want: passed},
		"promoting": {now: passed, want: passed},
		"preparing": {now: recorded(mine, run.Preparing), err: "the run is preparing", kind: record.ErrFenced},
		"ended":     {now: ended(mine, run.RolledBack, 20), err: "the run is closed (because)", kind: record.ErrFenced},
		"no record": {now: nil, err: "no record", kind: record.ErrFenced},
		"another's": {now: recorded(theirs, run.Shifting, 20), err: "prod/theirs", kind: record.ErrFenced},
	}, func(now *record.Record) (*record.Record, error) { return record.BeginPromotion(now, mine, later) })
}

func TestLower(t *testing.T) {
	check(t, map[string]transition{
		"shifting":   {now: recorded(mine, run.Shifting, 20), want: with(recorded(mine, run.Shifting, 20), 0)},
		"promoting":  {now: recorded(mine, run.Promoting, 60), want: with(recorded(mine, run.Promoting, 60), 0)},
		"preparing":  {now: recorded(mine, run.Preparing), want: recorded(mine, run.Preparing)},
		"at 0 again": {now: recorded(mine, run.Shifting, 20, 0), want: recorded(mine, run.Shifting, 20, 0)},
		"ended":      {now: ended(mine, run.RolledBack, 20), err: "the run is closed", kind: record.ErrFenced},
		"another's":  {now: recorded(theirs, run.Shifting, 20), err: "prod/theirs", kind: record.ErrFenced},
	}, func(now *record.Record) (*record.Record, error) { return record.Lower(now, mine, later) })
}

func TestClose(t *testing.T) {
	end := func(r *record.Record) *record.Record {
		r.Phase, r.Outcome, r.Reason, r.Ended = run.Closed, run.RolledBack, "bad", later
		return r
	}
	check(t, map[string]transition{
		"preparing":         {now: recorded(mine, run.Preparing), want: end(recorded(mine, run.Preparing))},
		"shifting":          {now: recorded(mine, run.Shifting, 20), want: end(recorded(mine, run.Shifting, 20))},
		"promoting":         {now: recorded(mine, run.Promoting, 20), want: end(recorded(mine, run.Promoting, 20))},
		"ended as promoted": {now: ended(mine, run.Promoted, 20), want: ended(mine, run.Promoted, 20)},
		"another's, ended":  {now: ended(theirs, run.Promoted, 20), want: ended(theirs, run.Promoted, 20)},
		"no record": {now: nil, want: &record.Record{ID: mine, Created: later, Phase: run.Closed,
			Outcome: run.RolledBack, Reason: "bad", Ended: later}},
		"another's, at work": {now: recorded(theirs, run.Shifting, 20), err: "PipelineRun prod/theirs has been at it"},
	}, func(now *record.Record) (*record.Record, error) {
		return record.Close(now, mine, run.RolledBack, "bad", later)
	})
}

func TestAbandoned(t *testing.T) {
	cases := map[string]struct {
		now      *record.Record
		liveness record.Liveness
		expired  bool
		want     bool
	}{
		"no record":                        {nil, record.Gone, true, false},
		"ended":                            {ended(mine, run.Promoted, 20), record.Gone, true, false},
		"gone":                             {recorded(mine, run.Preparing), record.Gone, false, true},
		"finished":                         {recorded(mine, run.Shifting, 20), record.Finished, false, true},
		"live":                             {recorded(mine, run.Shifting, 20), record.Live, false, false},
		"live, unattended with traffic":    {recorded(mine, run.Shifting, 20), record.Live, true, true},
		"live, waiting at 0":               {recorded(mine, run.Preparing), record.Live, true, false},
		"live, lowered to 0":               {recorded(mine, run.Shifting, 20, 0), record.Live, true, false},
		"unknown":                          {recorded(mine, run.Shifting, 20), record.Unknown, false, false},
		"unknown, unattended with traffic": {recorded(mine, run.Promoting, 20), record.Unknown, true, true},
		"unknown, unattended at 0":         {recorded(mine, run.Preparing), record.Unknown, true, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := record.Abandoned(c.now, c.now.Weight(), c.liveness, c.expired); got != c.want {
				t.Errorf("abandoned: %v, want %v", got, c.want)
			}
		})
	}
}

func TestCloseWell(t *testing.T) {
	undoing := recorded(mine, run.Promoting, 20)
	undoing.Outcome, undoing.Reason = run.RolledBack, "aborted"
	end := recorded(mine, run.Promoting, 20)
	end.Phase, end.Outcome, end.Reason, end.Ended = run.Closed, run.Promoted, "good", later
	check(t, map[string]transition{
		"promoting":        {now: recorded(mine, run.Promoting, 20), want: end},
		"promoted":         {now: ended(mine, run.Promoted, 20), want: ended(mine, run.Promoted, 20)},
		"being taken back": {now: undoing, err: "taken back meanwhile", kind: record.ErrFenced},
		"taken back": {now: ended(mine, run.RolledBack, 20),
			err: "taken back meanwhile; the record is that of run prod/mine/1: because", kind: record.ErrFenced},
		"taken back, another then": {now: ended(theirs, run.Promoted, 20),
			err: "the record is that of run prod/theirs/2", kind: record.ErrFenced},
	}, func(now *record.Record) (*record.Record, error) {
		return record.Close(now, mine, run.Promoted, "good", later)
	})
}

func TestBeginUndo(t *testing.T) {
	undoing := recorded(mine, run.Promoting, 20)
	undoing.Outcome, undoing.Reason = run.RolledBack, "aborted"
	check(t, map[string]transition{
		"promoting":    {now: recorded(mine, run.Promoting, 20), want: undoing},
		"done already": {now: undoing, want: undoing},
		"promoted":     {now: ended(mine, run.Promoted, 20), err: "the run is closed", kind: record.ErrFenced},
		"shifting":     {now: recorded(mine, run.Shifting, 20), err: "the run is shifting", kind: record.ErrFenced},
		"another's":    {now: recorded(theirs, run.Promoting, 20), err: "prod/theirs", kind: record.ErrFenced},
	}, func(now *record.Record) (*record.Record, error) { return record.BeginUndo(now, mine, "aborted") })
	if _, err := record.BeginPromotion(undoing, mine, later); !errors.Is(err, record.ErrFenced) {
		t.Errorf("promoting again what is being taken back: %v, want it fenced", err)
	}
}
