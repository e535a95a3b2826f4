package main

import (
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/serin-cd/serin/internal/apitest"
)

func TestMain(m *testing.M) {
	testscript.Main(served{m}, map[string]func(){"tkn-canary": main})
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
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits},
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
