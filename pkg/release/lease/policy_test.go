package lease_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/serin-cd/serin/internal/apitest"
)

// TestPolicyThatRefusesTheLease is told at once, in its own words: HTTP 422 is also the answer to a patch that has
// lost a race, which is tried again.
func TestPolicyThatRefusesTheLease(t *testing.T) {
	namespace := apitest.Namespace(t)
	apitest.Deny(t, namespace, "coordination.k8s.io", "leases", "no Leases here")
	l := at(t, namespace, "first", noon)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := l.Acquire(ctx, never); err == nil || ctx.Err() != nil ||
		!strings.Contains(err.Error(), "no Leases here") {
		t.Errorf("error %v (%v), want the policy's words, before the time is up", err, ctx.Err())
	}
}
