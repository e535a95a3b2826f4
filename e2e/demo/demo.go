package demo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"k8s.io/apimachinery/pkg/util/rand"

	"github.com/serin-cd/serin/e2e/load"
	"github.com/serin-cd/serin/e2e/sandbox"
	"github.com/serin-cd/serin/e2e/trial"
	"github.com/serin-cd/serin/pkg/task/run"
)

// rate is the load, in requests a second.
const rate = 150

// act is one release of the story, and how it must end.
type act struct {
	title   string
	version trial.Version
	wants   run.Outcome
	serves  trial.Version // afterwards
	fails   bool          // whether the PipelineRun must fail
}

var acts = []act{
	{"First release: version 1.0.0 gets a primary. Nothing is judged, for there is nothing to compare with.", trial.V1,
		run.Initialized, trial.V1, false},
	{"Version 2.0.0 is good: 20, 40, 60 % of the traffic, then all.", trial.V2, run.Promoted, trial.V2, false},
	{"Version 4.0.0-errors is bad: every third answer is a 500. It is taken back.", trial.Errors, run.RolledBack,
		trial.V2, true},
}

// ending is how an act ended.
type ending struct {
	act
	result   trial.Result
	took     time.Duration
	widest   int64 // highest share that the canary had, in percent
	requests int
	lost     map[string]int // failed answers, by the version that gave them; "unknown" is nobody's
	problem  error          // why the act is not as it must be
}

// Options say how the story is played.
type Options struct {
	Out      io.Writer // what happens is written here
	Terminal bool      // Out is one, and lines can be drawn over
	Interval string    // of the Pipeline; default 15s in a sandbox, which is scraped each 5 s, and 1m elsewhere
}

// Play plays the story and fails where an act ends otherwise than it must. In a cluster that is not a sandbox's own it
// makes a namespace, and removes it however the story ends; nothing else is changed there.
func Play(ctx context.Context, sb *sandbox.Sandbox, o Options) error { return play(ctx, sb, o, acts) }

func play(ctx context.Context, sb *sandbox.Sandbox, o Options, acts []act) (err error) {
	installation, err := trial.Install(ctx, sb, o.Out)
	if err != nil {
		return err
	}
	namespace, interval := "demo", cmp.Or(o.Interval, trial.Interval)
	if sb.Borrowed() {
		namespace, interval = "serin-demo-"+rand.String(5), cmp.Or(o.Interval, "1m")
	}
	app, err := installation.NewApp(ctx, namespace, "shop", acts[0].version)
	if err != nil {
		return err
	}
	if sb.Borrowed() {
		defer func() { err = errors.Join(err, remove(ctx, app, o.Out)) }()
	}
	fmt.Fprintf(o.Out,
		"application %s deployed in namespace %s, reached as %s; load: %d requests/s through the gateway\n", app.Name,
		app.Namespace, app.Host, rate)
	v := newView(o.Out, o.Terminal)
	traffic := &traffic{}
	stop := func() *load.Report { return nil }
	defer func() { stop() }()
	var endings []ending
	for n, a := range acts {
		v.title(fmt.Sprintf("%d. %s", n+1, a.title))
		s := &scene{app: app, act: a, view: v, traffic: traffic, name: fmt.Sprintf("shop-%d", n+1), interval: interval}
		if n == 0 {
			s.routed = func() { stop = app.Load(ctx, rate, traffic.add) }
		}
		e, err := s.play(ctx)
		if err != nil {
			return fmt.Errorf("act %d: %w", n+1, err)
		}
		endings = append(endings, e)
	}
	stop()
	stop = func() *load.Report { return nil }
	v.table(endings)
	var problems []error
	for _, e := range endings {
		problems = append(problems, e.problem)
	}
	return errors.Join(problems...)
}

// remove ends the application's namespace, also when ctx has ended, and waits until it is gone.
func remove(ctx context.Context, app *trial.App, w io.Writer) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Minute)
	defer cancel()
	fmt.Fprintf(w, "removing namespace %s\n", app.Namespace)
	err := app.Remove(ctx)
	if err == nil {
		err = app.Gone(ctx, 4*time.Minute)
	}
	if err != nil {
		return fmt.Errorf("%w; kubectl delete namespace %s removes all that is left", err, app.Namespace)
	}
	return nil
}

// check compares the end of an act with what it must be; image is what must serve.
func (e *ending) check(s trial.State, image string) error {
	outcome := e.result.Results["outcome"]
	switch {
	case outcome != string(e.wants):
		return fmt.Errorf("version %s: outcome %q, want %q (PipelineRun: %s)", e.version, outcome, e.wants,
			e.result.Reason)
	case e.result.Succeeded == e.fails:
		return fmt.Errorf("version %s: PipelineRun succeeded %v, want %v", e.version, e.result.Succeeded, !e.fails)
	case s.Weight != 0 || s.Target != 0 || s.Serves != image:
		return fmt.Errorf("version %s: canary weight %d, target with %d pods, %s serves: want 0, 0, %s", e.version,
			s.Weight, s.Target, s.Serves, image)
	}
	for version, n := range e.lost {
		if n > 0 && (version != string(e.version) || !e.fails) {
			return fmt.Errorf("version %s: %d requests failed at %s, want none", e.version, n, version)
		}
	}
	return nil
}
