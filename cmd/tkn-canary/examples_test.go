package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/rogpeppe/go-internal/txtar"
	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"

	"github.com/serin-cd/serin/internal/apitest"
	"github.com/serin-cd/serin/internal/prometheustest"
	"github.com/serin-cd/serin/internal/releasetest"
	"github.com/serin-cd/serin/pkg/cluster/kube"
)

// scripts are those whose lines are the examples of the commands, word for word.
const scripts = "testdata/examples"

// TestEveryExampleIsRun wants an example of each command, and each line of it in a script.
func TestEveryExampleIsRun(t *testing.T) {
	run := map[string]bool{}
	files, err := filepath.Glob(filepath.Join(scripts, "*.txtar"))
	if err != nil || len(files) == 0 {
		t.Fatalf("found scripts %v: %v", files, err)
	}
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(archive.Comment)) {
			run[strings.TrimPrefix(strings.TrimSpace(line), "! ")] = true
		}
	}
	walk(root(), func(cmd *cobra.Command) {
		if strings.TrimSpace(cmd.Example) == "" {
			t.Errorf("%s has no example", cmd.CommandPath())
			return
		}
		for _, line := range examples(cmd.Example) {
			if line = strings.TrimSpace(line); !run[line] {
				t.Errorf("%s: no script in %s runs its example\n%s", cmd.CommandPath(), scripts, line)
			}
		}
	})
}

// walk visits the commands that do something, but for cobra's own.
func walk(cmd *cobra.Command, visit func(*cobra.Command)) {
	for _, c := range cmd.Commands() {
		if c.Name() == "help" || c.Name() == "completion" {
			continue
		}
		if c.Runnable() {
			visit(c)
		}
		walk(c, visit)
	}
}

// examples are those of a command.
func examples(text string) []string { return strings.Split(strings.TrimSpace(text), "\n") }

// asTkn is tkn, which calls its plugin. The namespace and the Prometheus of a script go by the examples' names.
func asTkn() {
	names := map[string]string{"production": os.Getenv("NAMESPACE"), "http://localhost:9090": os.Getenv("PROMETHEUS")}
	for i, arg := range os.Args {
		if name := names[arg]; name != "" {
			os.Args[i] = name
		}
	}
	os.Args = slices.Delete(os.Args, 1, 2) // canary
	main()
}

// asKubectl is what the examples need of kubectl: apply -f -, and get KIND,KIND -n NAMESPACE -o yaml.
func asKubectl() {
	if err := kubectl(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "kubectl:", err)
		os.Exit(1)
	}
}

func kubectl(args []string) error {
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		return err
	}
	cluster, err := kube.New(config)
	if err != nil {
		return err
	}
	if args[0] == "get" {
		return get(cluster, args)
	}
	text, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	return apply(cluster, string(text))
}

// apply applies what has the kinds that tkn canary writes.
func apply(cluster *kube.Cluster, manifest string) error {
	resources := map[string]schema.GroupVersionResource{"Pipeline": kube.Pipelines, "PipelineRun": kube.PipelineRuns,
		"ServiceAccount": {Version: "v1", Resource: "serviceaccounts"}, "ConfigMap": kube.ConfigMaps}
	for _, kind := range []string{"Role", "RoleBinding"} {
		resources[kind] = schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1",
			Resource: strings.ToLower(kind) + "s"}
	}
	for document := range strings.SplitSeq(manifest, "\n---\n") {
		var o unstructured.Unstructured
		if err := yaml.Unmarshal([]byte(document), &o.Object); err != nil {
			return err
		}
		if len(o.Object) == 0 {
			continue // comments alone
		}
		namespace := o.GetNamespace()
		if namespace == "" || namespace == "production" {
			namespace = os.Getenv("NAMESPACE")
		}
		o.SetNamespace(namespace)
		if _, err := cluster.Objects(resources[o.GetKind()], namespace).Apply(context.Background(), o.GetName(),
			&o, metav1.ApplyOptions{FieldManager: "kubectl"}); err != nil {
			return fmt.Errorf("applying %s %s: %w", o.GetKind(), o.GetName(), err)
		}
		fmt.Printf("%s/%s applied\n", strings.ToLower(o.GetKind()), o.GetName())
	}
	return nil
}

// get writes all objects of some kinds as a List.
func get(cluster *kube.Cluster, args []string) error {
	list := map[string]any{"apiVersion": "v1", "kind": "List"}
	var items []any
	for kind := range strings.SplitSeq(args[1], ",") {
		resource := map[string]schema.GroupVersionResource{"canary": releasetest.Canaries,
			"metrictemplate": metricTemplates}[kind]
		found, err := cluster.Objects(resource, os.Getenv("NAMESPACE")).List(context.Background(), metav1.ListOptions{})
		if err != nil {
			return err
		}
		for _, o := range found.Items {
			items = append(items, o.Object)
		}
	}
	list["items"] = items
	return encode(os.Stdout, "yaml", list)
}

// play is what a script has of a cluster.
type play struct {
	t     testing.TB
	app   *releasetest.App
	began time.Time // last run
	ended chan error
	pods  int
	code  int // of the last example
}

// TestExamples runs the examples against a real API server, each script in a namespace of its own.
func TestExamples(t *testing.T) {
	pipelines, err := filepath.Abs("../../pipelines")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: scripts,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"tkn": line("tkn"), "kubectl": line("kubectl"), "code": code, "application": deployed, "flagger": flaggered,
			"push": pushed, "run": ran, "tekton": inBackground, "ended": waited, "logged": logged, "past": moved,
			"prometheus": remembered, "serves": serves, "there": there,
		},
		Setup: func(env *testscript.Env) error {
			env.Setenv("PIPELINES", pipelines)
			t, _ := env.T().(testing.TB)
			env.Values["play"] = &play{t: t}
			return nil
		},
	})
}

func of(ts *testscript.TestScript) *play {
	p, _ := ts.Value("play").(*play)
	return p
}

// line runs an example in a shell, as it stands. Its exit code is for the command code.
func line(program string) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, fails bool, args []string) {
		text := `tkn() { as-tkn "$@"; }; kubectl() { as-kubectl "$@"; }; ` + program
		for _, arg := range args {
			if arg != "|" && arg != ">" {
				arg = "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
			}
			text += " " + arg
		}
		err := ts.Exec("sh", "-c", text)
		ended := 0
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			ended = exit.ExitCode()
		} else if err != nil {
			ts.Fatalf("%s: %v", text, err)
		}
		of(ts).code = ended
		if fails != (ended != 0) {
			ts.Fatalf("%s: exit %d", text, ended)
		}
	}
}

// code wants the exit code of the example before: `code 2`.
func code(ts *testscript.TestScript, _ bool, args []string) {
	if got := fmt.Sprint(of(ts).code); got != args[0] {
		ts.Fatalf("exit %s, want %s", got, args[0])
	}
}

// deployed deploys the application shop, in a namespace that is the kubeconfig's.
func deployed(ts *testscript.TestScript, _ bool, _ []string) {
	p := of(ts)
	p.app = releasetest.New(p.t, releasetest.Called("shop"))
	p.app.Install("../../pipelines/canary/canary.yaml", 1)
	config, err := clientcmd.LoadFromFile(apitest.KubeconfigOf(p.t))
	ts.Check(err)
	for _, c := range config.Contexts {
		c.Namespace = p.app.Namespace
	}
	file := ts.MkAbs("kubeconfig")
	ts.Check(clientcmd.WriteToFile(*config, file))
	ts.Setenv("KUBECONFIG", file)
	ts.Setenv("NAMESPACE", p.app.Namespace)
}

// flaggered has Flagger run the application.
func flaggered(ts *testscript.TestScript, _ bool, args []string) {
	if p := of(ts); len(args) > 0 {
		p.app.Phase(args[0])
	} else {
		p.app.Flagger("Succeeded", nil)
	}
}

// pushed gives the Deployment a version: `push 2`.
func pushed(ts *testscript.TestScript, _ bool, args []string) { of(ts).app.Push(args[0]) }

// ran plays a run of a name with a verdict: `run shop-7 pass`.
func ran(ts *testscript.TestScript, _ bool, args []string) {
	p := of(ts)
	p.app.Eventually("it is a later second than that of the last run", func() bool {
		return p.app.Cluster.Now().Unix() > p.began.Unix()
	})
	k := player{p.app, args[1]}
	made, err := k.make(p.t.Context(), args[0], "")
	ts.Check(err)
	p.began = made.GetCreationTimestamp().Time
	ts.Check(k.play(p.t.Context(), made))
}

// inBackground plays the next PipelineRun with a verdict, while the script goes on: `tekton pass`.
func inBackground(ts *testscript.TestScript, _ bool, args []string) {
	p := of(ts)
	p.ended = make(chan error, 1)
	k := player{p.app, args[0]}
	go func() {
		ctx, cancel := context.WithTimeout(p.t.Context(), 2*time.Minute)
		defer cancel()
		found, err := k.next(ctx)
		if err == nil {
			err = k.play(ctx, found)
		}
		p.ended <- err
	}()
}

// waited waits until that has ended.
func waited(ts *testscript.TestScript, _ bool, _ []string) { ts.Check(<-of(ts).ended) }

// logged gives a task of a run a pod whose step has logged a line: `logged shop-7 stage-20 analyze-metrics TEXT`.
func logged(ts *testscript.TestScript, _ bool, args []string) {
	p := of(ts)
	run, task, step, text := args[0], args[1], args[2], args[3]
	p.pods++
	pod := fmt.Sprintf("%s-%s-%d", run, task, p.pods)
	log := apitest.Logs(p.t, p.app.Namespace, pod, "step-"+step)["step-"+step]
	go func() {
		_, _ = io.WriteString(log, text+"\n")
		log.Close()
	}()
	k := player{app: p.app}
	ts.Check(k.write(p.t.Context(), kube.TaskRuns, run+"-"+task, map[string]any{"podName": pod, "steps": []any{
		map[string]any{"name": step, "container": "step-" + step, "terminated": map[string]any{"exitCode": 0}}}}))
}

// moved moves the last run to a time: `past 2025-11-23T12:00:00Z`.
func moved(ts *testscript.TestScript, _ bool, args []string) {
	const annotation = "serin.dev/run"
	p := of(ts)
	begin, err := time.Parse(time.RFC3339, args[0])
	ts.Check(err)
	var record map[string]any
	ts.Check(json.Unmarshal([]byte(p.app.VirtualService().Annotations[annotation]), &record))
	phases, _ := record["phases"].([]any)
	for i, phase := range phases {
		stage, _ := phase.(map[string]any)
		stage["at"] = begin.Add(time.Duration(i) * time.Minute)
	}
	record["ended"] = begin.Add(2 * time.Minute)
	text, err := json.Marshal(record)
	ts.Check(err)
	p.app.Record("past", string(text))
}

// remembered has a Prometheus that saw the application released at noon, one request in twenty failing.
func remembered(ts *testscript.TestScript, _ bool, _ []string) {
	p := of(ts)
	ts.Setenv("PROMETHEUS", prometheustest.Start(p.t, rollout(p.app.Namespace, p.app.Name)...))
}

// serves wants a version of the primary: `serves 2`, or an image.
func serves(ts *testscript.TestScript, _ bool, args []string) {
	want := args[0]
	if !strings.Contains(want, ":") {
		want = releasetest.Image(want)
	}
	state := of(ts).app.State()
	if state.Primary != want || state.Weight != 0 {
		ts.Fatalf("the primary serves %s, the canary has weight %d: want %s and 0", state.Primary, state.Weight, want)
	}
}

// there wants an object: `there canaries shop`, `! there pipelineruns shop-7`. Without a name it is any.
func there(ts *testscript.TestScript, not bool, args []string) {
	p := of(ts)
	resource, ok := map[string]schema.GroupVersionResource{"canaries": releasetest.Canaries,
		"deployments": kube.Deployments, "pipelineruns": kube.PipelineRuns, "pipelines": kube.Pipelines,
		"services": kube.Services, "serviceaccounts": {Version: "v1", Resource: "serviceaccounts"}}[args[0]]
	if !ok {
		ts.Fatalf("looking for %s: they are not known here", args[0])
	}
	list, err := p.app.Cluster.Objects(resource, p.app.Namespace).List(p.t.Context(), metav1.ListOptions{})
	ts.Check(err)
	var names []string
	for _, o := range list.Items {
		names = append(names, o.GetName())
	}
	if found := slices.Contains(names, args[1]); found == not {
		ts.Fatalf("there are %s %v", args[0], names)
	}
}
