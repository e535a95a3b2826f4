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

func TestExamplesOfExplain(t *testing.T) {
	a := shifted(t)
	for _, line := range examples(explains().Example) {
		args := arguments(t, a, line)
		got, err := called(t, args...)
		if err != nil {
			t.Errorf("%v: %v", args, err)
		}
		wanted := []string{"second of podinfo in " + a.Namespace + ": rolled-back", "Stage 2 of 2, weight 40 %",
			"the step was stopped: terminated", "the PipelineRun is gone"}
		switch {
		case slices.Contains(args, "json"):
			wanted = []string{`"outcome": "rolled-back"`, `"weight": 40`}
		case slices.Contains(args, "--stage"):
			wanted = []string{"Stage 1 of 2, weight 20 %", "the PipelineRun is gone"}
		}
		for _, want := range wanted {
			if !strings.Contains(got, want) {
				t.Errorf("%v: no %q in\n%s", args, want, got)
			}
		}
	}
}

// TestExamplesOfLogs runs them where no pod is left.
func TestExamplesOfLogs(t *testing.T) {
	a := shifted(t)
	for _, line := range examples(logsOf().Example) {
		args := arguments(t, a, line)
		if _, err := called(t, args...); err == nil || !strings.Contains(err.Error(), "its pods with it: tkn canary "+
			"explain podinfo tells") {
			t.Errorf("%v: error %v, want what is left", args, err)
		}
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
