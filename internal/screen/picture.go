package screen

import (
	"maps"
	"slices"
	"time"

	"github.com/serin-cd/serin/pkg/release/status"
	"github.com/serin-cd/serin/pkg/task/parameter"
	"github.com/serin-cd/serin/pkg/task/run"
)

// picture is what is known of a run.
type picture struct {
	run             status.Run
	serving, canary string
	weight          parameter.Weight
	since           time.Time // the weight was written
	phase           run.Phase
	plan            []string // names of tasks
	tasks           map[string]status.Task
	judging         *status.Judging
	events          []event
	unread          []string
	ended           bool
}

type event struct {
	at   time.Time
	text string
}

func newPicture(r status.Run) picture {
	return picture{run: r, serving: "-", canary: "-", tasks: map[string]status.Task{}}
}

// with is the picture after a change.
func (p picture) with(c status.Change) picture {
	switch {
	case c.Weight != nil:
		p.weight, p.since = c.Weight.Weight, c.Weight.At
	case c.Phase != "":
		if p.phase = c.Phase; p.phase == run.Closed {
			p.weight = 0 // whatever the run ends as, the primary serves everyone
		}
	case c.Task != nil:
		p.tasks = maps.Clone(p.tasks)
		p.tasks[c.Task.Name] = *c.Task
		if !slices.Contains(p.plan, c.Task.Name) {
			p.plan = append(slices.Clone(p.plan), c.Task.Name)
		}
	case c.Plan != nil:
		p.plan = c.Plan
	case c.Serving != nil:
		p.serving = c.Serving.String()
	case c.Canary != nil:
		p.canary = c.Canary.String()
	case c.Judging != nil:
		p.judging = c.Judging
	case c.Event != "":
		p.events = append(slices.Clone(p.events), event{c.At, c.Event})
		slices.SortStableFunc(p.events, func(a, b event) int { return a.at.Compare(b.at) })
	case c.Unread != "":
		p.unread = append(slices.Clone(p.unread), c.Unread)
	case c.Ended != nil:
		p.run, p.ended = *c.Ended, true
	}
	return p
}

// numbers are those of the stage that is judged or was judged last.
func (p picture) numbers() *status.Judging {
	j := p.judging
	if j != nil && p.tasks[j.Task].Evidence == nil {
		return j
	}
	var last status.Task
	for _, t := range p.tasks {
		if t.Evidence != nil && t.Ended.After(last.Ended) {
			last = t
		}
	}
	if last.Evidence == nil || j != nil && j.Task != last.Name {
		return j
	}
	final := status.Judging{}
	if j != nil {
		final = *j // how long requests took, and the bounds
	}
	final.Task, final.Evidence = last.Name, *last.Evidence
	return &final
}

// current is the task that is at work, or the one after the last that has ended.
func (p picture) current() int {
	at := 0
	for i, name := range p.plan {
		if t, begun := p.tasks[name]; begun {
			at = i
			if t.Ended.IsZero() {
				return i
			}
		}
	}
	return at
}
