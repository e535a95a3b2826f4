package status_test

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/serin-cd/serin/internal/apitest"
	"github.com/serin-cd/serin/internal/releasetest"
	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/release/status"
	"github.com/serin-cd/serin/pkg/task/run"
)

const (
	many   = 200 // applications
	rest   = 3 * time.Second
	prompt = 5 * time.Second // on a busy machine; `make bench` prints what it is on a quiet one
)

// clusters are one to write by, and one to look by, whose requests are counted.
func clusters(t *testing.T) (write, look *kube.Cluster, calls *atomic.Int32) {
	t.Helper()
	calls = &atomic.Int32{}
	connect := func(through ...func(http.RoundTripper) http.RoundTripper) *kube.Cluster {
		config := apitest.Config(t)
		for _, wrap := range through {
			config.Wrap(wrap)
		}
		c, err := kube.New(config)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	return connect(), connect(counting(calls)), calls
}

func released(t *testing.T, c *kube.Cluster, namespace, name string) run.ID {
	t.Helper()
	id, err := releasetest.Released(t.Context(), c, application.Application{Namespace: namespace, Name: name})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestListMany(t *testing.T) {
	write, look, calls := clusters(t)
	own := map[string]bool{}
	for range 4 {
		namespace := apitest.Namespace(t)
		own[namespace] = true
		for i := range many / 4 {
			released(t, write, namespace, fmt.Sprintf("app-%d", i))
		}
	}
	began := time.Now()
	all, err := status.List(t.Context(), look, "")
	took := time.Since(began)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, a := range all {
		if !own[a.Namespace] {
			continue
		}
		found++
		if a.Weight != 20 || a.Run != a.Name+"-2" || a.Problem != "" || a.Canary.String() != "podinfo:2" {
			t.Errorf("status %+v, want weight 20 by run %s-2", a, a.Name)
		}
	}
	if found != many {
		t.Errorf("%d applications, want %d", found, many)
	}
	if n := calls.Load(); n > 5 {
		t.Errorf("%d requests, want at most 5", n)
	}
	if took > prompt {
		t.Errorf("it took %s, want less than %s", took, prompt)
	}
}

// TestFollowAtRest has it tell a change at once, and ask nothing before and after.
func TestFollowAtRest(t *testing.T) {
	for name, follow := range map[string]func(context.Context, *kube.Cluster, status.Run,
		func(status.Change)) (status.Run, error){
		"by lines": func(ctx context.Context, c *kube.Cluster, r status.Run, tell func(status.Change)) (status.Run,
			error) {
			return status.Follow(ctx, c, r.ID, tell)
		},
		"closely": status.FollowClosely,
	} {
		t.Run(name, func(t *testing.T) {
			write, look, calls := clusters(t)
			app := application.Application{Namespace: apitest.Namespace(t), Name: "podinfo"}
			id := released(t, write, app.Namespace, app.Name)
			changes := make(chan status.Change, 100)
			ended := make(chan error, 1)
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				_, err := follow(ctx, look, status.Run{ID: id, App: app.Name}, func(c status.Change) { changes <- c })
				ended <- err
			}()
			defer func() { cancel(); <-ended }()
			still(t, changes)
			watches := calls.Load()
			still(t, changes)
			if err := releasetest.Record(t.Context(), write, app, releasetest.Shifted(write, id, 20, 40)); err != nil {
				t.Fatal(err)
			}
			select {
			case c := <-changes:
				if c.Weight == nil || c.Weight.Weight != 40 {
					t.Errorf("told %+v, want weight 40", c)
				}
			case <-time.After(prompt):
				t.Errorf("not told within %s that the weight is 40", prompt)
			}
			still(t, changes)
			if n := calls.Load() - watches; n != 0 {
				t.Errorf("%d requests while only the weight changed, want none", n)
			}
		})
	}
}

// still waits until nothing has been told for some seconds.
func still(t *testing.T, changes <-chan status.Change) {
	t.Helper()
	late := time.After(time.Minute)
	for {
		select {
		case <-changes:
		case <-time.After(rest):
			return
		case <-late:
			t.Fatal("still told of changes after a minute")
		}
	}
}
