package faults

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	istio "istio.io/client-go/pkg/clientset/versioned"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serin-cd/serin/e2e/trial"
)

// atOnce is how many runs are broken at once, where the fault is not of them all: as many as two processors play
// without being late.
const atOnce = 11

// Pair is a fault at a moment.
type Pair struct {
	Moment Moment
	Fault  Fault
}

// Round plays moments side by side, each in a namespace of its own that all rounds use.
type Round struct {
	installation *trial.Installation
	out          io.Writer
	rate         int // requests a second to each application
	gate         *gate
	board        *board
	places       map[Moment]*place
	number       atomic.Int64 // of the revision
	serial       int          // of the cell
	mu           sync.Mutex
	stop         context.CancelFunc
}

// place is the application of a moment.
type place struct {
	app     *trial.App
	clients *trial.Clients
}

// Start deploys an application for each of the moments, releases it for the first time, and sends it requests: all
// together rate a second.
func Start(ctx context.Context, installation *trial.Installation, moments []Moment, rate int, out io.Writer) (*Round,
	error) {
	config, err := installation.Sandbox.REST()
	if err != nil {
		return nil, err
	}
	mesh, err := istio.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	host := net.ParseIP(installation.Sandbox.NodeIP).To4()
	host[3] = 1
	gate, err := openGate(ctx, installation.Client, host.String())
	if err != nil {
		return nil, err
	}
	watched, stop := context.WithCancel(context.WithoutCancel(ctx))
	r := &Round{installation: installation, out: out, rate: max(1, (rate+len(moments)-1)/len(moments)), gate: gate,
		board: watchRoutes(watched, mesh, "shop"), places: map[Moment]*place{}, stop: stop}
	r.say("first release of %d applications, %d requests/s to each", len(moments), r.rate)
	group, ctx := errgroup.WithContext(ctx)
	for _, m := range moments {
		group.Go(func() error { return r.settle(ctx, m) })
	}
	return r, group.Wait()
}

// settle deploys the application of a moment and gives it its first release.
func (r *Round) settle(ctx context.Context, m Moment) error {
	namespace := fmt.Sprintf("at-%s-%d", m.slug(), time.Now().Unix()%1e6)
	app, err := r.installation.NewApp(ctx, namespace, "shop", trial.V1)
	if err != nil {
		return err
	}
	here := &place{app: app}
	r.mu.Lock()
	r.places[m] = here
	r.mu.Unlock()
	if err := app.Scale(ctx, 1); err != nil {
		return err
	}
	if objects := m.shape.objects(app); objects != "" {
		if err := app.Apply(ctx, objects); err != nil {
			return err
		}
	}
	if err := app.Initialize(ctx, m.shape.params()["virtual-services"]); err != nil {
		return err
	}
	here.clients = app.Clients(context.WithoutCancel(ctx), r.rate, m.shape.hosts(app)...)
	return nil
}

// Close removes the applications and lets all writes through.
func (r *Round) Close(ctx context.Context) error {
	err := r.gate.close(ctx, r.installation.Client)
	r.stop()
	for _, p := range r.places {
		if p.clients != nil {
			p.clients.Stop()
		}
		_ = p.app.Remove(ctx)
	}
	return err
}

func (r *Round) say(format string, args ...any) {
	fmt.Fprintf(r.out, "%s  %s\n", time.Now().Format("15:04:05"), fmt.Sprintf(format, args...))
}

// Play plays pairs and tells what became of each as soon as it is known. A fault of the whole cluster is played at all
// moments at once; others one after another at each moment, several moments side by side.
func (r *Round) Play(ctx context.Context, pairs []Pair, tell func(Pair, Result)) {
	var told sync.Mutex
	end := func(c *cell) {
		told.Lock()
		defer told.Unlock()
		tell(Pair{c.moment, c.fault}, c.end())
	}
	apart, together := map[Moment][]*cell{}, map[string][]*cell{}
	for _, p := range pairs {
		if c := r.cell(p); p.Fault.cluster() {
			together[p.Fault.Name] = append(together[p.Fault.Name], c)
		} else {
			apart[p.Moment] = append(apart[p.Moment], c)
		}
	}
	places, moments := make(chan struct{}, atOnce), Moments()
	each(len(moments), func(i int) {
		for _, c := range apart[moments[i]] {
			places <- struct{}{}
			c.play(ctx)
			end(c)
			<-places
		}
	})
	for _, f := range Faults() {
		cells := together[f.Name]
		if len(cells) == 0 {
			continue
		}
		r.breakAll(ctx, f, cells)
		for _, c := range cells {
			end(c)
		}
	}
}

func (r *Round) cell(p Pair) *cell {
	r.serial++
	place := r.places[p.Moment]
	return &cell{round: r, moment: p.Moment, fault: p.Fault, app: place.app, clients: place.clients, serial: r.serial}
}

// breakAll brings runs to their moments, breaks the cluster for as long as the fault lasts, and sees what becomes of
// them.
func (r *Round) breakAll(ctx context.Context, f Fault, cells []*cell) {
	r.phase(ctx, f, "runs go to their moments", cells, (*cell).park)
	r.phase(ctx, f, "all at their moments", cells, (*cell).enter)
	r.breakCluster(ctx, f, cells)
	r.phase(ctx, f, "all at rest", cells, (*cell).settled)
	r.phase(ctx, f, "the next runs", cells, (*cell).again)
	each(len(cells), func(i int) { cells[i].clear(ctx) })
}

func (r *Round) breakCluster(ctx context.Context, f Fault, cells []*cell) {
	for _, c := range cells {
		c.alone()
		c.struck = time.Now()
	}
	if err := f.begin(ctx, r); err != nil {
		fail(cells, fmt.Errorf("breaking the cluster: %w", err))
	}
	ended := make(chan error, 1)
	go func() {
		select {
		case <-time.After(f.lasts):
		case <-ctx.Done():
		}
		ended <- f.end(context.WithoutCancel(ctx), r)
	}()
	r.phase(ctx, f, "weights are 100/0", cells, func(c *cell, ctx context.Context) error {
		loose := c.app.Eventually(ctx, 2*time.Minute+f.lasts, "the moment's end",
			func(ctx context.Context) (bool, error) {
				err := c.loosen(ctx)
				return err == nil, err
			})
		if loose != nil {
			return loose
		}
		return c.restored(ctx)
	})
	if err := <-ended; err != nil {
		fail(cells, fmt.Errorf("mending the cluster: %w", err))
	}
}

func fail(cells []*cell, err error) {
	for _, c := range cells {
		if c.err == nil {
			c.err = err
		}
	}
}

// phase does the same for all cells at once; one that has failed is left alone.
func (r *Round) phase(ctx context.Context, f Fault, what string, cells []*cell, do func(*cell, context.Context) error) {
	begin := time.Now()
	each(len(cells), func(i int) { cells[i].phase(ctx, what, do) })
	failed := 0
	for _, c := range cells {
		if c.err != nil {
			failed++
		}
	}
	r.say("%s: %s: %s, %d of %d failed so far", f.Name, what, time.Since(begin).Round(time.Second), failed, len(cells))
}

// each does something for each index at once.
func each(n int, do func(int)) {
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { do(i) })
	}
	all.Wait()
}

// Tell writes what is known of a moment's application, for a cell that failed.
func (r *Round) Tell(ctx context.Context, m Moment, w io.Writer) {
	place := r.places[m]
	events, _ := place.app.Events(ctx)
	fmt.Fprintf(w, "%s: events:\n  %s\n", m, strings.Join(events[max(0, len(events)-25):], "\n  "))
	objects, _ := place.app.Kubectl(ctx, "", "get", "pipelineruns,taskruns,pods,deployments,virtualservices", "-o",
		"wide")
	fmt.Fprintln(w, objects)
	runs, _ := place.app.Tekton.PipelineRuns(place.app.Namespace).List(ctx, metav1.ListOptions{})
	if runs != nil {
		for _, found := range runs.Items {
			if found.GetCreationTimestamp().After(time.Now().Add(-10 * time.Minute)) {
				_ = (&trial.Run{App: place.app, Name: found.GetName()}).Logs(ctx, w)
			}
		}
	}
}
