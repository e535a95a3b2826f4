package pipeline

import (
	"fmt"
	"slices"
	"strings"
	"time"

	tekton "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serin-cd/serin/pkg/judge"
	"github.com/serin-cd/serin/pkg/judge/verdict"
	"github.com/serin-cd/serin/pkg/release/timeout"
)

// hour is Tekton's default timeout of a PipelineRun. A run that exceeds it ends without its finally.
const hour = time.Hour

const (
	finishRetries = 2
	reserve       = time.Minute // for Tekton itself
	// least is how long a stage is judged at least beyond its time-box and its dwell.
	least = 30 * time.Second
)

// boxed and proved are how long the judge itself judges a stage at most: one that has a time box, and the last, which
// has to prove the canary.
var boxed, proved = judge.Config{Judge: verdict.Sequential}.Longest()

// Weights are those of the stages that are shipped, in percent.
var Weights = []int{20, 40, 60}

// Plan is what may be chosen of a Pipeline. What decides how long tasks may take has the name of the parameter whose
// default it becomes.
type Plan struct {
	Name         string
	Compact      bool          // all in one pod, before finally
	Weights      []int         // percent, ascending
	StageTimeout time.Duration // 0: what its deadline needs
	Rollout      time.Duration // how long all pods of a Deployment may take; 0: the progress deadline and a minute

	BusyTimeout      time.Duration
	ProgressDeadline time.Duration
	Drain            time.Duration
	DrainDeadline    time.Duration // 0: a minute, or the drain
	Interval         time.Duration
	Threshold        int
	Checks           int
	TimeBox          time.Duration // 0: twice the interval
	Deadline         time.Duration // 0: the judge's own, or what fits into Tekton's hour
	Settle           time.Duration
}

// Shipped is the plan of the Pipeline canary.
func Shipped() Plan {
	return Plan{
		Name: "canary", Weights: slices.Clone(Weights), BusyTimeout: time.Minute, ProgressDeadline: time.Minute,
		Drain: 10 * time.Second, Interval: time.Minute, Threshold: 5, Checks: 1, Settle: 5 * time.Second,
	}
}

// ShippedCompact is the plan of the Pipeline canary-compact.
func ShippedCompact() Plan {
	p := Shipped()
	p.Name, p.Compact = "canary-compact", true
	return p
}

// check refuses a plan that cannot be kept.
func (p Plan) check() error {
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789-"
	if p.Name == "" || len(p.Name) > 63 || strings.Trim(p.Name, letters) != "" || strings.Trim(p.Name, "-") != p.Name {
		return fmt.Errorf("rendering a Pipeline: name %q, want lowercase letters, digits and dashes", p.Name)
	}
	if len(p.Weights) == 0 {
		return fmt.Errorf("rendering %s: no weights, want at least one", p.Name)
	}
	if p.Compact && !slices.Equal(p.Weights, Weights) {
		return fmt.Errorf("rendering %s: weights %s in one pod, want %s: they are steps of the Task canary-compact",
			p.Name, joined(p.Weights, ","), joined(Weights, ","))
	}
	last := 0
	for _, w := range p.Weights {
		if w < 1 || w > 99 {
			return fmt.Errorf("rendering %s: weight %d, want 1 to 99", p.Name, w)
		}
		if w <= last {
			return fmt.Errorf("rendering %s: weight %d after %d, want them ascending", p.Name, w, last)
		}
		last = w
	}
	return p.checkTimes()
}

// checkTimes refuses times that are none, or that contradict each other.
func (p Plan) checkTimes() error {
	for _, f := range p.flags() {
		if f.value < 0 || f.value == 0 && f.usual != 0 {
			return fmt.Errorf("rendering %s: %s %s, want more than 0", p.Name, f.name, f.text())
		}
	}
	if p.rollout() < p.ProgressDeadline {
		return fmt.Errorf("rendering %s: rollout timeout %s, want at least the progress deadline, %s",
			p.Name, timeout.Short(p.Rollout), timeout.Short(p.ProgressDeadline))
	}
	if p.Deadline > 0 && p.Deadline < p.shortest()-least {
		return fmt.Errorf("rendering %s: deadline %s, want at least the interval and the time box, %s",
			p.Name, timeout.Short(p.Deadline), timeout.Short(p.shortest()-least))
	}
	return nil
}

func (p Plan) rollout() time.Duration {
	if p.Rollout > 0 {
		return p.Rollout
	}
	return timeout.Rollout(p.ProgressDeadline)
}

// shortest is how long a stage must be judged for to come to a verdict.
func (p Plan) shortest() time.Duration {
	box := p.TimeBox
	if box == 0 {
		box = 2 * p.Interval
	}
	return max(box, p.Interval) + least
}

// enough is how long a stage is judged for at least where there is room: time for all checks of the classic judge, to
// pass or to fail, and one more.
func (p Plan) enough() time.Duration {
	return max(time.Duration(p.Checks+p.Threshold+1)*p.Interval, p.shortest())
}

// longest is how long each stage is judged for where there is room.
func (p Plan) longest() time.Duration { return max(proved, p.enough()) }

// fitted is the plan with its time-outs, and with a deadline if the judge's own do not fit into Tekton's hour: the
// longest that does. One who asks for a deadline or a stage timeout may go beyond the hour.
func (p Plan) fitted() (Plan, timeout.Tasks, error) {
	if err := p.check(); err != nil {
		return p, timeout.Tasks{}, err
	}
	if p.StageTimeout > 0 {
		return p.within(p.StageTimeout)
	}
	if p.Deadline > 0 {
		return p, p.tasks(), nil
	}
	if p.enough() <= boxed && p.fits(p.tasks()) {
		return p, p.tasks(), nil
	}
	for p.Deadline = p.longest(); !p.fits(p.tasks()); p.Deadline -= least {
		if p.Deadline-least < p.shortest() {
			return p, timeout.Tasks{}, p.tooLong()
		}
	}
	return p, p.tasks(), nil
}

// within is the plan with a deadline that fits into the stage timeout that was asked for.
func (p Plan) within(stage time.Duration) (Plan, timeout.Tasks, error) {
	asked, need := p.Deadline, p.need()
	overhead := need.Stage() - need.Deadline
	room := stage - overhead
	if room < max(asked, p.shortest()) {
		return p, timeout.Tasks{}, fmt.Errorf("rendering %s: stage timeout %s, want at least %s: a stage is judged "+
			"for up to %s, and may wait %s for its pods", p.Name, timeout.Short(stage),
			timeout.Short(max(asked, p.shortest())+overhead), timeout.Short(max(asked, p.shortest())),
			timeout.Short(overhead))
	}
	if asked == 0 {
		p.Deadline = min(room, p.longest())
	}
	all := p.tasks()
	all.Stage, all.Prove = stage, stage
	return p, all, nil
}

// tooLong says what a run would need beyond Tekton's hour.
func (p Plan) tooLong() error {
	p.Deadline = p.longest()
	return fmt.Errorf("rendering %s: %d stages of at least %s do not fit into the hour that Tekton gives a run by "+
		"default: render with --deadline %s, and start its runs with timeouts.pipeline of %s", p.Name, len(p.Weights),
		timeout.Short(p.shortest()), timeout.Short(p.Deadline), timeout.Short(p.total(p.tasks())))
}

func (p Plan) need() timeout.Need {
	n := timeout.Need{Busy: p.BusyTimeout, Progress: p.ProgressDeadline, Rollout: p.rollout(), Drain: p.Drain,
		DrainDeadline: p.DrainDeadline, Deadline: p.Deadline, Settle: p.Settle}
	if p.Deadline == 0 {
		n.Deadline, n.Prove = boxed, proved
	}
	return n
}

func (p Plan) tasks() timeout.Tasks { return p.need().Tasks() }

// fits says whether a run that takes all its time ends within the hour. Where finish fails and is tried again at its
// very end, the janitor does its work.
func (p Plan) fits(t timeout.Tasks) bool { return p.before(t)+t.Finish+reserve <= hour }

// total is how long a run may take in all, with Tekton itself.
func (p Plan) total(t timeout.Tasks) time.Duration { return p.before(t) + finally(t) + reserve }

// before is how long the tasks before finally may take.
func (p Plan) before(t timeout.Tasks) time.Duration {
	return t.Prepare + time.Duration(len(p.Weights)-1)*t.Stage + t.Prove + t.Promote
}

func finally(t timeout.Tasks) time.Duration { return (1 + finishRetries) * t.Finish }

// Stages are the names of the tasks that are stages, none where all is one task.
func (p Plan) Stages() []string {
	var all []string
	for _, w := range p.Weights {
		if !p.Compact {
			all = append(all, stageName(w))
		}
	}
	return all
}

func stageName(weight int) string { return fmt.Sprintf("stage-%d", weight) }

func (p Plan) describe() string {
	if p.Compact {
		return "Releases a new version of an application to " + listed(p.Weights) + " % of its traffic, " +
			"as the Pipeline canary does, in a single task. It is about 3 s a stage faster. " +
			"The weights show only in its log."
	}
	return "Releases a new version of an application to " + listed(p.Weights) + " % of its traffic, " +
		"one stage after the other. It judges the version at each stage, then promotes it or takes it back. " +
		"The run fails if the canary is rejected: the primary then serves everyone, as before."
}

// listed is 20, 40 and 60.
func listed(weights []int) string {
	last := len(weights) - 1
	if last == 0 {
		return fmt.Sprint(weights[0])
	}
	return joined(weights[:last], ", ") + " and " + fmt.Sprint(weights[last])
}

func joined(weights []int, by string) string {
	return strings.ReplaceAll(strings.Trim(fmt.Sprint(weights), "[]"), " ", by)
}

// Roomy is the plan with the judge's own deadline where its stages do not fit into the hour that Tekton gives a run by
// default: its runs then need timeouts of their own.
func (p Plan) Roomy() Plan {
	if _, _, err := p.fitted(); err != nil && p.check() == nil && p.StageTimeout == 0 {
		p.Deadline = p.longest()
	}
	return p
}

// Timeouts are those that a run of the plan needs, nil where Tekton's own will do.
func (p Plan) Timeouts() (*tekton.TimeoutFields, error) {
	fitted, all, err := p.fitted()
	if err != nil || fitted.fits(all) {
		return nil, err
	}
	total := fitted.total(all)
	return &tekton.TimeoutFields{
		Pipeline: &metav1.Duration{Duration: total},
		Tasks:    &metav1.Duration{Duration: total - finally(all) - reserve/2},
		Finally:  &metav1.Duration{Duration: finally(all) + reserve/2},
	}, nil
}
