package build

import (
	"context"
	"sync"
)

// Turn is an artifact's place in the order of compiling. Two go commands that run at the same time both compile a
// package that both need; one after the other, the second finds it in Go's build cache.
type Turn struct {
	before <-chan struct{} // closed when all before it have passed
	done   func()          // closes passed
	passed chan struct{}
}

// NewTurn is the place after another, or the first if that is nil.
func NewTurn(after *Turn) *Turn {
	t := &Turn{passed: make(chan struct{})}
	if after != nil {
		t.before = after.passed
	}
	t.done = sync.OnceFunc(func() {
		if t.before != nil {
			<-t.before
		}
		close(t.passed)
	})
	return t
}

// pass lets the next one compile, if those before have passed too. It is called when all is compiled: linking keeps
// one processor busy, not all.
func (t *Turn) pass() { go t.done() }

// wait returns when it is this one's turn.
func (t *Turn) wait(ctx context.Context) error {
	if t.before == nil {
		return ctx.Err()
	}
	select {
	case <-t.before:
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}
