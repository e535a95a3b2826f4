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
func (t Tasks) reason(ctx context.Context, by *release.Release) string {
	switch {
	case t.Prepare == "Failed":
		_, why := failed(ctx, by)
		return "the run ended while it prepared: " + why
	case t.Prepare != "Succeeded":
		return "the run ended while it prepared"
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
	rec, err := Run(ctx, r, r.ID, t.reason(ctx, r), deadline)
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
	case rec == nil:
		code, why := failed(ctx, by)
		if code == failure.ExitConfig {
			return run.Refused, "the application is as it was: " + why
		}
		return run.Failed, "the run ended before it had the application: " + why
	case rec.Outcome == run.Unfinished:
		return run.Failed, rec.Reason
	}
	return rec.Outcome, rec.Reason
}

// taskRun is what is read of one.
type taskRun struct {
	Status struct {
		Steps []struct {
			Terminated struct {
				ExitCode int `json:"exitCode"`
			} `json:"terminated"`
		} `json:"steps"`
		Results []struct {
			Name  string `json:"name"`
			Value any    `json:"value"`
		} `json:"results"`
	} `json:"status"`
}

// code is the exit code of the first step that failed, 0 where none has.
func (t taskRun) code() int {
	for _, s := range t.Status.Steps {
		if s.Terminated.ExitCode != 0 {
			return s.Terminated.ExitCode
		}
	}
	return 0
}

// reason is the result of that name, or where it is to be looked for.
func (t taskRun) reason() string {
	for _, result := range t.Status.Results {
		if text, _ := result.Value.(string); result.Name == "reason" && text != "" {
			return text
		}
	}
	return untold
}

// untold is why a step has failed, where that cannot be read.
const untold = "the result reason of the task prepare says why"

// failed is the exit code of the first step that failed in the run, 0 where none has or that cannot be read, and why
// it failed.
func failed(ctx context.Context, by *release.Release) (code int, why string) {
	var pipelineRun struct {
		Status struct {
			ChildReferences []struct {
				Name string `json:"name"`
			} `json:"childReferences"`
		} `json:"status"`
	}
	if err := by.Read(ctx, kube.PipelineRuns, by.ID.Name, &pipelineRun); err != nil {
		slog.Warn("not known why the run ended", "error", err.Error())
		return 0, untold
	}
	for _, child := range pipelineRun.Status.ChildReferences {
		var t taskRun
		if err := by.Read(ctx, kube.TaskRuns, child.Name, &t); err != nil {
			slog.Warn("not known why the run ended", "taskRun", child.Name, "error", err.Error())
			continue
		}
		if code := t.code(); code != 0 {
			return code, t.reason()
		}
	}
	return 0, untold
}

// holds says whether the run has the Lease, as each has that was not superseded until its own finish gives it up.
func holds(ctx context.Context, by *release.Release) bool {
	now, err := by.Lease.Get(ctx)
	return err != nil || lease.Holder(now) == by.ID.String()
}
