package bench

import (
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd"

	"github.com/serin-cd/serin/internal/apitest"
)

// TestCommand measures tkn-canary before a server with nothing around it. What time is wanted is the bench's to say.
func TestCommand(t *testing.T) {
	if testing.Short() {
		t.Skip("starts an API server, which -short leaves out")
	}
	server, err := apitest.Start(t.Context(), apitest.Options{Audit: true})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Stop(false)
	known, err := clientcmd.LoadFromFile(server.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	c, err := buildCommand(t.Context(), "../..", t.TempDir(), logged{writer: server.Config(),
		kubeconfig: server.Kubeconfig, context: known.CurrentContext, log: server.AuditLog})
	if err != nil {
		t.Fatal(err)
	}
	c.rest = 3 * time.Second
	r := NewReport()
	if err := c.measure(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if len(r.Rows) != 8 {
		t.Errorf("%d rows, want 8", len(r.Rows))
	}
	for _, row := range r.Rows {
		t.Logf("%s: %s", row.What, row.got())
		if row.Unit == "" && row.Missed() {
			t.Errorf("%s: %v, want at most %v", row.What, row.Got, row.Want)
		}
	}
}
