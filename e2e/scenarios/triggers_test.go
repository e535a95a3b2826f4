package scenarios

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/serin-cd/serin/e2e/trial"
	"github.com/serin-cd/serin/pkg/cluster/kube"
)

// webhookSecret is what the forge and the EventListener share.
const webhookSecret = "a secret of 20 bytes"

// started is a Pipeline for an environment that another tool applies: nothing but the Task.
const started = `
apiVersion: tekton.dev/v1
kind: Pipeline
metadata: {name: start}
spec:
  params: [{name: git-url}, {name: git-branch}, {name: git-revision}]
  tasks:
  - name: release
    taskRef: {name: start-release}
    timeout: 30m
`

// listen has the EventListener of triggers/ in the application's namespace, for the webhooks of one repository. There
// is no volume here, and no Secret of git.
func (p *play) listen(repository string) {
	p.Helper()
	root, err := trial.Checkout(p.Context())
	if err != nil {
		p.Fatal(err)
	}
	read := func(path ...string) string {
		text, err := os.ReadFile(filepath.Join(append([]string{root}, path...)...))
		if err != nil {
			p.Fatal(err)
		}
		return string(text)
	}
	listener, _, _ := strings.Cut(read("triggers", "listener.yaml"), "        workspaces:\n")
	for _, manifest := range []string{
		strings.Replace(listener, "pipelineRef:\n          name: environment",
			"pipelineRef:\n          name: start", 1),
		strings.Replace(read("triggers", "github.yaml"), "OWNER/REPOSITORY", repository, 2),
		read("pipelines", "environment", "samples", "rbac.yaml"),
		started,
		"{apiVersion: v1, kind: Secret, metadata: {name: forge-webhook}, stringData: {secret: " + webhookSecret + "}}",
	} {
		if err := p.app.Apply(p.Context(), manifest); err != nil {
			p.Fatal(err)
		}
	}
	bindings := p.app.Client.RbacV1().ClusterRoleBindings()
	bound, err := bindings.Create(p.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "serin-triggers-" + p.app.Namespace},
		RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole",
			Name: "tekton-triggers-eventlistener-clusterroles"},
		Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Name: "serin-triggers", Namespace: p.app.Namespace}},
	}, metav1.CreateOptions{})
	if err != nil {
		p.Fatal(err)
	}
	p.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(p.Context()), time.Minute)
		defer cancel()
		if err := bindings.Delete(ctx, bound.Name, metav1.DeleteOptions{}); err != nil {
			p.Error(err)
		}
	})
	if _, err := p.app.Kubectl(p.Context(), "", "wait", "--for=condition=Ready", "eventlistener/serin",
		"--timeout=3m"); err != nil {
		p.Fatal(err)
	}
}

// deliver sends the webhook of a push, signed with a secret, and returns once it is taken. An EventListener answers all
// deliveries alike.
func (p *play) deliver(repository, ref, revision, secret string) {
	p.Helper()
	body, err := json.Marshal(map[string]any{"ref": ref, "after": revision, "repository": map[string]any{
		"full_name": repository, "default_branch": "main", "clone_url": "http://forge.test/" + repository + ".git"}})
	if err != nil {
		p.Fatal(err)
	}
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	answer := p.app.Client.CoreV1().RESTClient().Post().Namespace(p.app.Namespace).Resource("services").
		Name("el-serin:8080").SubResource("proxy").Body(body).SetHeader("Content-Type", "application/json").
		SetHeader("X-GitHub-Event", "push").
		SetHeader("X-Hub-Signature-256", "sha256="+hex.EncodeToString(mac.Sum(nil))).Do(p.Context())
	if err := answer.Error(); err != nil {
		p.Fatalf("delivering a push of %s: %v", revision, err)
	}
}

// runs are the names of the PipelineRuns that are there.
func (p *play) runs() []string {
	p.Helper()
	list, err := p.app.Tekton.PipelineRuns(p.app.Namespace).List(p.Context(), metav1.ListOptions{})
	if err != nil {
		p.Fatal(err)
	}
	var names []string
	for _, r := range list.Items {
		names = append(names, r.Name)
	}
	return names
}

// TestPushReleases has a real EventListener start what a push has changed: once, though it is delivered twice, and not
// at all if it is not signed, or of another branch or repository. A version that is bad makes the run of the push fail,
// and a run that is cancelled takes its release with it.
func TestPushReleases(t *testing.T) {
	const repository = "shop/environment"
	p := released(t, 40)
	parameters, err := json.Marshal(map[string]string{"judge": "classic", "interval": trial.Interval,
		"prometheus-url": p.app.Sandbox.PodPrometheus})
	if err != nil {
		t.Fatal(err)
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"labels":      map[string]string{"serin.dev/canary": "true"},
		"annotations": map[string]string{"serin.dev/parameters": string(parameters)}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.app.Patch(t.Context(), kube.Deployments, "shop", types.MergePatchType, string(patch)); err != nil {
		t.Fatal(err)
	}
	p.listen(repository)

	p.push(trial.V2)
	good := strings.Repeat("a1", 20)
	p.deliver(repository, "refs/heads/main", strings.Repeat("b2", 20), "another secret of 20 bytes")
	p.deliver(repository, "refs/heads/topic", strings.Repeat("c3", 20), webhookSecret)
	p.deliver("someone/environment", "refs/heads/main", strings.Repeat("d4", 20), webhookSecret)
	p.deliver(repository, "refs/heads/main", good, webhookSecret)
	p.deliver(repository, "refs/heads/main", good, webhookSecret)
	environment := &trial.Run{App: p.app, Name: "environment-" + good[:12]}
	result, err := environment.Wait(t.Context(), 8*time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	task := result.Tasks["release"]
	if !result.Succeeded || task.Results["apps"] != "shop" || task.Results["failed"] != "" ||
		task.Results["verdict"] != "pass" {
		t.Errorf("the push of a good version: succeeded %v (%s), results %v, want shop released", result.Succeeded,
			result.Reason, task.Results)
	}
	p.atRest("the push of a good version")
	p.serves(trial.V2)
	if names := p.runs(); len(names) != 2 {
		t.Errorf("PipelineRuns %v, want one of the push and one that releases shop", names)
	}

	p.push(trial.Errors)
	bad := strings.Repeat("e5", 20)
	p.deliver(repository, "refs/heads/main", bad, webhookSecret)
	environment = &trial.Run{App: p.app, Name: "environment-" + bad[:12]}
	if result, err = environment.Wait(t.Context(), 8*time.Minute); err != nil {
		t.Fatal(err)
	}
	task = result.Tasks["release"]
	if result.Succeeded || task.Results["failed"] != "shop" || task.Results["verdict"] != "fail" ||
		fmt.Sprint(task.Exits["start-release"]) != "3" {
		t.Errorf("the push of a bad version: succeeded %v (%s), results %v, exits %v, want shop taken back and exit 3",
			result.Succeeded, result.Reason, task.Results, task.Exits)
	}
	p.atRest("the push of a bad version")
	p.serves(trial.V2)

	p.push(trial.V3)
	cancelled := strings.Repeat("f6", 20)
	p.deliver(repository, "refs/heads/main", cancelled, webhookSecret)
	p.eventually("the canary has traffic", func(s trial.State) bool { return s.Weight > 0 })
	before := p.runs()
	if err := p.app.Patch(t.Context(), kube.PipelineRuns, "environment-"+cancelled[:12], types.MergePatchType,
		`{"spec":{"status":"CancelledRunFinally"}}`); err != nil {
		t.Fatal(err)
	}
	for _, name := range before { // those of the pushes before have ended
		if strings.HasPrefix(name, "shop-") {
			if _, err = (&trial.Run{App: p.app, Name: name}).Wait(t.Context(), 3*time.Minute); err != nil {
				t.Fatal(err)
			}
		}
	}
	p.atRest("the push that was cancelled")
	p.serves(trial.V2)
	p.nothingLost(trial.Errors)
}
