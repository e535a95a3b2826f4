package releasetest

import (
	"fmt"
	"testing"
)

// Everywhere runs a test for a process that dies after 0, 1, 2 … writes, until it gets through; beyond is more writes
// than it may have.
func Everywhere(t *testing.T, beyond int, test func(t *testing.T, writes int) (died bool)) {
	if testing.Short() {
		t.Skip("needs an API server, which -short leaves out")
	}
	through := beyond
	for start := 0; start < through; start += 4 { // four at a time: each is an application with pods
		survived := make(chan int, 4)
		t.Run(fmt.Sprintf("from %d", start), func(t *testing.T) {
			for writes := start; writes < start+4; writes++ {
				t.Run(fmt.Sprintf("killed after %d writes", writes), func(t *testing.T) {
					t.Parallel()
					if !test(t, writes) {
						survived <- writes
					}
				})
			}
		})
		close(survived)
		for writes := range survived {
			through = min(through, writes)
		}
		if t.Failed() {
			return
		}
	}
	if through == beyond || through < 5 {
		t.Errorf("the flow has %d writes, want some that it can be killed at, and its end", through)
	}
	t.Logf("killed at each of %d writes", through)
}
