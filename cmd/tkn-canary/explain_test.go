package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/serin-cd/serin/internal/apitest"
	"github.com/serin-cd/serin/internal/releasetest"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/release/stage"
	"github.com/serin-cd/serin/pkg/task/parameter"
)

// shifted is an application whose run second has given its canary 20 and 40 % of the traffic, and was stopped.
func shifted(t *testing.T) *releasetest.App {
	t.Helper()
	a := releasetest.New(t)
	r := a.Second()
	for _, share := range []parameter.Weight{20, 40} {
		if err := stage.Shift(t.Context(), r, share, time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Close(t.Context(), "the step was stopped: terminated", "stopped"); err != nil {
		t.Fatal(err)
	}
	return a
}

// called is what a command prints.
func called(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	cmd := root()
	cmd.SetArgs(args)
	cmd.SetOut(&out)
	cmd.SetErr(&bytes.Buffer{})
	err := cmd.ExecuteContext(t.Context())
	return out.String(), err
}

// TestWhatIsLeftOfARun asks about one whose PipelineRun is gone.
func TestWhatIsLeftOfARun(t *testing.T) {
	a := shifted(t)
	at := []string{"podinfo", "--kubeconfig", apitest.KubeconfigOf(t), "-n", a.Namespace, "--run", "second"}
	got, err := called(t, append([]string{"explain"}, at...)...)
	if err != nil {
		t.Error(err)
	}
	for _, want := range []string{"second of podinfo in " + a.Namespace + ": rolled-back", "Stage 2 of 2, weight 40 %",
		"the step was stopped: terminated", "the PipelineRun is gone"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if _, err := called(t, append([]string{"logs"}, at...)...); err == nil ||
		!strings.Contains(err.Error(), "its pods with it: tkn canary explain podinfo tells") {
		t.Errorf("logs: error %v, want what is left", err)
	}
}

func TestCompletion(t *testing.T) {
	a := shifted(t)
	pipeline := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"tasks": []any{}}}}
	pipeline.SetAPIVersion("tekton.dev/v1")
	pipeline.SetKind("Pipeline")
	pipeline.SetName("canary-slow")
	if _, err := a.Cluster.Objects(kube.Pipelines, a.Namespace).Create(t.Context(), pipeline,
		metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		args []string
		want string // a line, or how it begins
	}{
		"applications":       {[]string{"watch", ""}, "podinfo"},
		"of abort":           {[]string{"abort", ""}, "podinfo"},
		"runs":               {[]string{"explain", "podinfo", "--run", ""}, "second\t"},
		"stages":             {[]string{"explain", "podinfo", "--stage", ""}, "2\tweight 40"},
		"pipelines":          {[]string{"start", "podinfo", "--pipeline", ""}, "canary-slow"},
		"formats":            {[]string{"status", "-o", ""}, "yaml"},
		"formats of watch":   {[]string{"watch", "podinfo", "-o", ""}, "json"},
		"namespaces":         {[]string{"status", "--namespace", ""}, a.Namespace},
		"runs of nobody":     {[]string{"logs", "other", "--run", ""}, ":4"},
		"tasks that are not": {[]string{"logs", "podinfo", "--task", ""}, ":4"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			at := []string{"--kubeconfig", apitest.KubeconfigOf(t)}
			if !slices.Contains(c.args, "--namespace") {
				at = append(at, "-n", a.Namespace)
			}
			args := slices.Concat([]string{"__complete", c.args[0]}, at, c.args[1:])
			got, err := called(t, args...)
			if err != nil || !slices.ContainsFunc(strings.Split(got, "\n"), func(line string) bool {
				return line == c.want || strings.HasSuffix(c.want, "\t") && strings.HasPrefix(line, c.want)
			}) {
				t.Errorf("%v: %v, no line %q in\n%s", args, err, c.want, got)
			}
		})
	}
}
