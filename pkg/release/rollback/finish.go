package rollback

import (
	"context"
	"time"

	"github.com/serin-cd/serin/pkg/release"
	"github.com/serin-cd/serin/pkg/release/lease"
	"github.com/serin-cd/serin/pkg/release/record"
	"github.com/serin-cd/serin/pkg/task/run"
)

// Tasks are those of the run before its finally, in Tekton's words.
type Tasks struct {
	// Status of the task prepare, as in a Pipeline's variable tasks.prepare.status: Succeeded, Failed or None.
	Prepare string `env:"PREPARE_STATUS, default=None"`
	// Status of the task promote, as in a Pipeline's variable tasks.promote.status: Succeeded, Failed or None.
	Promote string `env:"PROMOTE_STATUS, default=None"`
}

// reason is why a run that did not say so itself is taken back.
func (t Tasks) reason() string {
	switch {
	case t.Prepare != "Succeeded":
		return "the run ended while it prepared: the task's result reason says why"
	case t.Promote == "Failed":
		return "the promotion failed"
	}
	return "the run ended before a verdict"
}

// Finish ends a run in its own finally, whatever has become of ctx, and says what it ended as and why, also if that
// failed.
func Finish(ctx context.Context, r *release.Release, t Tasks, deadline time.Duration) (run.Outcome, string, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), deadline+2*time.Minute)
	defer cancel()
	// the step before renewed it not long ago, and what is taken back here the janitor would take back too
	go r.Lease.KeepOn(ctx)
	rec, err := Run(ctx, r, r.ID, t.reason(), deadline)
	outcome, reason := Outcome(ctx, r, rec, t.Prepare == "Succeeded")
	return outcome, reason, err
}

// Outcome is what a run ended as, for people: a first release that was given up counts as rolled back, a run whose turn
// never came as superseded, and one that has prepared and left no record found the application as it wants it.
func Outcome(ctx context.Context, by *release.Release, rec *record.Record, prepared bool) (run.Outcome, string) {
	switch {
	case rec == nil && prepared && !holds(ctx, by):
		return run.Superseded, "a newer run has the application, or waits for it"
	case rec == nil && prepared:
		return run.Unchanged, "the primary runs this revision already"
	case rec == nil:
		return run.RolledBack,
			"the run ended before it had the application: the result reason of the task prepare says why"
	case rec.Outcome == run.Unfinished:
		return run.RolledBack, rec.Reason
	}
	return rec.Outcome, rec.Reason
}

// holds says whether the run has the Lease, as each has that was not superseded until its own finish gives it up.
func holds(ctx context.Context, by *release.Release) bool {
	now, err := by.Lease.Get(ctx)
	return err != nil || lease.Holder(now) == by.ID.String()
}
