package timeout

import (
	"cmp"
	"time"
)

const (
	// start is how long a task's pod may take to run its first step.
	start = 30 * time.Second
	// drains is how long proxies have to stop sending, slowDrain what slow scraping may stretch that to.
	drains, slowDrain = time.Minute, 3 * time.Minute
	// reconnect is how long a promotion waits for proxies, once a control plane that was away is back.
	reconnect = 30 * time.Second
	// reporting is how long finish may take to tell of the run.
	reporting = 30 * time.Second
	// grid is what time-outs are rounded up to.
	grid = 30 * time.Second
)

// Need are the parameters that decide how long tasks take, by their names in the Pipeline.
type Need struct {
	Busy     time.Duration // busy-timeout
	Progress time.Duration // progress-deadline: of pods that make none
	Rollout  time.Duration // how long all pods of a Deployment may take together
	Drain    time.Duration // how long a canary's pods stay up at least
	Deadline time.Duration // how long a stage is judged at most
	Prove    time.Duration // the same of the last stage, which has to prove the canary; 0: as the others

	// drain-deadline: how long a canary's pods wait for proxies at most; 0: a minute, or as long as they stay up
	DrainDeadline time.Duration
	Settle        time.Duration // how long samples may take to reach Prometheus
}

// Rollout is how long all pods of a Deployment may take where nothing else is asked for.
func Rollout(progress time.Duration) time.Duration { return progress + time.Minute }

// Tasks are time-outs above all that each task may have to wait for.
func (n Need) Tasks() Tasks {
	return Tasks{Prepare: up(n.prepare()), Stage: up(n.Stage()), Prove: up(n.prove()),
		Promote: up(n.promote()), Finish: up(n.finish())}
}

// prepare waits for another run. Then it takes back one that was abandoned (its promotion undone, its canary drained
// and gone) and starts the canary; or, at a first release, it waits for target and primary and drains the target.
func (n Need) prepare() time.Duration {
	later := n.Rollout + n.drain() + n.Progress + n.Rollout
	first := n.Rollout + n.Rollout + n.drain()
	return start + n.Busy + max(later, first)
}

// Stage is how long a stage may take. It waits for pods that the canary lacks, and judges until there is a verdict.
func (n Need) Stage() time.Duration { return start + n.Progress + n.Deadline + n.late() }

// prove is how long the last stage may take.
func (n Need) prove() time.Duration {
	n.Deadline = n.proving()
	return n.Stage()
}

// proving is how long the last stage is judged at most.
func (n Need) proving() time.Duration { return cmp.Or(n.Prove, n.Deadline) }

// late is how long after its deadline a stage may wait for samples, beyond what rounding leaves.
func (n Need) late() time.Duration { return max(n.Settle-5*time.Second, 0) }

// promote waits for pods that the canary lacks, and for proxies if the control plane was away; then it rolls the
// primary out and drains the canary.
func (n Need) promote() time.Duration { return start + n.Progress + reconnect + n.Rollout + n.drain() }

// finish gives the primary its previous version back, drains the canary and reports.
func (n Need) finish() time.Duration {
	return start + n.Rollout + max(n.drain(), slowDrain) + reporting
}

func (n Need) drain() time.Duration {
	if n.DrainDeadline > 0 {
		return n.DrainDeadline
	}
	return max(n.Drain, drains)
}

// Compact is the time-out of a task that does all before finish in one pod.
func (t Tasks) Compact(stages int) Tasks {
	pods := time.Duration(stages+1) * start
	return Tasks{Release: t.Prepare + time.Duration(stages-1)*t.Stage + t.Prove + t.Promote - pods, Finish: t.Finish}
}

// up rounds up.
func up(d time.Duration) time.Duration { return (d + grid - 1).Truncate(grid) }
