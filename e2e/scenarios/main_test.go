package scenarios

import (
	"context"
	"fmt"
	"maps"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/semaphore"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/serin-cd/serin/e2e/load"
	"github.com/serin-cd/serin/e2e/sandbox"
	"github.com/serin-cd/serin/e2e/trial"
	"github.com/serin-cd/serin/pkg/task/run"
)

var cronJobs = schema.GroupVersionResource{Group: "batch", Version: "v1", Resource: "cronjobs"}

// shared is Serin on the sandbox that all scenarios share. It starts when the first scenario asks for it.
var shared struct {
	sync.Once
	sandbox      *sandbox.Sandbox
	installation *trial.Installation
	err          error
}

// atEnd is what remains to be done after the last scenario.
var atEnd []func() error

func TestMain(m *testing.M) {
	code := m.Run()
	for _, f := range atEnd {
		if err := f(); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
	if sb := shared.sandbox; sb != nil {
		if code != 0 {
			logs(sb)
		}
		if os.Getenv("SERIN_SANDBOX") == "" {
			if err := sb.Down(); err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
		}
	}
	os.Exit(code)
}

// installed is Serin on the sandbox that SERIN_SANDBOX names, or on one of the tests' own.
func installed(t *testing.T) *trial.Installation {
	t.Helper()
	shared.Do(func() {
		ctx := context.Background()
		if shared.sandbox, shared.err = use(ctx); shared.err == nil {
			shared.installation, shared.err = trial.Install(ctx, shared.sandbox, os.Stderr)
		}
	})
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.installation
}

func use(ctx context.Context) (*sandbox.Sandbox, error) {
	if name := os.Getenv("SERIN_SANDBOX"); name != "" {
		return sandbox.Attach(name)
	}
	return sandbox.Up(ctx, sandbox.Options{Name: "scenarios", Out: os.Stderr, Flagger: true, Triggers: true})
}

func logs(sb *sandbox.Sandbox) {
	for _, name := range sb.LogNames() {
		tail, err := sb.LogTail(name, 15)
		if err != nil {
			tail = err.Error()
		}
		fmt.Fprintf(os.Stderr, "--- last lines of %s\n%s\n", name, tail)
	}
}

// play is one scenario: an application of its own, under load.
type play struct {
	*testing.T
	app  *trial.App
	stop func() *load.Report
}

// places are for the applications that are released at once: as many as two processors play without being late. The
// flag -parallel of go test must not be less.
var places = semaphore.NewWeighted(10)

// parallel lets the test play this many applications beside others as soon as there are places. leave gives the place
// of one back before the test ends.
func parallel(t *testing.T, applications int64) (leave func()) {
	t.Helper()
	if testing.Short() {
		t.Skip("needs a sandbox, which -short leaves out")
	}
	if applications == 1 {
		t.Parallel()
	}
	if err := places.Acquire(t.Context(), applications); err != nil {
		t.Fatal(err)
	}
	if applications > 1 {
		t.Parallel() // first of all: those that wait for many places keep the others waiting, too
	}
	began := time.Now() // go test counts from when it waits for its place
	t.Cleanup(func() {
		places.Release(applications)
		t.Logf("played for %s", time.Since(began).Round(time.Second))
	})
	return func() {
		applications--
		places.Release(1)
	}
}

// deploy makes the scenario's application with version 1, not yet released.
func deploy(t *testing.T) *play {
	t.Helper()
	parallel(t, 1)
	name := strings.ToLower(strings.TrimPrefix(t.Name(), "Test"))
	ns := fmt.Sprintf("%s-%d", name[:min(len(name), 40)], time.Now().UnixNano()%1e6)
	app, err := installed(t).NewApp(t.Context(), ns, "shop", trial.V1)
	if err != nil {
		t.Fatal(err)
	}
	p := &play{T: t, app: app, stop: func() *load.Report { return &load.Report{} }}
	p.janitor(false)
	t.Cleanup(func() {
		p.stop()
		if t.Failed() {
			p.tell()
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := app.Remove(ctx); err != nil {
			t.Error(err)
		}
	})
	return p
}

// janitor lets that of the application's namespace work, or not. It starts a pod each minute, which is more than all
// releases beside it do: a scenario that does not need it is without.
func (p *play) janitor(works bool) {
	p.Helper()
	patch := fmt.Sprintf(`{"spec":{"suspend":%v}}`, !works)
	if err := p.app.Patch(p.Context(), cronJobs, "serin-janitor", types.MergePatchType, patch); err != nil {
		p.Fatal(err)
	}
}

// released makes the scenario's application, which has had its first release, and sends it requests.
func released(t *testing.T, rate int) *play {
	t.Helper()
	return deploy(t).first(rate)
}

// first is a first release without a PipelineRun: those with one have scenarios of their own.
func (p *play) first(rate int) *play {
	p.Helper()
	if err := p.app.Initialize(p.Context(), ""); err != nil {
		p.Fatal(err)
	}
	p.atRest("the first release")
	if rate > 0 {
		p.eventually("the gateway knows the route", func(trial.State) bool { return p.app.Reached(p.Context()) })
		p.load(rate)
	}
	return p
}

// load sends requests until the scenario ends or the load is stopped.
func (p *play) load(rate int) {
	stop := p.app.Load(context.WithoutCancel(p.Context()), rate, nil)
	done := false
	var report *load.Report
	p.stop = func() *load.Report {
		if !done {
			report, done = stop(), true
		}
		return report
	}
}

// start starts the Pipeline canary with the classic judge.
func (p *play) start(name string, params map[string]string) *trial.Run {
	p.Helper()
	return p.startWith(name, classic(params))
}

// classic adds the choice of that judge to parameters.
func classic(params map[string]string) map[string]string {
	all := map[string]string{"judge": "classic"}
	maps.Copy(all, params)
	return all
}

// startWith starts the Pipeline canary with these parameters.
func (p *play) startWith(name string, params map[string]string) *trial.Run {
	p.Helper()
	r, err := p.app.Start(p.Context(), "canary", name, params)
	if err != nil {
		p.Fatal(err)
	}
	return r
}

func (p *play) push(v trial.Version) {
	p.Helper()
	if err := p.app.Push(p.Context(), v); err != nil {
		p.Fatal(err)
	}
}

// ends waits for a run and checks its outcome, and that the application is at rest after it.
func (p *play) ends(r *trial.Run, outcome run.Outcome, succeeds bool) trial.Result {
	p.Helper()
	result, err := r.Wait(p.Context(), 8*time.Minute)
	if err != nil {
		p.Fatal(err)
	}
	if got := run.Outcome(result.Results["outcome"]); got != outcome || result.Succeeded != succeeds {
		p.Errorf("run %s: outcome %q, succeeded %v (%s), want %q, %v\nresults: %v\ntasks: %v",
			r.Name, got, result.Succeeded, result.Reason, outcome, succeeds, result.Results, result.Tasks)
	}
	p.atRest("run " + r.Name)
	return result
}

// atRest checks that the application is at rest after something.
func (p *play) atRest(after string) {
	p.Helper()
	s := p.state()
	if s.Weight != 0 || s.Target != 0 || s.Apex != "shop-primary" || s.Record.Open() {
		p.Errorf("after %s: canary weight %d, target with %d pods, apex Service selects %q, record %s: want it at rest",
			after, s.Weight, s.Target, s.Apex, s.Record)
	}
}

func (p *play) state() trial.State {
	p.Helper()
	s, err := p.app.State(p.Context())
	if err != nil {
		p.Fatal(err)
	}
	return s
}

func (p *play) serves(v trial.Version) {
	p.Helper()
	if s := p.state(); s.Serves != v.Image() {
		p.Errorf("the primary runs %s, want %s", s.Serves, v.Image())
	}
}

// eventually waits up to four minutes for a state.
func (p *play) eventually(what string, holds func(trial.State) bool) {
	p.Helper()
	err := p.app.Eventually(p.Context(), 4*time.Minute, what, func(ctx context.Context) (bool, error) {
		s, err := p.app.State(ctx)
		return err == nil && holds(s), err
	})
	if err != nil {
		p.Fatal(err)
	}
}

// lost are the requests that failed, by the version that answered; "unknown" is nobody's answer.
func (p *play) lost() map[string]int {
	lost := map[string]int{}
	for version, c := range p.stop().Total.Versions {
		if c.Failed > 0 {
			lost[version] = c.Failed
		}
	}
	return lost
}

// nothingLost fails the scenario if any request failed that these versions did not answer themselves.
func (p *play) nothingLost(but ...trial.Version) {
	p.Helper()
	lost := p.lost()
	for _, v := range but {
		delete(lost, string(v))
	}
	if len(lost) == 0 {
		return
	}
	p.Errorf("requests that failed, by version: %v, want none (beside %v)", lost, but)
	for _, s := range p.stop().Seconds {
		if s.Failed > 0 {
			p.Logf("%s: %d of %d failed, statuses %v, by version %v, slowest %s", s.From.Format("15:04:05"), s.Failed,
				s.Requests, s.Statuses, s.Versions, s.Latency.Max)
		}
	}
}

// tell prints all that there is to know about a scenario that failed.
func (p *play) tell() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var text strings.Builder
	events, _ := p.app.Events(ctx)
	fmt.Fprintf(&text, "events:\n  %s\n", strings.Join(events, "\n  "))
	pods, _ := p.app.Kubectl(ctx, "", "get", "pipelineruns,taskruns,pods,virtualservices", "-o", "wide")
	fmt.Fprintln(&text, pods)
	for _, name := range []string{"first", "second", "third"} {
		r := &trial.Run{App: p.app, Name: name}
		_ = r.Logs(ctx, &text)
	}
	p.Log(text.String())
}
