package main

import (
	"encoding/json"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// behaviour is how the application answers. The names in JSON are those of POST /behaviour, which changes it at run
// time; durations are nanoseconds there.
type behaviour struct {
	Version    string        `json:"version"`
	FailEvery  int           `json:"failEvery"`  // every n-th answer fails: 1 all, 0 none
	FailStatus int           `json:"failStatus"` // what a failing answer is
	FailAfter  time.Duration `json:"failAfter"`  // since its start; earlier it does not fail
	Delay      time.Duration `json:"delay"`      // before each answer
	CPUTime    time.Duration `json:"cpuTime"`    // of a processor, used up for each answer
	ReadyAfter time.Duration `json:"readyAfter"` // since its start
	NeverReady bool          `json:"neverReady"`
	CrashAfter time.Duration `json:"crashAfter"` // since its start; read from the environment only
}

// app counts and answers.
type app struct {
	http.Handler
	exit    func(code int)
	start   time.Time
	host    string
	counter atomic.Uint64
	mu      sync.Mutex
	b       behaviour
	unready bool // for as long as somebody wants
	leaving atomic.Bool
}

func newApp(b behaviour, exit func(int)) *app {
	a := &app{exit: exit, start: time.Now(), b: b}
	a.host, _ = os.Hostname()
	mux := http.NewServeMux()
	mux.HandleFunc("/", a.answer)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) {})
	mux.HandleFunc("GET /readyz", a.readyz)
	mux.HandleFunc("POST /behaviour", a.change)
	mux.HandleFunc("POST /unready", func(w http.ResponseWriter, r *http.Request) { a.setReady(false) })
	mux.HandleFunc("POST /ready", func(w http.ResponseWriter, r *http.Request) { a.setReady(true) })
	mux.HandleFunc("POST /crash", func(w http.ResponseWriter, r *http.Request) { a.exit(1) })
	a.Handler = mux
	return a
}

func (a *app) behaviour() behaviour {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.b
}

func (a *app) setReady(ready bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.unready = !ready
}

// leave makes it unready, and asks callers that keep connections open to make others.
func (a *app) leave() {
	a.leaving.Store(true)
	a.setReady(false)
}

func (a *app) readyz(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	unready := a.unready || a.b.NeverReady || time.Since(a.start) < a.b.ReadyAfter
	a.mu.Unlock()
	if unready {
		http.Error(w, "not ready", http.StatusServiceUnavailable)
	}
}

// change takes the fields that are given and leaves the others.
func (a *app) change(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	b := a.b
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(&b); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	a.b = b
}

func (a *app) answer(w http.ResponseWriter, r *http.Request) {
	b := a.behaviour()
	select {
	case <-time.After(b.Delay):
	case <-r.Context().Done():
		return
	}
	burn(b.CPUTime)
	n := a.counter.Add(1)
	status := http.StatusOK
	if b.FailEvery > 0 && n%uint64(b.FailEvery) == 0 && time.Since(a.start) >= b.FailAfter {
		status = b.FailStatus
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Version", b.Version)
	if a.leaving.Load() {
		w.Header().Set("Connection", "close")
	}
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"version": b.Version, "host": a.host, "status": status,
		"path": r.URL.Path})
}
