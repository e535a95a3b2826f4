package rollback

import (
	"context"
	"log/slog"
	"time"

	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/release"
	"github.com/serin-cd/serin/pkg/release/lease"
	"github.com/serin-cd/serin/pkg/release/record"
	"github.com/serin-cd/serin/pkg/task/failure"
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
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx)) // its task's time-out ends it, by force
	defer cancel()
	// the step before renewed it not long ago, and what is taken back here the janitor would take back too
	go r.Lease.KeepOn(ctx)
	rec, err := Run(ctx, r, r.ID, t.reason(), deadline)
	outcome, reason := Outcome(ctx, r, rec, t.Prepare == "Succeeded")
	return outcome, reason, err
}

// Outcome is what a run ended as, for people: a run whose turn never came as superseded, one that has prepared and left
// no record found the application as it wants it, and one that never got that far, or whose first release was given up,
// was refused or has failed.
func Outcome(ctx context.Context, by *release.Release, rec *record.Record, prepared bool) (run.Outcome, string) {
	switch {
	case rec == nil && prepared && !holds(ctx, by):
		return run.Superseded, "a newer run has the application, or waits for it"
	case rec == nil && prepared:
		return run.Unchanged, "the primary runs this revision already"
	case rec == nil && exit(ctx, by) == failure.ExitConfig:
		return run.Refused, "the application is as it was: the result reason of the task prepare says why"
	case rec == nil:
		return run.Failed,
			"the run ended before it had the application: the result reason of the task prepare says why"
	case rec.Outcome == run.Unfinished:
		return run.Failed, rec.Reason
	}
	return rec.Outcome, rec.Reason
}

// exit is the exit code of the first step that failed in the run, 0 where none has or that cannot be read.
func exit(ctx context.Context, by *release.Release) int {
	var pipelineRun struct {
		Status struct {
			ChildReferences []struct {
				Name string `json:"name"`
			} `json:"childReferences"`
		} `json:"status"`
	}
	if err := by.Read(ctx, kube.PipelineRuns, by.ID.Name, &pipelineRun); err != nil {
		slog.Warn("not known why the run ended", "error", err.Error())
		return 0
	}
	for _, child := range pipelineRun.Status.ChildReferences {
		var taskRun struct {
			Status struct {
				Steps []struct {
					Terminated struct {
						ExitCode int `json:"exitCode"`
					} `json:"terminated"`
				} `json:"steps"`
			} `json:"status"`
		}
		if err := by.Read(ctx, kube.TaskRuns, child.Name, &taskRun); err != nil {
			slog.Warn("not known why the run ended", "taskRun", child.Name, "error", err.Error())
			continue
		}
		for _, s := range taskRun.Status.Steps {
			if s.Terminated.ExitCode != 0 {
				return s.Terminated.ExitCode
			}
		}
	}
	return 0
}

// holds says whether the run has the Lease, as each has that was not superseded until its own finish gives it up.
func holds(ctx context.Context, by *release.Release) bool {
	now, err := by.Lease.Get(ctx)
	return err != nil || lease.Holder(now) == by.ID.String()
}
