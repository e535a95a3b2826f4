package steps_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/serin-cd/serin/internal/apitest"
	"github.com/serin-cd/serin/internal/releasetest"
)

func TestMain(m *testing.M) { apitest.Main(m, apitest.Controllers) }

// TestSteps runs the step programs: environment in, results and exit code out. Each script has a namespace in
// which the run "second" has prepared version 2 of podinfo.
func TestSteps(t *testing.T) {
	kubeconfig, bin := connection(t), build(t, "./shift-weight", "./acquire-lease")
	scripts, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for _, script := range scripts {
		t.Run(strings.TrimSuffix(filepath.Base(script), ".txtar"), func(t *testing.T) {
			a := releasetest.New(t)
			a.Second()
			testscript.Run(t, testscript.Params{
				Files: []string{script},
				Setup: func(env *testscript.Env) error {
					env.Setenv("PATH", bin)
					env.Setenv("KUBECONFIG", kubeconfig)
					env.Setenv("RUN_NAMESPACE", a.Namespace)
					env.Setenv("RESULT_REASON", filepath.Join(env.WorkDir, "reason"))
					return nil
				},
				Cmds: map[string]func(*testscript.TestScript, bool, []string){
					"exits": exits,
					"pipelinerun": func(ts *testscript.TestScript, _ bool, args []string) {
						ts.Setenv("UID", a.PipelineRun(args[0]).ID.UID)
					},
					"weight": func(ts *testscript.TestScript, _ bool, args []string) {
						if got := strconv.Itoa(int(a.State().Weight)); got != args[0] {
							ts.Fatalf("the canary has %s %%, want %s", got, args[0])
						}
					},
				},
			})
		})
	}
}

// exits runs a program and wants an exit code of it: exits 2 shift-weight.
func exits(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec(args[1], args[2:]...)
	code := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("running %s: %v", args[1], err)
	}
	if want, _ := strconv.Atoi(args[0]); code != want {
		ts.Fatalf("%s exits %d, want %d", args[1], code, want)
	}
}

// build compiles programs, and returns the folder that they are in.
func build(t *testing.T, programs ...string) string {
	t.Helper()
	dir := t.TempDir()
	out, err := exec.CommandContext(t.Context(), "go", append([]string{"build", "-o", dir}, programs...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("building %v: %v\n%s", programs, err, out)
	}
	return dir
}

// connection is a kubeconfig file of the test's API server.
func connection(t *testing.T) string {
	t.Helper()
	config := apitest.Config(t)
	file := filepath.Join(t.TempDir(), "kubeconfig")
	err := clientcmd.WriteToFile(clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{"test": {Server: config.Host, CertificateAuthorityData: config.CAData}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{"test": {Token: config.BearerToken}},
		Contexts:       map[string]*clientcmdapi.Context{"test": {Cluster: "test", AuthInfo: "test"}},
		CurrentContext: "test",
	}, file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(file, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
