package trial

import (
	"context"
	"sync"

	"github.com/serin-cd/serin/e2e/load"
)

// Clients send requests to an application through the gateway and remember the failures.
type Clients struct {
	mu     sync.Mutex
	failed []load.Answer
	sent   int
	stop   func()
}

// Clients start to send at a constant rate, in requests a second to the application's host and to each of the others,
// until Stop.
func (a *App) Clients(ctx context.Context, rate int, others ...string) *Clients {
	c := &Clients{}
	ctx, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	for _, host := range append(others, a.Host) {
		all.Go(func() {
			// Its options are right, and a context that ends is no error.
			_, _ = load.Run(ctx, load.Options{URL: a.Sandbox.Gateway, Host: host, Rate: rate, EachAnswer: c.answered})
		})
	}
	c.stop = func() { cancel(); all.Wait() }
	return c
}

func (c *Clients) answered(a load.Answer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent++
	if a.Failed() {
		c.failed = append(c.failed, a)
	}
}

// Stop ends the sending and returns when the last answer is there.
func (c *Clients) Stop() { c.stop() }

// Reset forgets what was.
func (c *Clients) Reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent, c.failed = 0, nil
}

// Seen returns what came since the last Reset: how many answers, and those that failed.
func (c *Clients) Seen() (sent int, failed []load.Answer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sent, append([]load.Answer{}, c.failed...)
}
