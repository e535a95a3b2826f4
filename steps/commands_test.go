package steps_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/serin-cd/serin/internal/apitest"
	"github.com/serin-cd/serin/internal/releasetest"
	"github.com/serin-cd/serin/pkg/release"
	"github.com/serin-cd/serin/pkg/release/lease"
	"github.com/serin-cd/serin/pkg/release/prepare"
	"github.com/serin-cd/serin/pkg/release/promote"
	"github.com/serin-cd/serin/pkg/release/stage"
	"github.com/serin-cd/serin/pkg/task/parameter"
)

// theatre is what a script plays in.
type theatre struct {
	t       *testing.T
	app     *releasetest.App
	way     *way
	proxies *proxies

	last []string // what exits was given last
}

type command = func(ts *testscript.TestScript, neg bool, args []string)

// commands are those that scripts have beside testscript's own.
func (s *theatre) commands() map[string]command {
	return map[string]command{
		// exits CODE PROGRAM runs a program and wants an exit code of it.
		"exits": s.exits,
		// granted CODE PROGRAM is exits, and wants that the API server has refused it nothing.
		"granted": s.granted,
		// again runs that program once more and wants the same exit code, the same results, and no object changed.
		"again": s.again,
		// refuses PROGRAM NAME=VALUE TEXT wants a parameter refused: exit code 2, and this text in the result reason.
		"refuses": s.refuses,
		// result NAME VALUE wants a result, byte for byte.
		"result": s.result,
		// away cuts the way to the API server.
		"away": func(*testscript.TestScript, bool, []string) { s.way.cut(true) },
		// terminate waits until the program in the background has tried twice to reach the API server, and tells it to
		// end.
		"terminate": s.terminate,
		// back opens the way again.
		"back": func(*testscript.TestScript, bool, []string) { s.way.cut(false) },

		// run NAME makes a PipelineRun, if there is none of the name, and sets the environment to its identity.
		"run": s.run,
		// finish NAME ends a PipelineRun, as Tekton does.
		"finish": func(_ *testscript.TestScript, _ bool, args []string) { s.app.Finish(args[0]) },
		// released has version 1 released.
		"released": func(*testscript.TestScript, bool, []string) { s.app.First() },
		// scaled gives the target a HorizontalPodAutoscaler of 2 to 5 pods.
		"scaled": func(*testscript.TestScript, bool, []string) { s.app.Apply(releasetest.HPA) },
		// push VERSION gives the target another image.
		"push": func(_ *testscript.TestScript, _ bool, args []string) { s.app.Push(args[0]) },
		// prepared has the run's canary prepared, shifted WEIGHT gives it a share, promoted makes it the primary, and
		// closed REASON takes its traffic.
		"prepared": s.prepared,
		"shifted":  s.shifted,
		"promoted": s.promoted,
		"closed":   s.closed,
		// installed installs the Pipeline canary.
		"installed": s.installed,
		// concludes OUTCOME [VERDICT] waits for a PipelineRun that was started and has not begun, and ends it so, as
		// Tekton does.
		"concludes": s.concludes,
		// started waits for a PipelineRun that was started and has not begun.
		"started": func(ts *testscript.TestScript, _ bool, _ []string) { s.begun(ts) },
		// labelled KEY=VALUE gives the target a label.
		"labelled": s.labelled,
		// pods VERSION ready|unready says how the pods of a version are.
		"pods": func(_ *testscript.TestScript, _ bool, args []string) {
			s.app.Node.Image(releasetest.Image(args[0]), apitest.Condition{Ready: args[1] == "ready"})
		},
		// unreadyprimary VERSION keeps the primary's pods of a version from being ready.
		"unreadyprimary": func(_ *testscript.TestScript, _ bool, args []string) { s.app.UnreadyPrimary(args[0]) },
		// requests GOOD BAD is how many requests a second the canary answers.
		"requests": func(ts *testscript.TestScript, _ bool, args []string) {
			s.proxies.send(number(ts, args[0]), number(ts, args[1]))
		},
		// state KEY=VALUE… compares who serves, and how the run stands: the weight of the canary, the phase, outcome
		// and stages of the record, the replicas of the target and how many are available, the version of the primary,
		// the application that the apex Service selects, and which run is holder of the Lease, or waiting for it.
		"state": s.state,
		// becomes KEY=VALUE… waits until they are so.
		"becomes": s.becomes,
		// get RESOURCE [NAME] PATH prints what a JSONPath finds in the cluster.
		"get": s.get,
	}
}

func number(ts *testscript.TestScript, text string) float64 {
	n, err := strconv.ParseFloat(text, 64)
	ts.Check(err)
	return n
}

// results are all that programs may be asked for.
var results = []string{"turn", "outcome", "revision", "verdict", "reason", "evidence", "apps", "runs", "failed"}

func (s *theatre) exits(ts *testscript.TestScript, _ bool, args []string) {
	s.last = args
	for _, name := range results { // a step begins without any
		if path := ts.Getenv("RESULT_" + parameter.Key(name)); path != "" {
			ts.Check(os.RemoveAll(ts.MkAbs(path)))
		}
	}
	code := 0
	err := ts.Exec(args[1])
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if want, _ := strconv.Atoi(args[0]); code != want {
		ts.Fatalf("%s exits %d, want %d", args[1], code, want)
	}
}

// written are the results of the last program.
func written(ts *testscript.TestScript) map[string]string {
	all := map[string]string{}
	for _, name := range results {
		path := ts.Getenv("RESULT_" + parameter.Key(name))
		if text, err := os.ReadFile(ts.MkAbs(path)); path != "" && err == nil {
			all[name] = string(text)
		}
	}
	return all
}

func (s *theatre) again(ts *testscript.TestScript, _ bool, _ []string) {
	results, objects := written(ts), s.objects(ts)
	s.exits(ts, false, s.last)
	if now := written(ts); !equal(results, now) {
		ts.Fatalf("results of %s again: %v, want %v", s.last[1], now, results)
	}
	if now := s.objects(ts); !equal(objects, now) {
		ts.Fatalf("%s again has changed something: %v", s.last[1], changed(objects, now))
	}
}

func (s *theatre) refuses(ts *testscript.TestScript, _ bool, args []string) {
	program, text := args[0], args[2]
	name, value, _ := strings.Cut(args[1], "=")
	key := "PARAM_" + parameter.Key(name)
	before := ts.Getenv(key)
	ts.Setenv(key, value)
	ts.Setenv("RESULT_REASON", "reason")
	s.exits(ts, false, []string{"2", program})
	ts.Setenv(key, before)
	if got := ts.ReadFile("reason"); !strings.HasPrefix(got, "config: ") || !strings.Contains(got, text) {
		ts.Fatalf("reason %q, want config: and %q in it", got, text)
	}
}

func (s *theatre) result(ts *testscript.TestScript, _ bool, args []string) {
	if got := ts.ReadFile(ts.Getenv("RESULT_" + parameter.Key(args[0]))); got != args[1] {
		ts.Fatalf("result %s is %q, want %q", args[0], got, args[1])
	}
}

func (s *theatre) terminate(ts *testscript.TestScript, _ bool, _ []string) {
	until(ts, "the program has tried twice to reach the API server", func() bool { return s.way.tries() >= 2 })
	for _, program := range ts.BackgroundCmds() {
		ts.Check(program.Process.Signal(syscall.SIGTERM))
	}
}

func (s *theatre) run(ts *testscript.TestScript, _ bool, args []string) {
	id := s.app.PipelineRun(args[0]).ID
	ts.Setenv("RUN_NAME", id.Name)
	ts.Setenv("RUN_UID", id.UID)
}

// current is the application in the hands of the script's run.
func (s *theatre) current(ts *testscript.TestScript) *release.Release {
	return s.app.PipelineRun(ts.Getenv("RUN_NAME"))
}

func (s *theatre) prepared(ts *testscript.TestScript, _ bool, _ []string) {
	r := s.current(ts)
	_, err := prepare.Acquire(s.t.Context(), r, prepare.Queue{OnBusy: prepare.Fail})
	ts.Check(err)
	_, err = s.app.Prepare(r)
	ts.Check(err)
}

func (s *theatre) shifted(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(stage.Shift(s.t.Context(), s.current(ts), parameter.Weight(number(ts, args[0])), time.Minute))
}

func (s *theatre) promoted(ts *testscript.TestScript, neg bool, _ []string) {
	deadline := time.Minute
	if neg {
		deadline = time.Second
	}
	if _, err := promote.Run(s.t.Context(), s.current(ts), deadline); (err != nil) != neg {
		ts.Fatalf("promoting: %v", err)
	}
}

func (s *theatre) closed(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(s.current(ts).Close(s.t.Context(), args[0], args[0]))
}

func (s *theatre) state(ts *testscript.TestScript, _ bool, args []string) {
	if got, ok := s.is(args); !ok {
		ts.Fatalf("state %v, want %v", got, args)
	}
}

// is compares the state with KEY=VALUE pairs.
func (s *theatre) is(pairs []string) (state map[string]string, ok bool) {
	state, ok = map[string]string{}, true
	for _, pair := range pairs {
		key, value, _ := strings.Cut(pair, "=")
		state[key] = s.now(key)
		ok = ok && state[key] == value
	}
	return state, ok
}

// now is one part of the state.
func (s *theatre) now(key string) string {
	switch key {
	case "weight":
		return fmt.Sprint(s.app.State().Weight)
	case "phase":
		return string(s.app.State().Phase)
	case "outcome":
		return string(s.app.State().Outcome)
	case "stages":
		return fmt.Sprint(s.app.State().Stages)
	case "target":
		return fmt.Sprint(s.app.State().Target)
	case "primary":
		return strings.TrimPrefix(s.app.State().Primary, releasetest.Image(""))
	case "apex":
		return s.app.Apex()
	case "available":
		return fmt.Sprint(s.app.Deployment("podinfo").Status.AvailableReplicas)
	case "holder", "waiting":
		return s.queue(key)
	}
	return "not known"
}

// queue is the name of the run that holds the Lease, or that waits for it.
func (s *theatre) queue(key string) string {
	now, err := s.app.Run("observer").Lease.Get(s.t.Context())
	if err != nil {
		return err.Error()
	}
	text := lease.Holder(now)
	if key == "waiting" {
		text = now.Annotations["serin.dev/waiting"]
	}
	parts := strings.Split(text, "/")
	if len(parts) < 3 {
		return text
	}
	return parts[1]
}

func (s *theatre) becomes(ts *testscript.TestScript, _ bool, args []string) {
	until(ts, strings.Join(args, " "), func() bool { _, ok := s.is(args); return ok })
}

// until waits for a condition, for half a minute at most.
func until(ts *testscript.TestScript, what string, holds func() bool) {
	end, tick := time.After(30*time.Second), time.NewTicker(20*time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-end:
			ts.Fatalf("%s: not after 30 s", what)
		case <-tick.C:
		}
	}
}
