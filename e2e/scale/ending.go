package scale

import (
	"math/rand/v2"
	"time"

	"github.com/serin-cd/serin/pkg/release/record"
	"github.com/serin-cd/serin/pkg/task/run"
)

// ending is how a release is played, and what must come of it.
type ending struct {
	name    string
	pushed  bool                      // there is a new version
	failing bool                      // a third of the new version's answers are errors
	due     func(*record.Record) bool // when it is disturbed, as the record tells; nil for never
	kill    *kill                     // of a step; nil: somebody labels the VirtualService instead
	outcome run.Outcome
}

// kill is the violent end of one step.
type kill struct {
	task, step string
	after      time.Duration // how long the step has run by then
}

var (
	healthy    = ending{name: "healthy", pushed: true, outcome: run.Promoted}
	bad        = ending{name: "bad canary", pushed: true, failing: true, outcome: run.RolledBack}
	unchanged  = ending{name: "unchanged", outcome: run.Unchanged}
	unattended = ending{name: "killed at 40 %", pushed: true, outcome: run.RolledBack,
		due:  func(r *record.Record) bool { return r.Weight() == 40 },
		kill: &kill{"stage-40", "analyze-metrics", 5 * time.Second}}
	// The step that promotes has read the route before, so that its next write conflicts.
	edited = ending{name: "edited while it promotes", pushed: true, outcome: run.Promoted, due: promotes}
	// Its new primary never becomes ready, so that the step is killed in the middle.
	halfway = ending{name: "killed while it promotes", pushed: true, outcome: run.RolledBack,
		due: promotes, kill: &kill{task: "promote", step: "promote-primary"}}
)

func promotes(r *record.Record) bool { return r.Phase == run.Promoting }

// least is how many applications are needed to play every ending.
const least = 6

// endings are one for each of n applications, in a mixed order that is always the same: a tenth is bad, a fiftieth has
// not changed, and as many are disturbed in each way.
func endings(n int) []ending {
	var all []ending
	add := func(e ending, count int) {
		for range max(count, 1) {
			all = append(all, e)
		}
	}
	add(bad, n/10)
	add(unchanged, n/50)
	add(unattended, n/50)
	add(halfway, n/50)
	add(edited, n/50)
	add(healthy, n-len(all))
	rand.New(rand.NewPCG(0, uint64(n))).Shuffle(n, func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}

// exit is the code that a step must end with; -1 is a signal.
func (e ending) exit(task, step string) int {
	switch {
	case e.kill != nil && e.kill.task == task && e.kill.step == step:
		return -1
	case e.failing && task == "stage-20" && step == "analyze-metrics":
		return 3
	}
	return 0
}

// succeeds says whether the PipelineRun does.
func (e ending) succeeds() bool { return e.outcome == run.Promoted || e.outcome == run.Unchanged }
