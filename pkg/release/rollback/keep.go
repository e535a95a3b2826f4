package rollback

import (
	"context"
	"log/slog"
	"time"

	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/cluster/workload"
	"github.com/serin-cd/serin/pkg/release"
	"github.com/serin-cd/serin/pkg/release/record"
	"github.com/serin-cd/serin/pkg/task/failure"
	"github.com/serin-cd/serin/pkg/task/parameter"
	"github.com/serin-cd/serin/pkg/task/run"
)

// longestKept is how long a failed canary's pods may stay up.
const longestKept = 24 * time.Hour

// Keep says what becomes of the pods of a canary that has failed.
type Keep struct {
	// How long the pods of a canary that failed stay up, without traffic, for a look at them: at most 24h. Then the
	// janitor scales them down, or the next run before that. Empty scales them down at once.
	KeepFailed parameter.Span `env:"KEEP_FAILED"`
}

// Check is an error of configuration where the pods would stay for too long.
func (k Keep) Check() error {
	if d := time.Duration(k.KeepFailed); d > longestKept {
		return failure.Configf("reading keep-failed: %s, want at most %s", d, longestKept)
	}
	return nil
}

// kept leaves the pods of a failed canary up, from its run's end on, and says whether it does: their time may be over.
func kept(ctx context.Context, by *release.Release, target *workload.Deployment, rec *record.Record) (bool, error) {
	if by.Keep == 0 || rec == nil || rec.Open() || rec.Outcome != run.RolledBack {
		return false, nil
	}
	until := rec.Ended.Add(by.Keep).Truncate(time.Second)
	if !by.Cluster.Now().Before(until) {
		return false, nil
	}
	stamp := target.Stamp()
	_, err := by.Deployments.From(target).Update(ctx, by.App.Name,
		func(d *workload.Deployment) ([]kube.Operation, error) {
			if d.Stamp() != stamp || d.KeptUntil().Equal(until) {
				return nil, nil
			}
			return workload.Keep(d, until), nil
		})
	if err != nil {
		return false, err
	}
	slog.Info("pods of the failed canary stay up", "until", until, "look",
		"kubectl -n "+by.App.Namespace+" port-forward service/"+by.App.Canary()+" 8080:80")
	by.Events.Warningf(ctx, "Canary failed! Keeping the pods of %s until %s", by.App, until.Format(time.RFC3339))
	return true, nil
}

// stays says whether a target's pods stay up because somebody wants to look at them.
func stays(by *release.Release, target *workload.Deployment) bool {
	return by.Cluster.Now().Before(target.KeptUntil())
}
