package node

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"syscall"
)

// handler is the supervisor's side: GET / tells, POST /VERB/COMPONENT acts.
func (s *supervisor) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		_ = json.NewEncoder(w).Encode(s.statuses())
	})
	verbs := map[string]func(name string) error{
		"start":   s.start,
		"stop":    s.stop,
		"kill":    func(name string) error { return s.signal(name, syscall.SIGKILL) },
		"restart": func(name string) error { return errors.Join(s.stop(name), s.start(name)) },
	}
	for verb, do := range verbs {
		mux.HandleFunc("POST /"+verb+"/{name}", func(w http.ResponseWriter, r *http.Request) {
			if err := do(r.PathValue("name")); err != nil {
				http.Error(w, err.Error(), http.StatusConflict)
			}
		})
	}
	return mux
}

// Control talks to a node's supervisor.
type Control struct {
	dir    string
	client *http.Client
}

// NewControl talks to the supervisor of the node in dir.
func NewControl(dir string) *Control {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", filepath.Join(dir, controlFile))
	}
	return &Control{dir: dir, client: &http.Client{Transport: &http.Transport{DialContext: dial,
		DisableKeepAlives: true}}}
}

// Components tells how all components are, in the order of the configuration.
func (c *Control) Components(ctx context.Context) ([]Status, error) {
	b, err := c.call(ctx, http.MethodGet, "")
	if err != nil {
		return nil, fmt.Errorf("asking the node for its components: %w", err)
	}
	var out []Status
	return out, json.Unmarshal(b, &out)
}

// Do starts, stops, kills or restarts a component, and returns when that is done. A component that was killed is
// started again by itself, as after any crash; one that was stopped is not.
func (c *Control) Do(ctx context.Context, verb, component string) error {
	if _, err := c.call(ctx, http.MethodPost, verb+"/"+component); err != nil {
		return fmt.Errorf("%s %s: %w", verb, component, err)
	}
	return nil
}

func (c *Control) call(ctx context.Context, method, path string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://node/"+path, nil)
	if err != nil {
		return nil, err
	}
	res, err := c.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s", bytes.TrimSpace(b))
	}
	return b, nil
}
