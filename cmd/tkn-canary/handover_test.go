package main

import (
	"bytes"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serin-cd/serin/internal/apitest"
	"github.com/serin-cd/serin/internal/releasetest"
	"github.com/serin-cd/serin/pkg/task/failure"
)

// example runs one of a command's examples on an application, and returns what it prints.
func example(t *testing.T, a *releasetest.App, line string, more ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	cmd := root()
	cmd.SetArgs(append(arguments(t, a, line), more...))
	cmd.SetOut(&out)
	err := cmd.ExecuteContext(t.Context())
	return out.String(), err
}

// arguments are those of an example, for the application and the run of a test.
func arguments(t *testing.T, a *releasetest.App, line string) []string {
	t.Helper()
	line, _, _ = strings.Cut(strings.TrimSpace(line), " >")
	line = strings.NewReplacer("shop-7", "second", "shop", "podinfo", "production", a.Namespace).Replace(line)
	return append(strings.Fields(strings.TrimPrefix(line, "tkn canary ")), "--kubeconfig", apitest.KubeconfigOf(t))
}

// examples are those of a command.
func examples(text string) []string { return strings.Split(strings.TrimSpace(text), "\n") }

// hasCanary says whether the application has a Canary.
func hasCanary(t *testing.T, a *releasetest.App) bool {
	t.Helper()
	_, err := a.Cluster.Objects(releasetest.Canaries, a.Namespace).Get(t.Context(), "podinfo", metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		t.Fatal(err)
	}
	return err == nil
}

// want looks for texts in what a command has printed.
func want(t *testing.T, out string, err error, texts ...string) {
	t.Helper()
	if err != nil {
		t.Errorf("error %v", err)
	}
	for _, text := range texts {
		if !strings.Contains(out, text) {
			t.Errorf("no %q in\n%s", text, out)
		}
	}
}

// TestExamplesOfHandover takes an application over from Flagger, gives it back, and takes it over again, to remove it.
func TestExamplesOfHandover(t *testing.T) {
	a := releasetest.New(t)
	a.Flagger("Succeeded", nil)
	t.Chdir(t.TempDir())
	dry, adopt := examples(adopts().Example)[0], examples(adopts().Example)[1]
	out, err := example(t, a, dry)
	want(t, out, err, ": suspend Canary podinfo, and wait until", ": delete Canary podinfo, and leave what it made",
		"nothing was changed (dry run)")
	if !hasCanary(t, a) {
		t.Fatal("a dry run has deleted the Canary")
	}
	out, err = example(t, a, adopt)
	want(t, out, err, "are saved in podinfo-flagger.yaml", "next: tkn canary import -f podinfo-flagger.yaml")
	if hasCanary(t, a) {
		t.Error("the Canary is there, want it gone")
	}

	lines := examples(ejects().Example)
	out, err = example(t, a, lines[0], "--dry-run")
	want(t, out, err, ": scale Deployment podinfo to 2 pods", ": delete Lease serin-podinfo", "nothing was changed")
	out, err = example(t, a, lines[1], "--dry-run")
	want(t, out, err, "# the application has no PipelineRun any more: the analysis is that of the defaults",
		"kind: Canary\n", "hosts:\n    - podinfo.test\n")
	_, err = example(t, a, lines[2])
	want(t, "", err)
	if !hasCanary(t, a) {
		t.Error("the Canary is not there, want it made")
	}

	a.Phase("Initialized")
	out, err = example(t, a, adopt, "--save", "again.yaml")
	want(t, out, err, "are saved in again.yaml")
	asks, removes := examples(removes().Example)[0], examples(removes().Example)[1]
	out, err = example(t, a, asks)
	if failure.Code(err) != failure.ExitConfig || !strings.Contains(err.Error(), "say --yes") {
		t.Errorf("remove without --yes: %v, want it refused", err)
	}
	want(t, out, nil, ": delete DestinationRule podinfo-canary, ", "Deployment podinfo stays, with 0 pods",
		"VirtualService podinfo stays, of which http/0 leads to nobody any more")
	out, err = example(t, a, removes)
	want(t, out, err, ": take Serin's marks off what stays")
	out, err = example(t, a, removes)
	want(t, out, err, "there is nothing of Serin's")
}
