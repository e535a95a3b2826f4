package run_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/serin-cd/serin/pkg/run"
)

var (
	mine   = run.ID{Namespace: "prod", Name: "mine", UID: "1"}
	theirs = run.ID{Namespace: "prod", Name: "theirs", UID: "2"}
	noon   = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	later  = noon.Add(time.Minute)
)

// record is a run that began at noon, and was given these weights then, at a phase.
func record(id run.ID, phase run.Phase, weights ...int32) *run.Record {
	r := &run.Record{ID: id, Created: noon, Phase: phase, Revision: "new", Previous: "old"}
	for _, w := range weights {
		r.Stages = append(r.Stages, run.Stage{Weight: w, At: noon})
	}
	return r
}

func ended(id run.ID, outcome run.Outcome, weights ...int32) *run.Record {
	r := record(id, run.Closed, weights...)
	r.Outcome, r.Reason = outcome, "because"
	return r
}

// with is a record with another stage a minute later.
func with(r *run.Record, weight int32) *run.Record {
	r.Stages = append(r.Stages, run.Stage{Weight: weight, At: later})
	return r
}

// transition is one row of the tables below.
type transition struct {
	now  *run.Record
	want *run.Record
	err  string // part of the error
	kind error  // of the error, where it has one
}

// check does a transition, and does it again on what it returned.
func check(t *testing.T, cases map[string]transition, do func(*run.Record) (*run.Record, error)) {
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
	opened := &run.Record{ID: mine, Created: later, Phase: run.Preparing, Revision: "new", Previous: "old"}
	check(t, map[string]transition{
		"nothing before":                 {now: nil, want: opened},
		"after another's promotion":      {now: ended(theirs, run.Promoted, 20, 40), want: opened},
		"after a first release":          {now: ended(theirs, run.Initialized), want: opened},
		"mine, preparing":                {now: record(mine, run.Preparing), want: record(mine, run.Preparing)},
		"mine, shifting":                 {now: record(mine, run.Shifting, 20), want: record(mine, run.Shifting, 20)},
		"mine, promoting":                {now: record(mine, run.Promoting, 20), want: record(mine, run.Promoting, 20)},
		"mine, preparing another":        {now: &run.Record{ID: mine, Created: noon, Phase: run.Preparing, Revision: "older"}, want: opened},
		"mine, shifting another":         {now: &run.Record{ID: mine, Phase: run.Shifting, Revision: "older"}, err: "run mine is shifting revision older, not new", kind: run.ErrFenced},
		"mine, ended":                    {now: ended(mine, run.RolledBack), err: `run mine has ended as "rolled-back": start a new one`, kind: run.ErrFenced},
		"another's, preparing":           {now: record(theirs, run.Preparing), err: "PipelineRun prod/theirs has been at it since 2026-01-02T12:00:00Z (phase preparing, canary weight 0): wait for it or cancel it"},
		"another's, shifting":            {now: record(theirs, run.Shifting, 20), err: "(phase shifting, canary weight 20)"},
		"another's, promoting":           {now: record(theirs, run.Promoting, 20), err: "(phase promoting, canary weight 20)"},
		"same name, another PipelineRun": {now: record(run.ID{Namespace: "prod", Name: "mine", UID: "0"}, run.Shifting, 20), err: "prod/mine has been at it"},
	}, func(now *run.Record) (*run.Record, error) { return run.Open(now, mine, "new", "old", later) })

	_, err := run.Open(record(theirs, run.Shifting, 20), mine, "new", "old", later)
	if holder, busy := run.IsBusy(err); !busy || holder.ID != theirs {
		t.Errorf("holder %v, busy %v, want %v", holder, busy, theirs)
	}
}

func TestShift(t *testing.T) {
	shifting := record(mine, run.Shifting)
	check(t, map[string]transition{
		"first":              {now: record(mine, run.Preparing), want: with(shifting, 40)},
		"further":            {now: record(mine, run.Shifting, 20), want: with(record(mine, run.Shifting, 20), 40)},
		"back":               {now: record(mine, run.Shifting, 20, 60), want: with(record(mine, run.Shifting, 20, 60), 40)},
		"there already":      {now: record(mine, run.Shifting, 20, 40), want: record(mine, run.Shifting, 20, 40)},
		"once more after 0":  {now: record(mine, run.Shifting, 40, 0), want: with(record(mine, run.Shifting, 40, 0), 40)},
		"no record":          {now: nil, err: "no record of a run: run prepare first", kind: run.ErrFenced},
		"promoting":          {now: record(mine, run.Promoting, 20), err: "the run is promoting", kind: run.ErrFenced},
		"late, after a fail": {now: ended(mine, run.RolledBack, 20), err: "the run is closed (because)", kind: run.ErrFenced},
		"another's":          {now: record(theirs, run.Shifting, 20), err: "PipelineRun prod/theirs has been at it", kind: run.ErrFenced},
		"another's, ended":   {now: ended(theirs, run.Promoted, 20), err: `the record is that of PipelineRun prod/theirs, ended as "promoted"`, kind: run.ErrFenced},
	}, func(now *run.Record) (*run.Record, error) { return run.Shift(now, mine, 40, later) })
}

func TestShiftRefusesWhatIsNoShare(t *testing.T) {
	for _, weight := range []int32{-1, 101, 130} {
		if got, err := run.Shift(record(mine, run.Preparing), mine, weight, later); err == nil {
			t.Errorf("%d %%: %s, want an error", weight, got)
		}
	}
}

func TestShiftKeepsTimesInOrder(t *testing.T) {
	got, err := run.Shift(record(mine, run.Shifting, 20), mine, 40, noon.Add(-time.Second))
	if err != nil {
		t.Fatal(err)
	}
	if at := got.Stages[1].At; !at.Equal(noon) {
		t.Errorf("a second stage at %s, want it not before the first, %s", at, noon)
	}
}

func TestBeginPromotion(t *testing.T) {
	check(t, map[string]transition{
		"shifting":  {now: record(mine, run.Shifting, 20), want: record(mine, run.Promoting, 20)},
		"promoting": {now: record(mine, run.Promoting, 20), want: record(mine, run.Promoting, 20)},
		"preparing": {now: record(mine, run.Preparing), err: "the run is preparing", kind: run.ErrFenced},
		"ended":     {now: ended(mine, run.RolledBack, 20), err: "the run is closed (because)", kind: run.ErrFenced},
		"no record": {now: nil, err: "no record", kind: run.ErrFenced},
		"another's": {now: record(theirs, run.Shifting, 20), err: "prod/theirs", kind: run.ErrFenced},
	}, func(now *run.Record) (*run.Record, error) { return run.BeginPromotion(now, mine) })
}

func TestLower(t *testing.T) {
	check(t, map[string]transition{
		"shifting":   {now: record(mine, run.Shifting, 20), want: with(record(mine, run.Shifting, 20), 0)},
		"promoting":  {now: record(mine, run.Promoting, 60), want: with(record(mine, run.Promoting, 60), 0)},
		"preparing":  {now: record(mine, run.Preparing), want: record(mine, run.Preparing)},
		"at 0 again": {now: record(mine, run.Shifting, 20, 0), want: record(mine, run.Shifting, 20, 0)},
		"ended":      {now: ended(mine, run.RolledBack, 20), err: "the run is closed", kind: run.ErrFenced},
		"another's":  {now: record(theirs, run.Shifting, 20), err: "prod/theirs", kind: run.ErrFenced},
	}, func(now *run.Record) (*run.Record, error) { return run.Lower(now, mine, later) })
}

func TestClose(t *testing.T) {
	end := func(r *run.Record) *run.Record {
		r.Phase, r.Outcome, r.Reason, r.Ended = run.Closed, run.RolledBack, "bad", later
		return r
	}
	check(t, map[string]transition{
		"preparing":          {now: record(mine, run.Preparing), want: end(record(mine, run.Preparing))},
		"shifting":           {now: record(mine, run.Shifting, 20), want: end(record(mine, run.Shifting, 20))},
		"promoting":          {now: record(mine, run.Promoting, 20), want: end(record(mine, run.Promoting, 20))},
		"ended as promoted":  {now: ended(mine, run.Promoted, 20), want: ended(mine, run.Promoted, 20)},
		"another's, ended":   {now: ended(theirs, run.Promoted, 20), want: ended(theirs, run.Promoted, 20)},
		"no record":          {now: nil, want: &run.Record{ID: mine, Created: later, Phase: run.Closed, Outcome: run.RolledBack, Reason: "bad", Ended: later}},
		"another's, at work": {now: record(theirs, run.Shifting, 20), err: "PipelineRun prod/theirs has been at it"},
	}, func(now *run.Record) (*run.Record, error) { return run.Close(now, mine, run.RolledBack, "bad", later) })
}

func TestAbandoned(t *testing.T) {
	cases := map[string]struct {
		now      *run.Record
		liveness run.Liveness
		expired  bool
		want     bool
	}{
		"no record":                        {nil, run.Gone, true, false},
		"ended":                            {ended(mine, run.Promoted, 20), run.Gone, true, false},
		"gone":                             {record(mine, run.Preparing), run.Gone, false, true},
		"finished":                         {record(mine, run.Shifting, 20), run.Finished, false, true},
		"live":                             {record(mine, run.Shifting, 20), run.Live, false, false},
		"live, unattended with traffic":    {record(mine, run.Shifting, 20), run.Live, true, true},
		"live, waiting at 0":               {record(mine, run.Preparing), run.Live, true, false},
		"live, lowered to 0":               {record(mine, run.Shifting, 20, 0), run.Live, true, false},
		"unknown":                          {record(mine, run.Shifting, 20), run.Unknown, false, false},
		"unknown, unattended with traffic": {record(mine, run.Promoting, 20), run.Unknown, true, true},
		"unknown, unattended at 0":         {record(mine, run.Preparing), run.Unknown, true, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := run.Abandoned(c.now, c.now.Weight(), c.liveness, c.expired); got != c.want {
				t.Errorf("abandoned: %v, want %v", got, c.want)
			}
		})
	}
}

func TestCloseWell(t *testing.T) {
	undoing := record(mine, run.Promoting, 20)
	undoing.Outcome, undoing.Reason = run.RolledBack, "aborted"
	end := record(mine, run.Promoting, 20)
	end.Phase, end.Outcome, end.Reason, end.Ended = run.Closed, run.Promoted, "good", later
	check(t, map[string]transition{
		"promoting":                {now: record(mine, run.Promoting, 20), want: end},
		"promoted":                 {now: ended(mine, run.Promoted, 20), want: ended(mine, run.Promoted, 20)},
		"being taken back":         {now: undoing, err: "taken back meanwhile", kind: run.ErrFenced},
		"taken back":               {now: ended(mine, run.RolledBack, 20), err: "taken back meanwhile; the record is that of run prod/mine/1: because", kind: run.ErrFenced},
		"taken back, another then": {now: ended(theirs, run.Promoted, 20), err: "the record is that of run prod/theirs/2", kind: run.ErrFenced},
	}, func(now *run.Record) (*run.Record, error) { return run.Close(now, mine, run.Promoted, "good", later) })
}

func TestBeginUndo(t *testing.T) {
	undoing := record(mine, run.Promoting, 20)
	undoing.Outcome, undoing.Reason = run.RolledBack, "aborted"
	check(t, map[string]transition{
		"promoting":    {now: record(mine, run.Promoting, 20), want: undoing},
		"done already": {now: undoing, want: undoing},
		"promoted":     {now: ended(mine, run.Promoted, 20), err: "the run is closed", kind: run.ErrFenced},
		"shifting":     {now: record(mine, run.Shifting, 20), err: "the run is shifting", kind: run.ErrFenced},
		"another's":    {now: record(theirs, run.Promoting, 20), err: "prod/theirs", kind: run.ErrFenced},
	}, func(now *run.Record) (*run.Record, error) { return run.BeginUndo(now, mine, "aborted") })
	if _, err := run.BeginPromotion(undoing, mine); !errors.Is(err, run.ErrFenced) {
		t.Errorf("promoting again what is being taken back: %v, want it fenced", err)
	}
}
