package steps_test

import (
	"os"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/serin-cd/serin/internal/apitest"
	"github.com/serin-cd/serin/internal/pipeline"
	"github.com/serin-cd/serin/internal/releasetest"
	"github.com/serin-cd/serin/internal/rights"
	"github.com/serin-cd/serin/pkg/cluster/application"
)

// TestRights plays releases with the accounts of `tkn canary render --rbac`: whatever else a program asks for, even
// something it could do without, fails the test.
func TestRights(t *testing.T) {
	t.Parallel()
	apitest.Config(t)
	mesh := newMesh(t)
	bin := build(t)
	mesh.scraped(t)
	app := releasetest.New(t)
	s := &theatre{t: t, app: app, way: newWay(t), proxies: mesh.of(app.Namespace)}
	of := application.Application{Namespace: app.Namespace, Name: "podinfo"}
	text, err := rights.Write(of, pipeline.Shipped().Stages())
	if err != nil {
		t.Fatal(err)
	}
	apitest.Apply(t, app.Namespace, text)
	release, stage := rights.Accounts(of)
	accounts := map[string]string{"RELEASE": s.as(t, release), "STAGE": s.as(t, stage)}
	testscript.Run(t, testscript.Params{
		Files: []string{"testdata/rights/release.txtar"},
		Cmds:  s.commands(),
		Setup: func(env *testscript.Env) error {
			env.Setenv("PATH", bin)
			env.Setenv("PARAM_PROMETHEUS_URL", mesh.prometheus)
			env.Setenv("RUN_NAMESPACE", app.Namespace)
			for name, kubeconfig := range accounts {
				env.Setenv(name, kubeconfig)
			}
			return nil
		},
	})
}

// as is a kubeconfig of a ServiceAccount of the application's namespace.
func (s *theatre) as(t *testing.T, account string) string {
	t.Helper()
	file := s.way.kubeconfig(t)
	config, err := clientcmd.LoadFromFile(file)
	if err != nil {
		t.Fatal(err)
	}
	config.AuthInfos["test"].Impersonate = "system:serviceaccount:" + s.app.Namespace + ":" + account
	if err := clientcmd.WriteToFile(*config, file); err != nil {
		t.Fatal(err)
	}
	return file
}

// granted is exits for a program to which nothing was refused, not even what it does without.
func (s *theatre) granted(ts *testscript.TestScript, _ bool, args []string) {
	s.exits(ts, false, args)
	if text := ts.ReadFile("stderr"); strings.Contains(text, "is forbidden") {
		ts.Fatalf("%s has not all the rights that it asks for", args[1])
	}
}

// TestRightsOfAnEnvironment starts releases with the account of the sample.
func TestRightsOfAnEnvironment(t *testing.T) {
	t.Parallel()
	apitest.Config(t)
	bin := build(t)
	app := releasetest.New(t)
	s := &theatre{t: t, app: app, way: newWay(t)}
	text, err := os.ReadFile("../pipelines/environment/samples/rbac.yaml")
	if err != nil {
		t.Fatal(err)
	}
	start, _, _ := strings.Cut(string(text), "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\n"+
		"metadata:\n  name: serin-environment-admin\n") // the rights of Helm are not those of the step
	apitest.Apply(t, app.Namespace, []byte(start))
	account := s.as(t, "serin-environment")
	testscript.Run(t, testscript.Params{
		Files: []string{"testdata/rights/start.txtar"},
		Cmds:  s.commands(),
		Setup: func(env *testscript.Env) error {
			env.Setenv("PATH", bin)
			env.Setenv("KUBECONFIG", account)
			env.Setenv("RUN_NAMESPACE", app.Namespace)
			return nil
		},
	})
}
