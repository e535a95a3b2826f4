package timeout

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/serin-cd/serin/pkg/task/failure"
)

// wait is a parameter for which tasks may have to wait in full.
type wait struct {
	parameter string
	value     time.Duration
	tasks     []string
}

// Check refuses, with all reasons at once, parameters that can never fit: one of them alone, with the start of the pod,
// takes longer than a task may. It compares no sums, of waits that mostly end early. What is 0 is not checked.
func (t Tasks) Check(n Need) error {
	var refusals failure.Refusals
	for _, w := range slices.Concat([]wait{
		{"busy-timeout", n.Busy, []string{"prepare", "release"}},
		{"progress-deadline", n.Progress, []string{"prepare", "stage", "prove", "promote", "release", "finish"}},
	}, n.deadlines(), []wait{
		{"drain", n.Drain, []string{"promote", "release", "finish"}},
		{"drain-deadline", n.DrainDeadline, []string{"promote", "release", "finish"}},
	}) {
		if ends := t.endBefore(w); w.value > 0 && len(ends) > 0 {
			refusals.Addf("reading %s: %s and %s to start the pod, want no more than %s: lower it, or write a "+
				"Pipeline with `tkn canary render --%s %s`", w.parameter, Short(w.value), Short(start),
				strings.Join(ends, ", "), w.parameter, Short(w.value))
		}
	}
	return refusals.Err()
}

// deadlines are the waits of stages: one where the last stage has no deadline of its own, so that one refusal names
// all.
func (n Need) deadlines() []wait {
	if n.proving() == n.Deadline {
		return []wait{{"deadline", n.Deadline, []string{"stage", "prove", "release"}}}
	}
	return []wait{{"deadline", n.Deadline, []string{"stage", "release"}},
		{"deadline", n.Prove, []string{"prove", "release"}}}
}

// endBefore are the tasks that end before the wait would, with their time-outs.
func (t Tasks) endBefore(w wait) (ends []string) {
	for _, task := range t.all() {
		if *task.of > 0 && start+w.value > *task.of && slices.Contains(w.tasks, task.name) {
			ends = append(ends, fmt.Sprintf("%s of task %s", Short(*task.of), task.name))
		}
	}
	return ends
}
