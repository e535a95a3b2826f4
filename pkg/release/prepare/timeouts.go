package prepare

import (
	"fmt"
	"time"

	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/judge"
	"github.com/serin-cd/serin/pkg/release"
	"github.com/serin-cd/serin/pkg/release/timeout"
)

// Limits are what the Pipeline was written for.
type Limits struct {
	// Time-outs of the run's tasks, such as prepare=7m30s,stage=11m30s,prove=16m30s,promote=5m,finish=6m. The
	// Pipeline sets them. A run whose parameters cannot fit into them is refused. Empty checks nothing.
	Timeouts timeout.Tasks `env:"TIMEOUTS"`
}

// Check refuses parameters that cannot fit, before anything is changed.
func (l Limits) Check(app application.Application, s release.Settling, rules judge.Config) error {
	boxed, proving := rules.Longest()
	err := l.Timeouts.Check(timeout.Need{
		Progress: s.Deadline(), Drain: time.Duration(s.Drain), DrainDeadline: time.Duration(s.DrainDeadline),
		Deadline: boxed, Prove: proving,
	})
	if err != nil {
		return fmt.Errorf("preparing %s: %w", app, err)
	}
	return nil
}

// CheckQueue refuses a wait for another run that cannot fit.
func (l Limits) CheckQueue(r *release.Release, q Queue) error {
	if q.OnBusy != Wait {
		return nil
	}
	err := l.Timeouts.Check(timeout.Need{Busy: time.Duration(q.BusyTimeout)})
	if err != nil {
		return fmt.Errorf("acquiring %s: %w", r.App, err)
	}
	return nil
}
