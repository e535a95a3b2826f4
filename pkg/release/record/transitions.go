package record

import (
	"errors"
	"fmt"
	"time"

	"github.com/serin-cd/serin/pkg/cluster/workload"
	"github.com/serin-cd/serin/pkg/judge/verdict"
	"github.com/serin-cd/serin/pkg/task/failure"
	"github.com/serin-cd/serin/pkg/task/parameter"
	"github.com/serin-cd/serin/pkg/task/run"
)

// ErrFenced is the refusal to raise the canary's share, or to promote, without holding the record.
var ErrFenced = errors.New("fenced")

// BusyError is the refusal to touch an application that another open run has.
type BusyError struct{ Holder Record }

func (e *BusyError) Error() string {
	return fmt.Sprintf("PipelineRun %s/%s has been at it since %s (phase %s, canary weight %d): wait for it or "+
		"cancel it",
		e.Holder.ID.Namespace, e.Holder.ID.Name, e.Holder.Created.Format(time.RFC3339), e.Holder.Phase,
		e.Holder.Weight())
}

// IsBusy returns the record of the open run that an operation was refused for.
func IsBusy(err error) (*Record, bool) {
	var busy *BusyError
	if errors.As(err, &busy) {
		return &busy.Holder, true
	}
	return nil, false
}

// Transitions are pure: they take the record as it is, nil for none, and return the next one. What a
// transition does not change it returns as it was, so that doing it twice is doing it once.

// Open begins a run. The run that has the record already goes on.
func Open(now *Record, id run.ID, revision, previous string, at time.Time) (*Record, error) {
	if now.Open() && now.ID != id {
		return nil, &BusyError{*now}
	}
	if now != nil && now.ID == id {
		if now.Open() && now.Revision == revision {
			return now, nil
		}
		if !now.Open() {
			return nil, fmt.Errorf("%w: run %s has ended as %q: start a new one", ErrFenced, id.Name, now.Outcome)
		}
		if now.Phase != run.Preparing {
			return nil, fmt.Errorf("%w: run %s is %s revision %s, not %s", ErrFenced, id.Name, now.Phase,
				workload.Short(now.Revision), workload.Short(revision))
		}
	}
	return &Record{ID: id, Created: at, Phase: run.Preparing, Revision: revision, Previous: previous}, nil
}

// Shift gives the canary a share above 0: it needs the fence.
func Shift(now *Record, id run.ID, weight parameter.Weight, at time.Time) (*Record, error) {
	if weight < 1 || weight > 100 {
		return nil, failure.Configf("weight %d, want 1 to 100", weight)
	}
	if err := held(now, id, run.Preparing, run.Shifting); err != nil {
		return nil, err
	}
	if now.Unjudged != "" {
		return nil, fmt.Errorf("%w: run %s releases without analysis: its canary gets no traffic", ErrFenced, id.Name)
	}
	if now.Phase == run.Shifting && now.Weight() == weight {
		return now, nil
	}
	if n := len(now.Stages); n > 0 && at.Before(now.Stages[n-1].At) {
		at = now.Stages[n-1].At // the judge wants times in order; two clocks may differ by a second
	}
	next := *now
	next.Phase = run.Shifting
	next.Stages = append(append([]run.Stage{}, now.Stages...), run.Stage{Weight: weight, At: at})
	return &next, nil
}

// BeginPromotion says that every stage has passed, or that the run was begun without any, and that from now on the
// primary may differ from what it was.
func BeginPromotion(now *Record, id run.ID, at time.Time) (*Record, error) {
	from := []run.Phase{run.Shifting, run.Promoting}
	unjudged := now != nil && now.Unjudged != ""
	if unjudged {
		from = []run.Phase{run.Preparing, run.Promoting}
	}
	if err := held(now, id, from...); err != nil {
		return nil, err
	}
	if now.Outcome == run.RolledBack {
		return nil, undone(now)
	}
	if now.Phase == run.Promoting {
		return now, nil
	}
	next := *now
	next.Phase = run.Promoting
	if !unjudged {
		next.Verdict, next.Passed = verdict.Pass, at
	}
	return &next, nil
}

// BeginUndo says that a promotion is taken back: from now on nobody completes it.
func BeginUndo(now *Record, id run.ID, reason string) (*Record, error) {
	if err := held(now, id, run.Promoting); err != nil {
		return nil, err
	}
	if now.Outcome == run.RolledBack {
		return now, nil
	}
	next := *now
	next.Outcome, next.Reason = run.RolledBack, reason
	return &next, nil
}

// Lower takes the canary's share to 0 and keeps the run open, at the phase that it has.
func Lower(now *Record, id run.ID, at time.Time) (*Record, error) {
	if err := held(now, id, run.Preparing, run.Shifting, run.Promoting); err != nil {
		return nil, err
	}
	if now.Weight() == 0 {
		return now, nil
	}
	next := *now
	next.Stages = append(append([]run.Stage{}, now.Stages...), run.Stage{Weight: 0, At: at})
	return &next, nil
}

// Close ends a run with the canary's share at 0. It needs no fence, only that no other run is open;
// without a record it writes one, so that who settles later knows. A run that was taken back, or is being so, does
// not end well any more.
func Close(now *Record, id run.ID, outcome run.Outcome, reason string, at time.Time) (*Record, error) {
	switch {
	case now.Open() && now.ID != id:
		return nil, &BusyError{*now}
	case now != nil && (outcome == run.Promoted || outcome == run.Initialized) && lost(now, id, outcome):
		return nil, undone(now)
	case now == nil:
		return &Record{ID: id, Created: at, Phase: run.Closed, Outcome: outcome, Reason: reason, Ended: at}, nil
	case !now.Open():
		return now, nil
	}
	next := *now
	next.Phase, next.Outcome, next.Ended = run.Closed, outcome, at
	if now.Reason == "" {
		next.Reason = reason
	}
	return &next, nil
}

// Judged is the record after a verdict that has ended the run, from what it was before. One that had ended before has
// not ended by it.
func Judged(before, after *Record, decision verdict.Decision) *Record {
	if after == nil || after == before || after.Open() || decision == verdict.Wait {
		return after
	}
	next := *after
	next.Verdict = decision
	return &next
}

// lost says whether a run can no longer end well, because it was ended, or is being ended, otherwise.
func lost(now *Record, id run.ID, outcome run.Outcome) bool {
	if now.Open() {
		return now.Outcome == run.RolledBack
	}
	return now.ID != id || now.Outcome != outcome
}

func undone(now *Record) error {
	return fmt.Errorf("%w: the run was taken back meanwhile; the record is that of run %s: %s", ErrFenced, now.ID,
		now.Reason)
}

func held(now *Record, id run.ID, phases ...run.Phase) error {
	if now == nil {
		return fmt.Errorf("%w: the VirtualService has no record of a run: run prepare first", ErrFenced)
	}
	if now.ID != id {
		if now.Open() {
			return fmt.Errorf("%w: %w", ErrFenced, &BusyError{*now})
		}
		return fmt.Errorf("%w: the record is that of PipelineRun %s/%s, ended as %q", ErrFenced, now.ID.Namespace,
			now.ID.Name, now.Outcome)
	}
	for _, p := range phases {
		if now.Phase == p {
			return nil
		}
	}
	return fmt.Errorf("%w: the run is %s (%s), want %v", ErrFenced, now.Phase, now.Reason, phases)
}

// Liveness is what is known of a run's PipelineRun.
type Liveness string

// Unknown is that of a PipelineRun that cannot be read: forbidden, or the cluster is out of reach.
const (
	Live     Liveness = "live"
	Finished Liveness = "finished"
	Gone     Liveness = "gone" // not found, or another UID
	Unknown  Liveness = "unknown"
)

// Abandoned says whether nobody will end an open run: its PipelineRun is finished or gone, or the
// canary has a share of the traffic, in percent, and the run's Lease has expired. A run that waits at weight 0 is
// never abandoned for an expired Lease.
func Abandoned(now *Record, share parameter.Weight, liveness Liveness, leaseExpired bool) bool {
	if !now.Open() {
		return false
	}
	return liveness == Finished || liveness == Gone || share > 0 && leaseExpired
}
