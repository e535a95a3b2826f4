package main

import (
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/serin-cd/serin/internal/apitest"
)

func TestMain(m *testing.M) {
	testscript.Main(served{m}, map[string]func(){"tkn-canary": main, "as-tkn": asTkn, "as-kubectl": asKubectl})
}

// served are tests that may ask for an API server.
type served struct{ *testing.M }

// Run implements testscript.TestingM.
func (s served) Run() int {
	apitest.Main(s.M, apitest.Controllers) // exits
	return 1
}

func TestScripts(t *testing.T) {
	pipelines, err := filepath.Abs("../../pipelines")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:  "testdata",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "unanswered": unanswered},
		Setup: func(env *testscript.Env) error {
			env.Setenv("PIPELINES", pipelines)
			return nil
		},
	})
}

// exits runs tkn-canary, which must end with a code: `exits 2 replay`.
func exits(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec("tkn-canary", args[1:]...)
	code := 0
	var ended *exec.ExitError
	if errors.As(err, &ended) {
		code = ended.ExitCode()
	}
	if fmt.Sprint(code) != args[0] {
		ts.Fatalf("exit %d (%v), want %s", code, err, args[0])
	}
}

// unanswered runs tkn-canary, which must say within seconds that no API server answers.
func unanswered(ts *testscript.TestScript, _ bool, args []string) {
	began := time.Now()
	exits(ts, false, append([]string{"1"}, args...))
	if took := time.Since(began); took > 10*time.Second {
		ts.Fatalf("it took %s, want at most 10 s", took)
	}
	const want = "tkn canary: reaching the API server at 127.0.0.1:1: "
	if text := ts.ReadFile("stderr"); !strings.HasPrefix(text, want) || strings.Count(text, "\n") != 1 {
		ts.Fatalf("it does not say in one line that the API server does not answer")
	}
}
