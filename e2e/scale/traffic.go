package scale

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	networking "istio.io/client-go/pkg/apis/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/cluster/mesh"
	"github.com/serin-cd/serin/pkg/release/record"
	"github.com/serin-cd/serin/pkg/release/weight"
	"github.com/serin-cd/serin/pkg/task/run"
)

const (
	rate       = 100    // requests a second of each application
	usual      = 0.002  // share of them that fail
	outrageous = 1. / 3 // the same of a bad canary
)

// durations are how many requests take at most so many milliseconds.
var durations = []struct {
	le    string
	share float64
}{{"5", 0.3}, {"10", 0.6}, {"25", 0.9}, {"50", 0.97}, {"100", 0.99}, {"250", 0.998}, {"500", 0.9995}, {"1000", 1},
	{"+Inf", 1}}

// traffic is what proxies would have counted of requests to the applications, and how far these are.
type traffic struct {
	mu    sync.Mutex
	flows map[string]*flow // by namespace and name
	order []*flow

	open, most     int // runs, now and at most
	shared, widest int // those with a share of the traffic
}

// flow is the traffic of one application. It begins with its route.
type flow struct {
	app       *app
	record    *record.Record
	routed    bool
	weight    float64 // of the canary, as a fraction
	until     time.Time
	sent      [2]float64    // to the primary and to the canary
	series    [2][]string   // their names with labels: successes, failures, then the durations
	due       chan struct{} // closed when the release is to be disturbed
	disturbed bool
}

func newTraffic(apps []*app) *traffic {
	t := &traffic{flows: map[string]*flow{}}
	for _, a := range apps {
		f := &flow{app: a, due: make(chan struct{})}
		f.series[0] = series(a, a.Primary(), a.Primary())
		f.series[1] = series(a, a.Canary(), a.Name)
		t.flows[a.String()] = f
		t.order = append(t.order, f)
	}
	return t
}

func series(a *app, service, workload string) []string {
	labels := fmt.Sprintf(`reporter="source",source_workload="istio-ingressgateway",destination_service_name=%q,destination_service_namespace=%q,destination_workload=%q,destination_workload_namespace=%[2]q`,
		service, a.Namespace, workload)
	all := []string{
		"istio_requests_total{" + labels + `,response_code="200"} `,
		"istio_requests_total{" + labels + `,response_code="503"} `,
	}
	for _, d := range durations {
		all = append(all, fmt.Sprintf(`istio_request_duration_milliseconds_bucket{%s,response_code="200",le=%q} `,
			labels, d.le))
	}
	return all
}

// follow learns the weights of all routes until ctx ends.
func (t *traffic) follow(ctx context.Context, cluster *kube.Cluster) error {
	return kube.Follow(ctx, cluster.VirtualServices(""), metav1.ListOptions{},
		func(_ watch.EventType, object runtime.Object) (bool, error) {
			vs, ok := object.(*networking.VirtualService)
			if !ok {
				return false, nil
			}
			return false, t.routed(vs)
		})
}

func (t *traffic) routed(vs *networking.VirtualService) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.flows[vs.Name+"."+vs.Namespace]
	if f == nil {
		return fmt.Errorf("VirtualService %s/%s is of no application", vs.Namespace, vs.Name)
	}
	state, err := weight.Observe(vs, f.app.Application, mesh.Selection{})
	if err != nil {
		return err
	}
	f.count(time.Now())
	open, shared := f.stands()
	f.routed, f.weight, f.record = true, float64(state.Weight())/100, state.Record
	openNow, sharedNow := f.stands()
	t.open, t.shared = t.open+openNow-open, t.shared+sharedNow-shared
	t.most, t.widest = max(t.most, t.open), max(t.widest, t.shared)
	if due := f.app.ending.due; due != nil && !f.disturbed && f.releases() && due(f.record) {
		f.disturbed = true
		close(f.due)
	}
	return nil
}

// due is closed when an application's release is to be disturbed.
func (t *traffic) due(a *app) <-chan struct{} { return t.flows[a.String()].due }

// releases says whether the record is of the release, not of the first one.
func (f *flow) releases() bool { return f.record != nil && f.record.ID.Name == f.app.release() }

// stands is 1 for a release that is open, and 1 for one with a share of the traffic.
func (f *flow) stands() (open, shared int) {
	if f.releases() && f.record.Open() {
		open = 1
	}
	if f.weight > 0 {
		shared = 1
	}
	return open, shared
}

// count adds the requests since it was last called.
func (f *flow) count(now time.Time) {
	if f.routed {
		n := rate * now.Sub(f.until).Seconds()
		f.sent[0] += n * (1 - f.weight)
		f.sent[1] += n * f.weight
	}
	f.until = now
}

// write appends the counters in Prometheus's text format. A proxy shows what it has counted, not what it has not.
func (f *flow) write(to []byte) []byte {
	for arm, sent := range f.sent {
		if sent < 1 {
			continue
		}
		bad := usual
		if arm == 1 && f.app.ending.failing {
			bad = outrageous
		}
		all, wrong := int64(sent), int64(sent*bad)
		to = line(to, f.series[arm][0], all-wrong)
		to = line(to, f.series[arm][1], wrong)
		for i, d := range durations {
			to = line(to, f.series[arm][2+i], int64(float64(all)*d.share))
		}
	}
	return to
}

func line(to []byte, series string, n int64) []byte {
	return append(strconv.AppendInt(append(to, series...), n, 10), '\n')
}

// ServeHTTP implements http.Handler: it is what Prometheus scrapes.
func (t *traffic) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4")
	_, _ = w.Write(t.text()) // a Prometheus that has gone needs no answer
}

func (t *traffic) text() []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	var text []byte
	now := time.Now()
	for _, f := range t.order {
		f.count(now)
		text = f.write(text)
	}
	return text
}

// listen serves the counters on the loopback interface until the returned function is called.
func (t *traffic) listen() (address string, stop func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	server := &http.Server{Handler: t, ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(l) }() // until it is closed
	return l.Addr().String(), func() { _ = server.Close() }, nil
}

// far is how many releases are at each point, for people.
func (t *traffic) far() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	at := map[string]int{}
	for _, f := range t.order {
		switch {
		case f.record == nil:
		case !f.releases():
			at[string(run.Initialized)]++
		case f.record.Phase == run.Closed:
			at[string(f.record.Outcome)]++
		case f.record.Phase == run.Shifting:
			at[fmt.Sprintf("at %d", f.record.Weight())]++
		default:
			at[string(f.record.Phase)]++
		}
	}
	text := ""
	for _, p := range []string{"initialized", "preparing", "at 20", "at 40", "at 60", "promoting", "promoted",
		"rolled-back"} {
		if at[p] > 0 {
			text += fmt.Sprintf("%d %s, ", at[p], p)
		}
	}
	return text + fmt.Sprintf("%d applications", len(t.order))
}
