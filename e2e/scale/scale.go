package scale

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/kubernetes"

	"github.com/serin-cd/serin/e2e/bench"
	"github.com/serin-cd/serin/e2e/sandbox"
	"github.com/serin-cd/serin/e2e/trial"
	"github.com/serin-cd/serin/internal/apitest"
	"github.com/serin-cd/serin/internal/prometheustest"
	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/kube"
)

const (
	tell     = 10 * time.Second
	scraping = `global: {scrape_interval: 5s, scrape_timeout: 5s}
scrape_configs:
- job_name: istio-ingressgateway
  metrics_path: /
  static_configs: [{targets: [%q]}]
`
)

// Options say what is played.
type Options struct {
	Apps     int           // applications, each with a first release and then another; at least 6
	Interval time.Duration // of the releases, 10 s or more
	Out      io.Writer     // told how far it is
}

// world is everything that the releases need.
type world struct {
	Options
	root, dir  string
	apps       []*app
	catalog    catalog
	programs   *programs
	server     *apitest.Server
	client     *kubernetes.Clientset
	cluster    *kube.Cluster
	traffic    *traffic
	prometheus string        // its URL
	took       time.Duration // from the start of the releases to their last end

	mu    sync.Mutex
	exits []exit
	pods  map[podKey]podOf
	wrong []string
}

// app is an application, with the way in which its release is played.
type app struct {
	application.Application
	ending ending
}

// release is the name of its second run.
func (a *app) release() string { return a.Name + "-release" }

type podKey struct{ namespace, name string }

// podOf is the task that a pod would have been of.
type podOf struct {
	app       *app
	run, task string
}

// Run plays a first release of each application, then a release of all at once, and reports what they needed. Nothing
// of it stays.
func Run(ctx context.Context, o Options) (report *bench.Report, err error) {
	if o.Apps < least {
		return nil, fmt.Errorf("playing %d releases: want at least %d, one for each way to end", o.Apps, least)
	}
	w := &world{Options: o, pods: map[podKey]podOf{}}
	if w.dir, err = os.MkdirTemp("", "serin-scale-"); err != nil {
		return nil, err
	}
	defer os.RemoveAll(w.dir)
	for i, e := range endings(o.Apps) {
		w.apps = append(w.apps, &app{application.Application{Namespace: fmt.Sprintf("team-%02d", i/perNamespace),
			Name: fmt.Sprintf("app-%03d", i)}, e})
	}
	report = bench.NewReport()
	options, err := w.build(ctx)
	if err != nil {
		return nil, err
	}
	if w.server, err = apitest.Start(ctx, options); err != nil {
		return nil, err
	}
	defer func() { w.server.Stop(err != nil && ctx.Err() == nil) }()
	if err := w.connect(); err != nil {
		return nil, err
	}
	if err := w.attended(ctx); err != nil {
		return nil, err
	}
	err = w.report(report)
	report.Ended()
	return report, err
}

func (w *world) say(format string, args ...any) {
	fmt.Fprintf(w.Out, "%s  %s\n", time.Now().Format("15:04:05"), fmt.Sprintf(format, args...))
}

// build makes the programs, from caches where they have them.
func (w *world) build(ctx context.Context) (o apitest.Options, err error) {
	if w.root, err = trial.Checkout(ctx); err != nil {
		return o, err
	}
	w.say("building Kubernetes and the steps")
	built, err := sandbox.Build(ctx, w.Out, "kube")
	if err != nil {
		return o, err
	}
	if w.programs, err = buildPrograms(ctx, w.root, filepath.Join(w.dir, "programs")); err != nil {
		return o, err
	}
	w.catalog, err = readCatalog(w.root)
	return apitest.Options{Kube: built[0].Path, Extra: []apitest.Component{apitest.Controllers}, Audit: true}, err
}

func (w *world) connect() (err error) {
	if w.client, err = kubernetes.NewForConfig(w.server.Config()); err != nil {
		return err
	}
	w.cluster, err = kube.New(w.server.Config())
	return err
}

// attended plays everything while pods become ready and traffic is counted.
func (w *world) attended(ctx context.Context) error {
	w.traffic = newTraffic(w.apps)
	address, stop, err := w.traffic.listen()
	if err != nil {
		return err
	}
	defer stop()
	dir := filepath.Join(w.dir, "prometheus")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	server, err := prometheustest.Serve(ctx, dir, fmt.Sprintf(scraping, address))
	if err != nil {
		return err
	}
	defer server.Stop()
	w.prometheus = server.URL

	g, ctx := errgroup.WithContext(ctx)
	attending, end := context.WithCancel(ctx)
	routes := func(ctx context.Context) error { return w.traffic.follow(ctx, w.cluster) }
	for _, attend := range []func(context.Context) error{w.nodes, routes, w.progress} {
		g.Go(func() error {
			if err := attend(attending); attending.Err() == nil {
				return err
			}
			return nil
		})
	}
	g.Go(func() error { defer end(); return w.play(ctx) })
	return g.Wait()
}

// progress says how far the releases are.
func (w *world) progress(ctx context.Context) error {
	every := time.NewTicker(tell)
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-every.C:
			w.say("%s", w.traffic.far())
		}
	}
}
