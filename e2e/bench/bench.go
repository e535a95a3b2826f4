package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/serin-cd/serin/e2e/sandbox"
	"github.com/serin-cd/serin/e2e/trial"
)

// What is wanted of a sandbox, and of releases.
const (
	wantWarm    = 180 // s
	wantCold    = 1200
	wantHealthy = 75 // s, at 10 s of observation a stage
	wantMinute  = 250
	wantExposed = 10
	wantLost    = 100
	wantCalls   = 60
	wantStage   = 10
)

const (
	name = "bench" // of the sandbox
	idle = 30 * time.Second
)

// Options say what is measured.
type Options struct {
	Sandbox string    // one that is up, by name; empty starts one, which is itself measured
	Cold    bool      // with empty caches, which takes long
	Minute  bool      // also a release at the product's own interval of a minute
	Many    bool      // also many releases one after another, to count lost requests
	Only    bool      // of all this the many releases alone
	Command bool      // of all this the command line alone
	Out     io.Writer // told how far it is
}

// Run measures everything.
func Run(ctx context.Context, o Options) (report *Report, err error) {
	scratch, err := os.MkdirTemp("", "serin-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(scratch)
	root, err := trial.Checkout(ctx)
	if err != nil {
		return nil, err
	}
	report = NewReport()
	if o.Cold {
		if err := emptyCaches(scratch); err != nil {
			return nil, err
		}
	}
	b := &bench{Options: o, report: report}
	begin := time.Now()
	if err := b.attach(ctx); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.detach()) }()
	if o.Only {
		return report, b.lossless(ctx)
	}
	if o.Command {
		return report, b.command(ctx, root, scratch)
	}
	if err := b.releases(ctx, begin); err != nil {
		return nil, err
	}
	if o.Many {
		if err := b.lossless(ctx); err != nil {
			return nil, err
		}
	}
	b.say("programs: building")
	programs, err := buildPrograms(ctx, root, scratch)
	if err != nil {
		return nil, err
	}
	b.say("programs: starting each %d times", starts)
	if err := errors.Join(programs.sizes(report), programs.starts(ctx, report)); err != nil {
		return nil, err
	}
	b.say("programs: playing two releases without Tekton")
	if err := programs.memory(ctx, b.installation, report); err != nil {
		return nil, err
	}
	err = b.command(ctx, root, scratch)
	report.Ended()
	return report, err
}

// command measures tkn-canary in the sandbox.
func (b *bench) command(ctx context.Context, root, scratch string) error {
	b.say("tkn canary: before %d applications", crowd)
	writer, err := b.sandbox.REST()
	if err != nil {
		return err
	}
	c, err := buildCommand(ctx, root, scratch, logged{writer: writer, kubeconfig: b.sandbox.Kubeconfig,
		context: b.sandbox.Context, log: b.sandbox.AuditLog})
	if err != nil {
		return err
	}
	return c.measure(ctx, b.report)
}

// bench is one bench while it runs.
type bench struct {
	Options
	report       *Report
	sandbox      *sandbox.Sandbox
	installation *trial.Installation
}

func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(b.Out, "%s  %s\n", time.Now().Format("15:04:05"), fmt.Sprintf(format, args...))
}

// attach takes the sandbox of that name, or starts one.
func (b *bench) attach(ctx context.Context) (err error) {
	if b.Sandbox != "" {
		b.sandbox, err = sandbox.Attach(b.Sandbox)
	} else {
		b.sandbox, err = sandbox.Up(ctx, sandbox.Options{Name: name, Out: b.Out})
	}
	if err != nil {
		return err
	}
	if b.installation, err = trial.Install(ctx, b.sandbox, b.Out); err != nil {
		return errors.Join(err, b.detach())
	}
	return nil
}

func (b *bench) detach() error {
	if b.Sandbox != "" {
		return nil
	}
	return b.sandbox.Down()
}

// releases plays the releases whose time, losses and calls are wanted; begin is when the bench began.
func (b *bench) releases(ctx context.Context, begin time.Time) error {
	app, err := b.installation.NewApp(ctx, "bench", "shop", trial.V1)
	if err != nil {
		return err
	}
	defer func() { _ = app.Remove(context.WithoutCancel(ctx)) }()
	c := app.Clients(ctx, rate) // what is asked before there is a route fails, and is not counted
	defer c.Stop()
	b.say("first release")
	first, err := play(ctx, app, c, "first", trial.V1, "initialized", nil)
	if err != nil {
		return err
	}
	b.say("healthy release at %s", trial.Interval)
	healthy, err := play(ctx, app, c, "healthy", trial.V2, "promoted", nil)
	if err != nil {
		return err
	}
	b.booted(time.Since(begin))
	b.healthy(healthy, "healthy release at an interval of 15 s", Row{None: true})
	b.report.Add(Row{Part: "Releases", What: "first release", Got: first.took.Seconds(), Unit: "s", None: true})
	if err := b.tenSeconds(ctx, app, c); err != nil {
		return err
	}
	if err := b.bad(ctx, app, c); err != nil {
		return err
	}
	if err := b.disturbed(ctx, app, c); err != nil {
		return err
	}
	if b.Minute {
		b.say("healthy release at a minute")
		minute, err := play(ctx, app, c, "minute", trial.V3, "promoted", map[string]string{"interval": "1m"})
		if err != nil {
			return err
		}
		b.healthy(minute, "healthy release at an interval of 1 m", Row{Want: wantMinute, Rival: "390-417 s"})
		b.calls(minute.calls, "at an interval of 1 m", "134")
	}
	b.calls(healthy.calls, "at an interval of 15 s", "")
	return b.idle(ctx, app)
}

// booted is the time to the first promoted canary, of a sandbox that was started for it.
func (b *bench) booted(took time.Duration) {
	switch {
	case b.Cold:
		b.report.Add(Row{Part: "Sandbox", What: "from nothing built to the first promoted canary", Got: took.Seconds(),
			Want: wantCold, Unit: "s"})
	case b.Sandbox == "":
		b.report.Add(Row{Part: "Sandbox", What: "from nothing running, all cached, to the first promoted canary",
			Got: took.Seconds(), Want: wantWarm, Unit: "s"})
	}
}

// healthy adds what a promoted release took and lost.
func (b *bench) healthy(p played, what string, row Row) {
	row.Part, row.What, row.Got, row.Unit = "Releases", what, p.took.Seconds(), "s"
	row.Note = "from the push to the end of the PipelineRun"
	b.report.Add(row, Row{Part: "Releases", What: what + ": failed requests", Got: float64(p.lost), Rival: "0",
		Note: fmt.Sprintf("of %d", p.sent)})
}

func (b *bench) tenSeconds(ctx context.Context, app *trial.App, c *trial.Clients) error {
	b.say("healthy release at 10 s")
	p, err := play(ctx, app, c, "ten", trial.V3, "promoted",
		map[string]string{"interval": "10s", "time-box": "10s", "settle": "2s", "warm-up": "10s"})
	if err != nil {
		return err
	}
	b.healthy(p, "healthy release at 10 s of observation a stage", Row{Want: wantHealthy, Rival: "65 s"})
	return nil
}

// bad plays a canary of which every third answer is a 500, at Flagger's least interval and with its threshold.
func (b *bench) bad(ctx context.Context, app *trial.App, c *trial.Clients) error {
	b.say("bad canary at 10 s")
	p, err := play(ctx, app, c, "bad", trial.Errors, "rolled-back", map[string]string{"interval": "10s"})
	if err != nil {
		return err
	}
	note := "every third answer a 500, weight 20, interval 10 s, threshold 5"
	b.report.Add(
		Row{Part: "Releases", What: "bad canary: first bad answer to weight 0", Got: p.exposed.Seconds(),
			Want: wantExposed, Unit: "s", Note: note, Rival: "60 s"},
		Row{Part: "Releases", What: "bad canary: failed requests", Got: float64(p.lost), Want: wantLost,
			Note: fmt.Sprintf("of %d", p.sent), Rival: "590"})
	b.calls(p.calls, "that fails at its first stage, at 10 s", "150")
	return nil
}

func (b *bench) calls(c Calls, of, rival string) {
	stage, n := c.stage()
	c.Of = "a release " + of
	b.report.Calls = append(b.report.Calls, c)
	b.report.Add(
		Row{Part: "API calls", What: "API calls of a release " + of, Got: float64(c.Total), Want: wantCalls,
			Rival: rival},
		Row{Part: "API calls", What: "API calls of the busiest stage of a release " + of, Got: float64(n),
			Want: wantStage, Note: stage})
}

// idle counts the calls of Serin while nothing is released.
func (b *bench) idle(ctx context.Context, app *trial.App) error {
	b.say("idle for %s", idle)
	before, err := countFile(b.sandbox.AuditLog, app.Namespace, "")
	if err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(idle):
	}
	after, err := countFile(b.sandbox.AuditLog, app.Namespace, "")
	if err != nil {
		return err
	}
	b.report.Add(Row{Part: "API calls", What: "API calls between releases, in " + idle.String(),
		Got: float64(after.Total - before.Total), Rival: "6 (12 a minute)"})
	return nil
}

// emptyCaches makes Go and the sandbox forget what they have built and fetched.
func emptyCaches(scratch string) error {
	for _, v := range []string{"XDG_CACHE_HOME", "GOCACHE", "GOMODCACHE"} {
		if err := os.Setenv(v, filepath.Join(scratch, strings.ToLower(v))); err != nil {
			return err
		}
	}
	return os.Setenv("GOFLAGS", "-modcacherw")
}
