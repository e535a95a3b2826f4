package interleaving_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"

	"github.com/serin-cd/serin/internal/interleaving"
	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/cluster/mesh"
	"github.com/serin-cd/serin/pkg/cluster/workload"
	"github.com/serin-cd/serin/pkg/release"
	"github.com/serin-cd/serin/pkg/release/record"
	"github.com/serin-cd/serin/pkg/task/run"
)

const (
	namespaced = "/namespaces/shop/"
	target     = "/apis/apps/v1" + namespaced + "deployments/podinfo"
	primary    = "/apis/apps/v1" + namespaced + "deployments/podinfo-primary"
	follower   = "/apis/networking.istio.io/v1" + namespaced + "virtualservices/podinfo-mesh"
	runs       = "/apis/tekton.dev/v1" + namespaced + "pipelineruns/"
	sets       = "/apis/apps/v1" + namespaced + "replicasets/"
)

// bug is one that is planted, to see that the model finds it.
type bug string

const (
	none       bug = ""
	noFence    bug = "patches are not tested"
	scaleFirst bug = "pods go before the drain"
	closeFirst bug = "the record is closed before the route"
	unjudged   bug = "the last stage is not judged"
)

// world is the cluster around the programs: controllers, proxies, and what must hold.
type world struct {
	api     *interleaving.API
	seed    uint64
	bug     bug
	mu      sync.Mutex
	calls   map[string]uint64   // by actor and what is called
	routes  map[string]*routing // by VirtualService
	two     bool                // of them, in step
	record  *record.Record      // of the first
	current interleaving.Object // the target
	stable  interleaving.Object // the primary

	promoted map[string]string // the revision, by run
	running  map[string]string // the image that was last ready, by Deployment
	judged   map[string]bool   // images that passed all stages
	image    map[string]string // of a revision
	broken   []string          // what did not hold
	trace    []string
}

// routing is the canary's share in a VirtualService, in percent.
type routing struct {
	weight  int32 // as written
	sending int32 // as proxies obey it
	changes int   // so far
	obeyed  int   // the newest of them that proxies know
}

// weight is the canary's largest share in any route.
func (w *world) weight() (largest int32) {
	for _, r := range w.routes {
		largest = max(largest, r.weight)
	}
	return largest
}

// sending is the largest share that proxies obey.
func (w *world) sending() (largest int32) {
	for _, r := range w.routes {
		largest = max(largest, r.sending)
	}
	return largest
}

// start makes a world like the original, or the original itself.
func start(seed uint64, planted bug) *world {
	w := &world{api: interleaving.New(), seed: seed, bug: planted, calls: map[string]uint64{},
		judged: map[string]bool{"v1": true}, image: map[string]string{}, promoted: map[string]string{},
		running: map[string]string{}, routes: map[string]*routing{"podinfo": {}, "podinfo-mesh": {}}}
	if o := original; o != nil {
		w.api, w.image, w.running = o.api.Copy(), maps.Clone(o.image), maps.Clone(o.running)
		w.record, w.current, w.stable = o.record, o.current, o.stable
	}
	w.api.Wrote = w.wrote
	return w
}

// draw are random numbers that depend on who calls what for how often, not on the order of goroutines.
func (w *world) draw(actor, what string) *rand.Rand {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls[actor+what]++
	h := fnv.New64a()
	fmt.Fprint(h, actor, what, w.calls[actor+what])
	return rand.New(rand.NewPCG(w.seed, h.Sum64()))
}

func (w *world) fail(format string, args ...any) {
	w.broken = append(w.broken, fmt.Sprintf(format, args...))
}

// check is fail for who does not have the world.
func (w *world) check(holds bool, format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !holds {
		w.fail(format, args...)
	}
}

// process is one program's way to the server: slow, faulty, and some day its end.
type process struct {
	w        *world
	actor    string
	id       string // of the run that it works for
	faulty   bool
	dieAfter int    // calls; negative never
	dying    func() // is called then; it dies at once unless this is set

	mu   sync.Mutex
	made int
	dead bool
}

// RoundTrip sends a request, if the process still lives.
func (p *process) RoundTrip(r *http.Request) (*http.Response, error) {
	if strings.HasSuffix(r.URL.Path, "/events") {
		return p.w.api.RoundTrip(r)
	}
	random := p.w.draw(p.actor, r.Method+r.URL.Path)
	delay := time.Duration(random.IntN(30)+1)*time.Millisecond + time.Duration(random.IntN(1e6))
	if p.faulty && random.IntN(40) == 0 {
		delay += time.Duration(random.IntN(20)) * time.Second
	}
	if p.end() || !pause(r.Context(), delay) {
		if random.IntN(2) == 0 && r.Method != http.MethodGet { // it was on its way
			p.late(r, time.Duration(random.IntN(20e9)))
		}
		return nil, context.Canceled
	}
	if p.faulty && random.IntN(50) == 0 {
		return interleaving.Failure(), nil
	}
	answer, err := p.send(r)
	if p.faulty && random.IntN(50) == 0 && r.Method != http.MethodGet {
		return nil, &net.OpError{Op: "read", Net: "tcp", Err: errors.New("connection reset by peer")}
	}
	return answer, err
}

func (p *process) end() bool {
	p.mu.Lock()
	p.made++
	now := p.dieAfter >= 0 && p.made == p.dieAfter+1
	if now && p.dying == nil {
		p.dead = true
	}
	dead := p.dead
	p.mu.Unlock()
	if now && p.dying != nil {
		p.dying()
	}
	return dead
}

func (p *process) late(r *http.Request, after time.Duration) {
	body, _ := io.ReadAll(r.Body)
	copied := r.Clone(context.WithoutCancel(r.Context()))
	time.AfterFunc(after, func() {
		copied.Body = io.NopCloser(strings.NewReader(string(body)))
		if answer, err := p.send(copied); err == nil {
			answer.Body.Close()
		}
	})
}

// send does a request as somebody's; planted bugs change it.
func (p *process) send(r *http.Request) (*http.Response, error) {
	r = r.WithContext(context.WithValue(r.Context(), actorKey{}, p))
	return p.w.spoil(r)
}

type actorKey struct{}

func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// release is the application in the hands of a run, by a process.
func (w *world) release(p *process, name string) *release.Release {
	cluster, err := kube.New(&rest.Config{Host: "http://model", Transport: p})
	if err != nil {
		panic(err)
	}
	id := run.ID{Namespace: "shop", Name: name, UID: w.uid(name)}
	p.id = id.String()
	r, err := release.New(cluster, "podinfo", id)
	if err != nil {
		panic(err)
	}
	r.Drain = w.drain
	if w.two {
		err = r.Select(mesh.Selection{VirtualServices: []string{"podinfo", "podinfo-mesh"}})
	}
	if err != nil {
		panic(err)
	}
	return r
}

func (w *world) uid(name string) string {
	o := w.api.Get(runs + name)
	if o == nil {
		return "none"
	}
	return o["metadata"].(interleaving.Object)["uid"].(string)
}

// drain observes the proxies as they are, for at least ten seconds and at most a minute.
func (w *world) drain(ctx context.Context) error {
	if w.bug == scaleFirst {
		return nil
	}
	for waited := 10 * time.Second; waited <= time.Minute; waited += 2 * time.Second {
		if !pause(ctx, map[bool]time.Duration{true: 10 * time.Second,
			false: 2 * time.Second}[waited == 10*time.Second]) {
			return ctx.Err()
		}
		w.mu.Lock()
		sending := w.sending()
		w.mu.Unlock()
		if sending == 0 {
			return nil
		}
	}
	return errors.New("still sending")
}

// wrote sees each change, one after the other.
func (w *world) wrote(r *http.Request, before, after interleaving.Object) {
	if after == nil || after["kind"] == "Event" {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	p := &process{actor: "controller"}
	if r != nil {
		p, _ = r.Context().Value(actorKey{}).(*process)
	}
	name := after["metadata"].(interleaving.Object)["name"]
	if os.Getenv("MODEL_TRACE") != "" {
		w.trace = append(w.trace, fmt.Sprintf("%s %-12s %v %v %v", time.Now().Format("04:05.000"), p.actor,
			after["kind"], name, short(after)))
	}
	switch {
	case after["kind"] == "VirtualService":
		w.routed(p, before, after)
	case after["kind"] == "Deployment":
		w.deployed(p, name == "podinfo", before, after)
	}
}

func short(o interleaving.Object) string {
	if o["kind"] == "Deployment" {
		return fmt.Sprintf("stamp %s replicas %v image %s status %v", annotation(o, application.RunAnnotation),
			replicas(o), imageOf(o), o["status"])
	}
	if o["kind"] == "VirtualService" {
		return fmt.Sprintf("weight %d %s", share(o), annotation(o, application.RunAnnotation))
	}
	return fmt.Sprint(o["spec"])
}

func annotation(o interleaving.Object, name string) string {
	text, _, _ := unstructured.NestedString(o, "metadata", "annotations", name)
	return text
}

func replicas(o interleaving.Object) int {
	n, _, _ := unstructured.NestedFloat64(o, "spec", "replicas")
	return int(n)
}

func imageOf(o interleaving.Object) string {
	containers, _, _ := unstructured.NestedSlice(o, "spec", "template", "spec", "containers")
	if len(containers) == 0 {
		return ""
	}
	image, _ := containers[0].(map[string]any)["image"].(string)
	return image
}

// share is the canary's, in percent, in a VirtualService.
func share(o interleaving.Object) int32 {
	http, _, _ := unstructured.NestedSlice(o, "spec", "http")
	if len(http) == 0 {
		return 0
	}
	destinations := http[0].(map[string]any)["route"].([]any)
	weight, _ := destinations[1].(map[string]any)["weight"].(float64)
	return int32(weight)
}

func recordOf(o interleaving.Object) *record.Record {
	if o == nil {
		return nil
	}
	r, err := record.Parse(annotation(o, application.RunAnnotation))
	if err != nil {
		return nil
	}
	return r
}

// routed checks a change of a route.
func (w *world) routed(p *process, before, after interleaving.Object) {
	name := after["metadata"].(interleaving.Object)["name"].(string)
	was, is := recordOf(before), recordOf(after)
	if is != nil && !is.Open() && share(after) > 0 {
		w.fail("%s closed run %s with the canary at %d %% in %s", p.actor, is.ID.Name, share(after), name)
	}
	if before != nil && share(after) > share(before) {
		if !was.Open() || is == nil || is.ID.String() != p.id || was.ID != is.ID {
			w.fail("%s raised the canary to %d %% of run %v in %s", p.actor, share(after), was, name)
		}
	}
	if was.Open() && is != nil && is.ID != was.ID {
		w.fail("%s took the record of run %s in %s while it was open", p.actor, was.ID.Name, name)
	}
	route := w.routes[name]
	if before == nil || share(before) != share(after) {
		w.propagate(route, share(before), share(after))
	}
	route.weight = share(after)
	if name == "podinfo" {
		w.record = is
		if is != nil && is.Outcome == run.Promoted {
			w.promoted[is.ID.String()] = is.Revision
		}
	}
	if second := w.routes["podinfo-mesh"].weight; second > 0 && !w.record.Open() {
		w.fail("%s: no run is open, and podinfo-mesh gives the canary %d %%", p.actor, second)
	}
}

// propagate lets proxies hear of a change some time later.
func (w *world) propagate(route *routing, before, after int32) {
	most := 40 * time.Second
	if after > before {
		most = 9 * time.Second // a drain of ten seconds supposes that proxies hear of the canary before
	}
	late := time.Duration(rand.New(rand.NewPCG(w.seed, uint64(time.Now().UnixNano()))).Int64N(int64(most)))
	route.changes++
	change := route.changes
	time.AfterFunc(late, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if change > route.obeyed { // proxies take the newest that they have heard of
			route.obeyed, route.sending = change, after
		}
	})
}

// deployed checks a change of a Deployment, and lets its controller see it.
func (w *world) deployed(p *process, isTarget bool, before, after interleaving.Object) {
	switch {
	case isTarget && before != nil && replicas(before) > 0 && replicas(after) == 0:
		if w.weight() > 0 || w.sending() > 0 {
			w.fail("%s scaled the target down while the route says %d %% and proxies send %d %%", p.actor, w.weight(),
				w.sending())
		}
		if stamp := annotation(before, application.RunAnnotation); w.record.Open() && w.record.ID.String() == stamp {
			w.fail("%s took the canary of run %s away", p.actor, stamp)
		}
	case isTarget && before != nil && replicas(after) == 0 && w.record.Open() &&
		w.record.ID.String() == annotation(after, application.RunAnnotation) &&
		annotation(before, application.RunAnnotation) != annotation(after, application.RunAnnotation):
		w.fail("%s took the target over without pods: somebody has settled it", p.actor)
	case !isTarget && replicas(after) == 0:
		w.fail("%s emptied the primary", p.actor)
	case !isTarget && before != nil && imageOf(before) != imageOf(after) && !w.judged[imageOf(after)]:
		w.fail("%s promoted %s, which was not judged", p.actor, imageOf(after))
	case !isTarget && w.image[annotation(after, application.RevisionAnnotation)] != imageOf(after):
		w.fail("%s left the primary at %s, annotated as %s", p.actor, imageOf(after),
			w.image[annotation(after, application.RevisionAnnotation)])
	}
	if !isTarget {
		w.stable = after
	}
	if isTarget {
		w.current = after
		if d, err := workload.FromObject(&unstructured.Unstructured{Object: runtime.DeepCopyJSON(after)}); err == nil {
			w.image[d.Revision()] = imageOf(after)
		}
	}
	if generation := after["metadata"].(interleaving.Object)["generation"].(float64); before == nil ||
		before["metadata"].(interleaving.Object)["generation"] != generation {
		path := primary
		if isTarget {
			path = target
		}
		random := rand.New(rand.NewPCG(w.seed, uint64(generation)<<1+uint64(len(path))))
		time.AfterFunc(time.Duration(random.IntN(400e6)+1e6), func() { w.observe(path, generation) })
		time.AfterFunc(time.Duration(random.IntN(8e9)+5e8), func() { w.ready(path, generation) })
	}
}

// observe is the controller's first look at a Deployment.
func (w *world) observe(path string, generation float64) {
	var seen interleaving.Object
	w.mu.Lock()
	running := w.running[path]
	w.mu.Unlock()
	w.api.Write(path, func(d interleaving.Object) bool {
		if d["metadata"].(interleaving.Object)["generation"] != generation {
			return false
		}
		wanted := float64(replicas(d))
		available, _, _ := unstructured.NestedFloat64(d, "status", "availableReplicas")
		if wanted == 0 {
			available = 0
		}
		pods, updated := wanted, wanted
		if available > 0 && running != imageOf(d) {
			pods, updated = wanted+1, 1
		}
		d["status"] = interleaving.Object{"observedGeneration": generation, "replicas": pods,
			"updatedReplicas": updated, "readyReplicas": available, "availableReplicas": available}
		seen = d
		return true
	})
	if seen == nil || path != primary {
		return
	}
	meta := seen["metadata"].(interleaving.Object)
	w.api.Write(sets+fmt.Sprintf("podinfo-primary-%v", generation), func(s interleaving.Object) bool {
		selector, _, _ := unstructured.NestedMap(seen, "spec", "selector", "matchLabels")
		annotations := interleaving.Object{"deployment.kubernetes.io/revision": fmt.Sprint(generation)}
		maps.Copy(annotations, meta["annotations"].(interleaving.Object))
		m := s["metadata"].(interleaving.Object)
		m["labels"], m["annotations"] = selector, annotations
		m["ownerReferences"] = []any{interleaving.Object{"apiVersion": "apps/v1", "kind": "Deployment",
			"name": "podinfo-primary", "uid": meta["uid"], "controller": true}}
		s["apiVersion"], s["kind"] = "apps/v1", "ReplicaSet"
		s["spec"] = interleaving.Object{"template": seen["spec"].(interleaving.Object)["template"]}
		return true
	})
}

// ready lets the new pods be available, unless the image never is.
func (w *world) ready(path string, generation float64) {
	image := ""
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if image != "" {
			w.running[path] = image
		}
	}()
	w.api.Write(path, func(d interleaving.Object) bool {
		if d["metadata"].(interleaving.Object)["generation"] != generation ||
			strings.HasSuffix(imageOf(d), "-crashing") {
			return false
		}
		wanted := float64(replicas(d))
		image = imageOf(d)
		d["status"] = interleaving.Object{"observedGeneration": generation, "replicas": wanted,
			"updatedReplicas": wanted, "readyReplicas": wanted, "availableReplicas": wanted}
		return true
	})
}

// unready lets the target's pods fail for a while.
func (w *world) unready(d time.Duration) {
	set := func(available float64) {
		w.api.Write(target, func(d interleaving.Object) bool {
			status, _ := d["status"].(interleaving.Object)
			if n, _ := status["replicas"].(float64); n == 0 || n != float64(replicas(d)) {
				return false
			}
			status["availableReplicas"], status["readyReplicas"] = min(available, float64(replicas(d))),
				min(available, float64(replicas(d)))
			return true
		})
	}
	set(0)
	time.AfterFunc(d, func() { set(2) })
}

// push gives the target an image, as a deployment pipeline does.
func (w *world) push(image string) {
	w.api.Write(target, func(d interleaving.Object) bool {
		containers, _, _ := unstructured.NestedSlice(d, "spec", "template", "spec", "containers")
		containers[0].(map[string]any)["image"] = image
		return unstructured.SetNestedSlice(d, containers, "spec", "template", "spec", "containers") == nil
	})
}

// pipelineRun makes one, or ends it, or removes it.
func (w *world) pipelineRun(name, status string) {
	if status == "" {
		w.api.Delete(runs + name)
		return
	}
	w.api.Write(runs+name, func(o interleaving.Object) bool {
		o["apiVersion"], o["kind"] = "tekton.dev/v1", "PipelineRun"
		o["status"] = interleaving.Object{"conditions": []any{interleaving.Object{"type": "Succeeded",
			"status": status}}}
		return true
	})
}

// spoil does a request to the server, with the bug that is planted.
func (w *world) spoil(r *http.Request) (*http.Response, error) {
	if r.Method != http.MethodPatch || w.bug == none {
		return w.api.RoundTrip(r)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	var ops, kept []kube.Operation
	if err := json.Unmarshal(body, &ops); err != nil {
		return nil, err
	}
	for _, op := range ops {
		switch {
		case w.bug == noFence && op.Op == "test" &&
			(strings.HasSuffix(op.Path, "resourceVersion") || strings.HasSuffix(op.Path, "serin.dev~1run")):
		case w.bug == closeFirst && strings.HasSuffix(op.Path, "/weight") && strings.Contains(string(body), "closed"):
		default:
			kept = append(kept, op)
		}
	}
	body, err = json.Marshal(kept)
	r.Body = io.NopCloser(strings.NewReader(string(body)))
	if err != nil {
		return nil, err
	}
	return w.api.RoundTrip(r)
}
