package interleaving

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
)

// Object is one as JSON.
type Object = map[string]any

// API is the server. Requests come by RoundTrip; what a kubelet or a controller writes comes by Write.
type API struct {
	// Wrote, if it is set, sees each change, while no other can happen. before is nil for a new object, after for one
	// that is gone.
	Wrote func(r *http.Request, before, after Object)

	mu       sync.Mutex
	objects  map[string]stored // by path
	version  int
	watchers map[*watcher]bool
}

// stored is an object, which never changes, and its text.
type stored struct {
	Object
	text []byte
}

// New is an empty server.
func New() *API { return &API{objects: map[string]stored{}, watchers: map[*watcher]bool{}} }

// Copy is another server with the same objects.
func (a *API) Copy() *API {
	a.mu.Lock()
	defer a.mu.Unlock()
	return &API{objects: maps.Clone(a.objects), version: a.version, watchers: map[*watcher]bool{}}
}

// watcher is one watch; its events wait in a queue.
type watcher struct {
	collection string
	matches    func(Object) bool
	events     chan []byte
}

// RoundTrip answers a request as the server does.
func (a *API) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	path := r.URL.Path
	query := r.URL.Query()
	switch {
	case r.Method == http.MethodGet && query.Get("watch") != "":
		return a.watch(r.Context(), path, selector(query.Get("fieldSelector"), query.Get("labelSelector"))), nil
	case r.Method == http.MethodGet && named(path):
		if o, ok := a.objects[path]; ok {
			return textual(http.StatusOK, o.text), nil
		}
		return missing(path), nil
	case r.Method == http.MethodGet:
		return answer(http.StatusOK, a.list(path, selector(query.Get("fieldSelector"), query.Get("labelSelector")))),
			nil
	case r.Method == http.MethodPost:
		return a.create(r, path, body), nil
	case r.Method == http.MethodPatch:
		return a.patch(r, path, body), nil
	case r.Method == http.MethodDelete:
		return a.remove(r, path), nil
	}
	return nil, fmt.Errorf("%s %s is not modelled", r.Method, path)
}

// named says whether a path is that of one object: /apis/group/version/namespaces/ns/kind/name, or the same below /api.
func named(path string) bool {
	n := strings.Count(path, "/")
	return strings.HasPrefix(path, "/apis/") && n == 7 || strings.HasPrefix(path, "/api/") && n == 6
}

func selector(fields, byLabel string) func(Object) bool {
	name := strings.TrimPrefix(fields, "metadata.name=")
	wanted, err := labels.Parse(byLabel)
	return func(o Object) bool {
		meta, _ := o["metadata"].(Object)
		set := labels.Set{}
		if have, ok := meta["labels"].(Object); ok {
			for k, v := range have {
				set[k] = fmt.Sprint(v)
			}
		}
		return err == nil && wanted.Matches(set) && (name == "" || meta["name"] == name)
	}
}

// Get is an object as it is now; nil where there is none.
func (a *API) Get(path string) Object {
	a.mu.Lock()
	defer a.mu.Unlock()
	return runtime.DeepCopyJSON(a.objects[path].Object)
}

// Write changes an object as a controller does, in one go; the request is nil for who watches. change returns false to
// leave it.
func (a *API) Write(path string, change func(Object) bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	before := a.objects[path].Object
	after := runtime.DeepCopyJSON(before)
	if after == nil {
		after = Object{"metadata": Object{"name": path[strings.LastIndex(path, "/")+1:]}}
	}
	if change(after) {
		a.put(nil, path, before, after)
	}
}

// Delete removes an object.
func (a *API) Delete(path string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if before := a.objects[path].Object; before != nil {
		a.drop(nil, path, before)
	}
}

func (a *API) create(r *http.Request, path string, body []byte) *http.Response {
	var o Object
	if err := json.Unmarshal(body, &o); err != nil {
		return status(http.StatusBadRequest, "BadRequest", err.Error())
	}
	name, _ := o["metadata"].(Object)["name"].(string)
	path += "/" + name
	if _, ok := a.objects[path]; ok {
		return status(http.StatusConflict, "AlreadyExists", path+" already exists")
	}
	return textual(http.StatusCreated, a.put(r, path, nil, o).text)
}

func (a *API) patch(r *http.Request, path string, body []byte) *http.Response {
	before, ok := a.objects[path]
	if !ok {
		return missing(path)
	}
	operations, err := jsonpatch.DecodePatch(body)
	if err != nil {
		return status(http.StatusBadRequest, "BadRequest", err.Error())
	}
	changed, err := operations.Apply(before.text)
	if err != nil {
		return status(http.StatusUnprocessableEntity, "Invalid",
			"the server rejected our request due to an error in our request")
	}
	var after Object
	if err := json.Unmarshal(changed, &after); err != nil {
		return status(http.StatusUnprocessableEntity, "Invalid", err.Error())
	}
	if reflect.DeepEqual(before.Object, after) {
		return textual(http.StatusOK, before.text)
	}
	if version(after) != version(before.Object) {
		return status(http.StatusConflict, "Conflict", "the object has been modified")
	}
	return textual(http.StatusOK, a.put(r, path, before.Object, after).text)
}

func (a *API) remove(r *http.Request, path string) *http.Response {
	before, ok := a.objects[path]
	if !ok {
		return missing(path)
	}
	a.drop(r, path, before.Object)
	return answer(http.StatusOK, Object{"kind": "Status", "apiVersion": "v1", "status": "Success"})
}

// put stores an object, and is the object stored. What is stored is never changed afterwards.
func (a *API) put(r *http.Request, path string, before, after Object) stored {
	a.version++
	meta, _ := after["metadata"].(Object)
	meta["resourceVersion"] = strconv.Itoa(a.version)
	generation, kind := 1.0, "MODIFIED"
	if before == nil {
		kind = "ADDED"
		meta["uid"] = "uid-" + strconv.Itoa(a.version)
		meta["creationTimestamp"] = time.Now().UTC().Format(time.RFC3339)
		parts := strings.Split(path, "/")
		meta["namespace"] = parts[len(parts)-3]
	} else {
		generation, _ = before["metadata"].(Object)["generation"].(float64)
		// Of a Deployment the server counts changes of the annotations too.
		if !reflect.DeepEqual(before["spec"], after["spec"]) || after["kind"] == "Deployment" &&
			!reflect.DeepEqual(before["metadata"].(Object)["annotations"], meta["annotations"]) {
			generation++
		}
	}
	meta["generation"] = generation
	o := stored{after, text(after)}
	a.objects[path] = o
	a.tell(path, kind, o)
	if a.Wrote != nil {
		a.Wrote(r, before, after)
	}
	return o
}

func (a *API) drop(r *http.Request, path string, before Object) {
	a.version++
	a.tell(path, "DELETED", a.objects[path])
	delete(a.objects, path)
	if a.Wrote != nil {
		a.Wrote(r, before, nil)
	}
}

func (a *API) list(collection string, matches func(Object) bool) Object {
	items := []any{}
	kind, group := kindOf(collection)
	for _, path := range slices.Sorted(maps.Keys(a.objects)) {
		if o := a.objects[path]; path[:strings.LastIndex(path, "/")] == collection && matches(o.Object) {
			items = append(items, o.Object)
		}
	}
	return Object{"kind": kind + "List", "apiVersion": group,
		"metadata": Object{"resourceVersion": strconv.Itoa(a.version)}, "items": items}
}

// kindOf is the kind of the objects of a collection, and their group and version.
func kindOf(collection string) (kind, group string) {
	parts := strings.Split(collection, "/")
	group = strings.TrimPrefix(
		strings.TrimPrefix(collection[:strings.Index(collection, "/namespaces/")], "/apis/"),
		"/api/",
	)
	kinds := map[string]string{"virtualservices": "VirtualService", "destinationrules": "DestinationRule",
		"deployments": "Deployment", "replicasets": "ReplicaSet"}
	return kinds[parts[len(parts)-1]], group
}

func (a *API) tell(path, kind string, o stored) {
	for w := range a.watchers {
		if path[:strings.LastIndex(path, "/")] == w.collection && w.matches(o.Object) {
			select {
			case w.events <- event(kind, o.text):
			default: // a watcher that does not read loses its watch
				delete(a.watchers, w)
				close(w.events)
			}
		}
	}
}

func event(kind string, object []byte) []byte {
	return slices.Concat([]byte(`{"type":"`+kind+`","object":`), object, []byte("}\n"))
}

// watch begins with what exists.
func (a *API) watch(ctx context.Context, collection string, matches func(Object) bool) *http.Response {
	w := &watcher{collection: collection, matches: matches, events: make(chan []byte, 1000)}
	for _, o := range a.list(collection, matches)["items"].([]any) {
		w.events <- event("ADDED", text(o.(Object)))
	}
	a.watchers[w] = true
	body := &stream{events: w.events, ctx: ctx, closed: make(chan struct{}), close: func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.watchers[w] {
			delete(a.watchers, w)
		}
	}}
	r := answer(http.StatusOK, nil)
	r.Body, r.ContentLength = body, -1
	return r
}

// stream is the body of a watch.
type stream struct {
	events <-chan []byte
	ctx    context.Context
	rest   []byte
	once   sync.Once
	closed chan struct{}
	close  func()
}

// Read waits for an event, or for the end of the request.
func (s *stream) Read(p []byte) (int, error) {
	if len(s.rest) == 0 {
		select {
		case <-s.ctx.Done():
			return 0, s.ctx.Err()
		case <-s.closed:
			return 0, io.EOF
		case text, open := <-s.events:
			if !open {
				return 0, io.EOF
			}
			s.rest = text
		}
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

// Close ends the watch.
func (s *stream) Close() error {
	s.once.Do(func() {
		close(s.closed)
		s.close()
	})
	return nil
}

func answer(code int, o Object) *http.Response { return textual(code, text(o)) }

func textual(code int, text []byte) *http.Response {
	return &http.Response{
		StatusCode: code, Status: http.StatusText(code), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {"application/json"}, "Date": {time.Now().UTC().Format(http.TimeFormat)}},
		Body:   io.NopCloser(bytes.NewReader(text)), ContentLength: int64(len(text)),
	}
}

func missing(path string) *http.Response {
	return status(http.StatusNotFound, "NotFound", path+" not found")
}

// Failure is the answer of a server that cannot do what it is asked.
func Failure() *http.Response {
	return status(http.StatusServiceUnavailable, "ServiceUnavailable", "the server is away")
}

func status(code int, reason, message string) *http.Response {
	return answer(code, Object{"kind": "Status", "apiVersion": "v1", "metadata": Object{}, "status": "Failure",
		"reason": reason, "message": message, "code": float64(code)})
}

func version(o Object) any { return o["metadata"].(Object)["resourceVersion"] }

func text(o Object) []byte {
	text, err := json.Marshal(o)
	if err != nil {
		panic(err) // it was JSON when it came
	}
	return text
}
