package interleaving_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/client-go/rest"

	"github.com/serin-cd/serin/internal/interleaving"
	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/judge/verdict"
	"github.com/serin-cd/serin/pkg/release"
	"github.com/serin-cd/serin/pkg/release/janitor"
	"github.com/serin-cd/serin/pkg/release/prepare"
	"github.com/serin-cd/serin/pkg/release/promote"
	"github.com/serin-cd/serin/pkg/release/rollback"
	"github.com/serin-cd/serin/pkg/release/stage"
	"github.com/serin-cd/serin/pkg/task/parameter"
	"github.com/serin-cd/serin/pkg/task/run"
)

// ending is what becomes of a run that does not come to its end.
type ending int

const (
	whole      ending = iota
	killed            // a step dies, finish comes
	terminated        // a step is told to end, and finish comes while it is at it
	deleted           // and nothing comes
	lost              // Tekton is away: the PipelineRun seems to run for ever
	endings
)

// plan is what happens in a world; it follows from the seed.
type plan struct {
	ending  ending
	after   int // calls
	begin   time.Duration
	image   string
	passes  bool
	busy    prepare.Busy
	overlap time.Duration
	skip    string // who releases without analysis
}

func deadline() time.Duration { return 60 * time.Second }

func preparing(busy prepare.Busy) prepare.Preparation {
	return prepare.Preparation{Config: prepare.Config{Port: 80, OnBusy: busy}, Deadline: deadline(),
		Probe: func(context.Context) error { return nil }}
}

// pipeline does what a PipelineRun does.
func (w *world) pipeline(name string, p plan) {
	w.pipelineRun(name, "Unknown")
	if p.ending != whole {
		defer func() {
			if p.ending == deleted {
				w.pipelineRun(name, "")
			}
		}()
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	steps := &process{w: w, actor: name, faulty: true, dieAfter: -1}
	r := w.release(steps, name)
	died := make(chan struct{})
	if p.ending != whole {
		steps.dieAfter = p.after
		steps.dying = func() {
			if p.ending == terminated {
				cancel()
			} else {
				steps.mu.Lock()
				steps.dead = true
				steps.mu.Unlock()
				cancel()
			}
			close(died)
		}
	}
	ended := make(chan bool)
	go func() {
		prepared := w.stages(ctx, r, p)
		ended <- prepared
	}()
	prepared, over := false, false
	select {
	case prepared = <-ended:
		over = true
	case <-died:
		time.Sleep(p.overlap)
	}
	if p.ending == whole || p.ending == killed || p.ending == terminated {
		w.finish(name, prepared)
		w.pipelineRun(name, "False")
	}
	if !over {
		<-ended
	}
}

// stages are the tasks before finally; it says whether prepare was done.
func (w *world) stages(ctx context.Context, r *release.Release, p plan) bool {
	kept, stop := context.WithCancel(ctx)
	defer stop()
	limited, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	turn, err := prepare.Acquire(limited, r, prepare.Queue{OnBusy: p.busy,
		BusyTimeout: parameter.Duration(5 * time.Minute)})
	if err != nil || turn == prepare.Superseded {
		return turn == prepare.Superseded
	}
	var beating sync.WaitGroup
	beating.Go(func() { r.Lease.Keep(kept) })
	defer beating.Wait()
	defer stop()
	wanted := preparing(p.busy)
	wanted.SkipAnalysis = p.skip
	outcome, revision, err := prepare.Run(limited, r, wanted)
	if err != nil {
		return false
	}
	weights := []parameter.Weight{20, 60}
	switch outcome {
	case prepare.Proceed:
	case prepare.Promote:
		weights = nil
		w.mu.Lock()
		w.judged[w.image[revision]] = true // somebody takes the responsibility
		w.mu.Unlock()
	default:
		return true
	}
	for _, weight := range weights {
		if err := stage.Shift(ctx, r, weight, time.Minute); err != nil {
			return true
		}
		if w.bug == unjudged && weight == 60 {
			break
		}
		pass := p.passes || weight == 20
		revision := ""
		_, err := stage.Judge(ctx, r, func(ctx context.Context, _ []run.Stage, _ func(verdict.Check)) (verdict.Verdict,
			error) {
			if !pause(ctx, time.Duration(w.draw(r.ID.Name, "judge").IntN(60e9))) {
				return verdict.Verdict{}, context.Cause(ctx)
			}
			if !pass {
				return verdict.Verdict{Decision: verdict.Fail, Code: "threshold", Text: "bad"}, nil
			}
			w.mu.Lock()
			if w.record != nil {
				revision = w.record.Revision
			}
			w.mu.Unlock()
			return verdict.Verdict{Decision: verdict.Pass}, nil
		}, deadline())
		if err != nil {
			return true
		}
		if pass && weight == 60 {
			w.mu.Lock()
			w.judged[w.image[revision]] = true
			w.mu.Unlock()
		}
	}
	promoting, cancelPromotion := context.WithTimeout(ctx, deadline()+3*time.Minute)
	defer cancelPromotion()
	if _, err := promote.Run(promoting, r, deadline()); err == nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.promoted[r.ID.String()] == "" {
			w.fail("%s says that it promoted, and no record says so", r.ID.Name)
		}
	}
	return true
}

// finish is the task in finally, with its retries. Its steps may die too.
func (w *world) finish(name string, prepared bool) {
	for attempt := range 3 {
		p := &process{w: w, actor: fmt.Sprintf("%s-finish-%d", name, attempt), faulty: true, dieAfter: -1}
		if random := w.draw(p.actor, "dies"); attempt < 2 && random.IntN(4) == 0 {
			p.dieAfter = random.IntN(20)
		}
		r := w.release(p, name)
		ctx, cancel := context.WithTimeout(context.Background(), deadline()+2*time.Minute)
		_, err := rollback.Run(ctx, r, r.ID, "the run ended before a verdict", deadline())
		if err == nil {
			err = rollback.Settled(ctx, r)
		}
		if err == nil {
			err = r.Lease.Release(ctx)
		}
		cancel()
		if err == nil {
			return
		}
	}
	_ = prepared
}

func (w *world) janitor(ctx context.Context, faulty bool) {
	for n := 0; ; n++ {
		if !pause(ctx, time.Minute) {
			return
		}
		p := &process{w: w, actor: fmt.Sprint("janitor-", n), faulty: faulty, dieAfter: -1}
		if random := w.draw(p.actor, "dies"); faulty && random.IntN(4) == 0 {
			p.dieAfter = random.IntN(15)
		}
		w.sweep(ctx, p)
	}
}

func (w *world) sweep(ctx context.Context, p *process) {
	cluster, err := kube.New(&rest.Config{Host: "http://model", Transport: p})
	if err != nil {
		panic(err)
	}
	limited, cancel := context.WithTimeout(ctx, deadline()+2*time.Minute)
	defer cancel()
	_ = janitor.Janitor{Cluster: cluster, Namespace: "shop", Deadline: deadline(),
		Drain: func(r *release.Release) error {
			r.Drain = w.drain
			return nil
		}}.Sweep(limited)
}

func (w *world) abort() {
	p := &process{w: w, actor: "abort", faulty: true, dieAfter: -1}
	cluster, err := kube.New(&rest.Config{Host: "http://model", Transport: p})
	if err != nil {
		panic(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	_, _ = rollback.Abort(ctx, cluster, application.Application{Namespace: "shop", Name: "podinfo"}, "aborted",
		deadline(), func(r *release.Release) error {
			r.Drain = w.drain
			return nil
		})
}

// original is the world that all others begin with.
var original *world

// origin makes it.
func origin(t *testing.T) {
	t.Helper()
	if original != nil {
		return
	}
	debug.SetGCPercent(400) // many short lives
	synctest.Test(t, func(*testing.T) {
		w := start(0, none)
		before(w)
		original = w
	})
	if len(original.broken) > 0 {
		t.Fatal(original.broken)
	}
}

// before makes what every world begins with: version 1, released for the first time.
func before(w *world) {
	w.api.Write(target, func(d interleaving.Object) bool {
		labels := interleaving.Object{"app": "podinfo"}
		d["apiVersion"], d["kind"] = "apps/v1", "Deployment"
		d["spec"] = interleaving.Object{"replicas": 2.0, "selector": interleaving.Object{"matchLabels": labels},
			"strategy": interleaving.Object{"type": "RollingUpdate"}, "template": interleaving.Object{
				"metadata": interleaving.Object{"labels": labels},
				"spec": interleaving.Object{"containers": []any{interleaving.Object{"name": "podinfo", "image": "v1",
					"ports": []any{interleaving.Object{"containerPort": 80.0}}}}},
			}}
		return true
	})
	time.Sleep(10 * time.Second)
	w.pipelineRun("first", "Unknown")
	r := w.release(&process{w: w, actor: "first", dieAfter: -1}, "first")
	_, err := prepare.Acquire(context.Background(), r, prepare.Queue{OnBusy: prepare.Fail})
	if err == nil {
		_, _, err = prepare.Run(context.Background(), r, preparing(prepare.Fail))
	}
	if err == nil {
		err = r.Lease.Release(context.Background())
	}
	w.pipelineRun("first", "True")
	w.check(err == nil, "the first release failed: %v", err)
	time.Sleep(10 * time.Second)
}

// second gives the application another VirtualService.
func (w *world) second() {
	w.two = true
	destination := func(host string, weight float64) interleaving.Object {
		return interleaving.Object{"destination": interleaving.Object{"host": host}, "weight": weight}
	}
	w.api.Write(follower, func(vs interleaving.Object) bool {
		vs["apiVersion"], vs["kind"] = "networking.istio.io/v1", "VirtualService"
		vs["spec"] = interleaving.Object{"hosts": []any{"podinfo.test"}, "http": []any{interleaving.Object{
			"route": []any{destination("podinfo-primary", 100), destination("podinfo-canary", 0)}}}}
		return true
	})
}

// play is one world: two runs and what disturbs them, then rest, then a run that nothing disturbs. Every second world
// has two routes, and in every fifth a run may release without analysis.
func play(seed uint64, planted bug) *world {
	w := start(seed, planted)
	if seed%2 == 0 {
		w.second()
	}
	time.Sleep(time.Minute)
	random := w.draw("plan", "")
	cleaned, stop := context.WithCancel(context.Background())
	var cleaning, working sync.WaitGroup
	cleaning.Go(func() { w.janitor(cleaned, true) })
	w.push("v2")
	for i, name := range []string{"a", "b"} {
		p := plan{ending: ending(random.IntN(int(endings))), after: random.IntN(60), passes: random.IntN(3) > 0,
			busy:    []prepare.Busy{prepare.Fail, prepare.Wait, prepare.Supersede}[random.IntN(3)],
			overlap: time.Duration(random.IntN(5e9))}
		if skips(seed) && w.draw("skip", name).IntN(2) == 0 {
			p.skip = "ann: urgent"
		}
		if i == 1 {
			p.begin = time.Duration(random.IntN(200e9))
			p.image = []string{"", "v2", "v3", "v4-crashing"}[random.IntN(4)]
		}
		working.Go(func() {
			time.Sleep(p.begin)
			if p.image != "" {
				w.push(p.image)
			}
			w.pipeline(name, p)
		})
	}
	if random.IntN(4) == 0 {
		at := time.Duration(random.IntN(200e9))
		working.Go(func() { time.Sleep(at); w.abort() })
	}
	if random.IntN(4) == 0 {
		at, long := time.Duration(random.IntN(200e9)), time.Duration(random.IntN(90e9))
		working.Go(func() { time.Sleep(at); w.unready(long) })
	}
	working.Wait()
	time.Sleep(3 * time.Minute)
	stop()
	cleaning.Wait()
	for n := range 3 {
		time.Sleep(time.Minute)
		w.sweep(context.Background(), &process{w: w, actor: fmt.Sprint("last-", n), dieAfter: -1})
	}
	w.rest()
	if seed%4 == 0 {
		w.next(map[bool]string{true: "ann: urgent"}[skips(seed)])
	}
	return w
}

// skips says whether runs of a world may release without analysis.
func skips(seed uint64) bool { return seed%5 == 2 }

// rest is what must hold when everything has come to its end.
func (w *world) rest() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.weight() > 0 || w.sending() > 0 {
		w.fail("at rest the canary has %d %%, proxies send %d %%", w.weight(), w.sending())
	}
	if second := recordOf(w.api.Get(follower)); second.Open() && !w.record.Open() {
		w.fail("at rest the second route still has run %s, %s", second.ID.Name, second.Phase)
	}
	waiting := w.record.Open() && w.record.Weight() == 0 // of a Tekton that may come back
	if w.record.Open() && !waiting {
		w.fail("at rest run %s is still %s", w.record.ID.Name, w.record.Phase)
	}
	if !waiting && replicas(w.current) > 0 && strings.Contains(annotation(w.current, application.RunAnnotation), "/") {
		w.fail("at rest the target has %d pods, stamp %s", replicas(w.current),
			annotation(w.current, application.RunAnnotation))
	}
	if want := w.record.Previous; !w.record.Open() && w.record.Outcome != run.Initialized {
		if w.record.Outcome == run.Promoted {
			want = w.record.Revision
		}
		if got := annotation(w.stable, application.RevisionAnnotation); got != want {
			w.fail("run %s ended as %s, and the primary is at %s, want %s", w.record.ID.Name, w.record.Outcome,
				w.image[got], w.image[want])
		}
	}
}

// next is a run that nothing disturbs: it must go through, whatever was before. skip is who wants no analysis of it.
func (w *world) next(skip string) {
	for _, name := range []string{"a", "b"} {
		w.pipelineRun(name, "False")
	}
	w.push("v9")
	w.pipelineRun("next", "Unknown")
	w.mu.Lock()
	sound := len(w.broken) == 0
	w.mu.Unlock()
	if !sound {
		return
	}
	r := w.release(&process{w: w, actor: "next", dieAfter: -1}, "next")
	w.stages(context.Background(), r, plan{passes: true, busy: prepare.Fail, skip: skip})
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.record.Outcome != run.Promoted || w.record.ID != r.ID || imageOf(w.stable) != "v9" ||
		replicas(w.current) != 0 {
		w.fail("the next run ended as %v, primary %s", w.record, imageOf(w.stable))
	}
}

// quiet drops the programs' logs.
func quiet(t *testing.T) {
	was := slog.Default()
	slog.SetDefault(slog.New(slog.DiscardHandler))
	t.Cleanup(func() { slog.SetDefault(was) })
}

// seeds plays worlds until the time is up, or a number of them is done, or one fails.
func seeds(t *testing.T, planted bug, from, to uint64, limit time.Duration) (played uint64, failed map[uint64]*world) {
	t.Helper()
	origin(t)
	begin := time.Now()
	var next atomic.Uint64
	next.Store(from)
	var mu sync.Mutex
	failed = map[uint64]*world{}
	t.Run("seeds", func(t *testing.T) {
		for range 2 {
			t.Run("", func(t *testing.T) {
				t.Parallel()
				for time.Since(begin) < limit {
					seed := next.Add(1) - 1
					if seed >= to {
						return
					}
					var w *world
					synctest.Test(t, func(*testing.T) { w = play(seed, planted) })
					mu.Lock()
					played++
					if len(w.broken) > 0 {
						failed[seed] = w
					}
					enough := len(failed) > 0 && planted != none || len(failed) > 4
					mu.Unlock()
					if enough {
						return
					}
				}
			})
		}
	})
	return played, failed
}

// number is what the environment says, or a default.
func number(name string, otherwise uint64) uint64 {
	if n, err := strconv.ParseUint(os.Getenv(name), 10, 64); err == nil {
		return n
	}
	return otherwise
}

// TestWorldsThatWereBroken plays those that once found something.
func TestWorldsThatWereBroken(t *testing.T) {
	quiet(t)
	for seed, found := range map[uint64]string{
		1089: "a rollback that had read a run as shifting closed it while it was promoting, and left the primary " +
			"promoted",
		50405: "a run that had lost its Lease to one that died was never taken back while its PipelineRun seemed to " +
			"run",
		461:  "a run that never had traffic took over the pods of one that had, and scaled them down without a drain",
		4624: "a run began with what the primary ran before another promoted, and undid that when it was taken back",
		1205: "pods of a run that had ended stayed for ever where the next run died between its record and its stamp",
	} {
		if _, failed := seeds(t, none, seed, seed+1, time.Minute); len(failed) > 0 {
			t.Errorf("seed %d (%s): %s", seed, found, strings.Join(failed[seed].broken, "\n"))
		}
	}
}

// TestInterleavings plays as many worlds as fit into MODEL_SECONDS, from MODEL_SEED on.
func TestInterleavings(t *testing.T) {
	quiet(t)
	from, seconds := number("MODEL_SEED", 1), uint64(15)
	if testing.Short() {
		seconds = 3
	}
	played, failed := seeds(t, none, from, from+number("MODEL_SEEDS", 1e9),
		time.Duration(number("MODEL_SECONDS", seconds))*time.Second)
	t.Logf("%d worlds", played)
	for seed, w := range failed {
		t.Errorf("seed %d:\n%s\n%s", seed, strings.Join(w.broken, "\n"), strings.Join(w.trace, "\n"))
	}
}

func TestPlantedBugsAreFound(t *testing.T) {
	quiet(t)
	// where they were found
	for planted, from := range map[bug]uint64{noFence: 43, scaleFirst: 1, closeFirst: 1, unjudged: 1} {
		t.Run(string(planted), func(t *testing.T) {
			played, failed := seeds(t, planted, from, from+3000, time.Minute)
			if len(failed) == 0 {
				t.Errorf("not found in %d worlds", played)
			}
			for seed, w := range failed {
				t.Logf("seed %d, after %d worlds: %s", seed, played, w.broken[0])
				break
			}
		})
	}
}
