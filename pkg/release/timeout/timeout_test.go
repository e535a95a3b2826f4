package timeout_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/serin-cd/serin/pkg/release/timeout"
	"github.com/serin-cd/serin/pkg/task/failure"
)

// shipped are the parameters of the Pipeline canary.
func shipped(change func(*timeout.Need)) timeout.Need {
	n := timeout.Need{Busy: time.Minute, Progress: time.Minute, Rollout: 2 * time.Minute, Drain: 10 * time.Second,
		Deadline: 7 * time.Minute, Settle: 5 * time.Second}
	if change != nil {
		change(&n)
	}
	return n
}

func TestWhatTasksNeed(t *testing.T) {
	cases := map[string]struct {
		change func(*timeout.Need)
		want   string
	}{
		"as shipped": {nil, "prepare=7m30s,stage=8m30s,prove=8m30s,promote=5m,finish=6m"},
		"slow pods": {func(n *timeout.Need) { n.Progress *= 3; n.Rollout *= 3 },
			"prepare=17m30s,stage=10m30s,prove=10m30s,promote=11m,finish=10m"},
		"many pods": {func(n *timeout.Need) { n.Rollout = time.Hour },
			"prepare=2h3m30s,stage=8m30s,prove=8m30s,promote=1h3m,finish=1h4m"},
		"a queue": {func(n *timeout.Need) { n.Busy = time.Hour },
			"prepare=1h6m30s,stage=8m30s,prove=8m30s,promote=5m,finish=6m"},
		"a long drain": {func(n *timeout.Need) { n.Drain = 5 * time.Minute },
			"prepare=11m30s,stage=8m30s,prove=8m30s,promote=9m,finish=8m"},
		"late samples": {func(n *timeout.Need) { n.Settle = 2 * time.Minute },
			"prepare=7m30s,stage=10m30s,prove=10m30s,promote=5m,finish=6m"},
		"long stages": {func(n *timeout.Need) { n.Deadline = 3 * time.Hour },
			"prepare=7m30s,stage=3h1m30s,prove=3h1m30s,promote=5m,finish=6m"},
		"the last stage longer": {func(n *timeout.Need) { n.Deadline, n.Prove = 10*time.Minute, 15*time.Minute },
			"prepare=7m30s,stage=11m30s,prove=16m30s,promote=5m,finish=6m"},
		"odd durations": {func(n *timeout.Need) { n.Progress += time.Second },
			"prepare=8m,stage=9m,prove=9m,promote=5m30s,finish=6m"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			need := shipped(c.change)
			got := need.Tasks()
			if got.String() != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
			if err := got.Check(need); err != nil {
				t.Errorf("computed from these parameters, but: %v", err)
			}
			if err := got.Compact(3).Check(need); err != nil {
				t.Errorf("computed from these parameters, in one pod, but: %v", err)
			}
			var read timeout.Tasks
			if err := read.EnvDecode(got.String()); err != nil || read != got {
				t.Errorf("read again %v (%v), want %v", read, err, got)
			}
		})
	}
}

func TestWhatCannotFitIsRefused(t *testing.T) {
	tasks := shipped(nil).Tasks()
	cases := map[string]struct {
		tasks  timeout.Tasks
		change func(*timeout.Need)
		want   string // empty: it fits
	}{
		"just so": {tasks, func(n *timeout.Need) { n.Progress = 4*time.Minute + 30*time.Second },
			""},
		"progress-deadline": {tasks, func(n *timeout.Need) { n.Progress = 10 * time.Minute },
			"reading progress-deadline: 10m and 30s to start the pod, want no more than 7m30s of task prepare, " +
				"8m30s of task stage, 8m30s of task prove, 5m of task promote, 6m of task finish: lower it, or write " +
				"a Pipeline with `tkn canary render --progress-deadline 10m`"},
		"deadline": {tasks, func(n *timeout.Need) { n.Deadline = 15 * time.Minute },
			"reading deadline: 15m and 30s to start the pod, want no more than 8m30s of task stage, " +
				"8m30s of task prove: "},
		"the last stage's deadline": {tasks, func(n *timeout.Need) { n.Prove = 15 * time.Minute },
			"reading deadline: 15m and 30s to start the pod, want no more than 8m30s of task prove: "},
		"drain": {tasks, func(n *timeout.Need) { n.Drain = 5 * time.Minute },
			"reading drain: 5m and 30s to start the pod, want no more than 5m of task promote: "},
		"busy-timeout": {tasks, func(n *timeout.Need) { n.Busy = 30 * time.Minute },
			"reading busy-timeout: 30m and 30s to start the pod, want no more than 7m30s of task prepare: "},
		"two": {tasks, func(n *timeout.Need) { n.Busy, n.Drain = time.Hour, time.Hour },
			"(1) reading busy-timeout: 1h and"},
		"in one pod": {tasks.Compact(3), func(n *timeout.Need) { n.Deadline = time.Hour },
			"reading deadline: 1h and 30s to start the pod, want no more than 36m of task release: "},
		"none known": {timeout.Tasks{}, func(n *timeout.Need) { n.Progress = 100 * time.Hour }, ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			err := c.tasks.Check(shipped(c.change))
			switch {
			case c.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case c.want != "" && (!errors.Is(err, failure.ErrConfig) || !strings.HasPrefix(err.Error(), c.want)):
				t.Errorf("error %v, want one of configuration, %q", err, c.want)
			}
		})
	}
}

func TestOtherTextsAreNoTimeouts(t *testing.T) {
	for _, text := range []string{"prepare", "prepare=", "prepare=5", "prepare=0s", "prepare=-1m", "pay=5m", "=5m",
		"prepare=5m,", "prepare=5m;stage=4m"} {
		var read timeout.Tasks
		if err := read.EnvDecode(text); err == nil {
			t.Errorf("%q read as %v, want an error", text, read)
		}
	}
	read := timeout.Tasks{Prepare: time.Minute}
	if err := read.EnvDecode(""); err != nil || read != (timeout.Tasks{}) {
		t.Errorf("an empty text read as %v (%v), want none", read, err)
	}
}
