package tools_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	pipeline "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"github.com/tektoncd/triggers/pkg/apis/triggers/contexts"
	"github.com/tektoncd/triggers/pkg/apis/triggers/v1beta1"
	"github.com/tektoncd/triggers/pkg/interceptors"
	"github.com/tektoncd/triggers/pkg/interceptors/bitbucket"
	"github.com/tektoncd/triggers/pkg/interceptors/cel"
	"github.com/tektoncd/triggers/pkg/interceptors/github"
	"github.com/tektoncd/triggers/pkg/interceptors/gitlab"
	"github.com/tektoncd/triggers/pkg/template"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"knative.dev/pkg/apis"
	"sigs.k8s.io/yaml"
)

const (
	folder = "../../../../triggers"
	secret = "a secret of 20 bytes"
)

// secrets has one Secret, as a namespace with forge-webhook.
type secrets struct{ t *testing.T }

func (s secrets) Get(_ context.Context, namespace string, ref *v1beta1.SecretRef) ([]byte, error) {
	if namespace != "staging" || ref.SecretName != "forge-webhook" || ref.SecretKey != "secret" {
		s.t.Errorf("asked for key %s of Secret %s/%s, want secret of staging/forge-webhook", ref.SecretKey, namespace,
			ref.SecretName)
	}
	return []byte(secret), nil
}

// documents are those of a YAML file of triggers/.
func documents(t *testing.T, file string) [][]byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(folder, file))
	if err != nil {
		t.Fatal(err)
	}
	var all [][]byte
	reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text)))
	for {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, document)
	}
}

// object reads the only object of its kind in a file, as the webhook of Triggers takes it.
func object[T any, P interface {
	*T
	apis.Defaultable
	apis.Validatable
}](t *testing.T, file, kind string) P {
	t.Helper()
	for _, document := range documents(t, file) {
		var meta metav1.TypeMeta
		if err := yaml.Unmarshal(document, &meta); err != nil {
			t.Fatal(err)
		}
		if meta.Kind != kind {
			continue
		}
		found := P(new(T))
		if err := yaml.UnmarshalStrict(document, found); err != nil {
			t.Fatalf("%s: %s: %v", file, kind, err)
		}
		ctx := contexts.WithUpgradeViaDefaulting(apis.WithinCreate(t.Context())) // as its webhook does
		found.SetDefaults(ctx)
		if err := found.Validate(ctx); err != nil {
			t.Fatalf("%s: %s: %v", file, kind, err)
		}
		return found
	}
	t.Fatalf("%s has no %s", file, kind)
	return nil
}

// forge is one that delivers webhooks.
type forge struct {
	file, payload string
	headers       map[string]string
	sign          func(body, secret string) (header, value string)
	url, revision string
}

func signed(header string) func(body, secret string) (string, string) {
	return func(body, secret string) (string, string) {
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write([]byte(body))
		return header, "sha256=" + hex.EncodeToString(mac.Sum(nil))
	}
}

var forges = map[string]forge{
	"GitHub": {"github.yaml", "github.json", map[string]string{"X-GitHub-Event": "push"}, signed("X-Hub-Signature-256"),
		"https://github.com/OWNER/REPOSITORY.git", "0d1a26e67d8f5eaf1f6ba5c57fc3c7d91ac0fd1c"},
	"Gitea": {"github.yaml", "gitea.json", map[string]string{"X-Gitea-Event": "push", "X-GitHub-Event": "push"},
		signed("X-Hub-Signature-256"), "http://gitea.test:3000/OWNER/REPOSITORY.git",
		"bffeb74224043ba2feb48d137756c8a9331c449a"},
	"GitLab": {"gitlab.yaml", "gitlab.json", map[string]string{"X-Gitlab-Event": "Push Hook"},
		func(_, secret string) (string, string) { return "X-Gitlab-Token", secret },
		"https://gitlab.example.com/OWNER/REPOSITORY.git", "da1560886d4f094c3e6c9ef40349f7d38b5d27d7"},
	"Bitbucket": {"bitbucket.yaml", "bitbucket.json", map[string]string{"X-Event-Key": "repo:push"},
		signed("X-Hub-Signature"), "https://bitbucket.org/OWNER/REPOSITORY.git",
		"709d658dc5b6d6afcd46049c2f332ee3f515a67d"},
	"Bitbucket Data Center": {"bitbucket-data-center.yaml", "bitbucket-data-center.json",
		map[string]string{"X-Event-Key": "repo:refs_changed"}, signed("X-Hub-Signature"),
		"https://bitbucket.example.com/scm/owner/repository.git", "178864a7d521b6f5e720b386b2c2b0ef8563e0dc"},
}

// delivery is one request of a forge.
type delivery struct {
	body   string
	header http.Header
}

func (f forge) deliver(t *testing.T, secret string, edit ...string) delivery {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", f.payload))
	if err != nil {
		t.Fatal(err)
	}
	body := strings.NewReplacer(edit...).Replace(string(text))
	if len(edit) > 0 && body == string(text) {
		t.Fatalf("%s has nothing of %q", f.payload, edit)
	}
	d := delivery{body, http.Header{"Content-Type": {"application/json"}}}
	for name, value := range f.headers {
		d.header.Set(name, value)
	}
	if secret != "" {
		d.header.Set(f.sign(body, secret))
	}
	return d
}

// started is the PipelineRun that a delivery starts, nil for none. It does what the sink of an EventListener does.
func started(t *testing.T, file string, d delivery) *pipeline.PipelineRun {
	t.Helper()
	trigger := object[v1beta1.Trigger](t, file, "Trigger")
	request := &v1beta1.InterceptorRequest{Body: d.body, Header: d.header, Extensions: map[string]any{},
		Context: &v1beta1.TriggerContext{EventURL: "/", EventID: "1",
			TriggerID: "namespaces/staging/triggers/environment"}}
	chain := map[string]v1beta1.InterceptorInterface{"github": github.NewInterceptor(secrets{t}),
		"gitlab": gitlab.NewInterceptor(secrets{t}), "bitbucket": bitbucket.NewInterceptor(secrets{t}),
		"cel": cel.NewInterceptor(secrets{t})}
	for _, i := range trigger.Spec.Interceptors {
		request.InterceptorParams = interceptors.GetInterceptorParams(i)
		answer := chain[i.GetName()].Process(t.Context(), request)
		if !answer.Continue {
			t.Logf("%s: %s", i.GetName(), answer.Status.Message)
			return nil
		}
		maps.Copy(request.Extensions, answer.Extensions)
	}
	resolved, err := template.ResolveTrigger(*trigger,
		func(string) (*v1beta1.TriggerBinding, error) {
			return object[v1beta1.TriggerBinding](t, "listener.yaml", "TriggerBinding"), nil
		}, nil,
		func(string) (*v1beta1.TriggerTemplate, error) {
			return object[v1beta1.TriggerTemplate](t, "listener.yaml", "TriggerTemplate"), nil
		})
	if err != nil {
		t.Fatal(err)
	}
	params, err := template.ResolveParams(resolved, []byte(d.body), d.header, request.Extensions,
		template.NewTriggerContext("1"))
	if err != nil {
		t.Fatal(err)
	}
	resources := template.ResolveResources(resolved.TriggerTemplate, params)
	if len(resources) != 1 {
		t.Fatalf("%d objects, want one PipelineRun", len(resources))
	}
	run := &pipeline.PipelineRun{}
	decoder := json.NewDecoder(bytes.NewReader(resources[0]))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(run); err != nil {
		t.Fatal(err)
	}
	ctx := apis.WithinCreate(t.Context())
	run.SetDefaults(ctx)
	if err := run.Validate(ctx); err != nil {
		t.Fatal(err)
	}
	return run
}

func TestListener(t *testing.T) {
	listener := object[v1beta1.EventListener](t, "listener.yaml", "EventListener")
	for _, f := range forges {
		trigger := object[v1beta1.Trigger](t, f.file, "Trigger")
		for key, value := range listener.Spec.LabelSelector.MatchLabels {
			if trigger.Labels[key] != value {
				t.Errorf("the Trigger of %s has no label %s: %s: the EventListener passes it by", f.file, key, value)
			}
		}
	}
}

// TestPush starts one run, under the same name however often it is delivered.
func TestPush(t *testing.T) {
	for name, f := range forges {
		t.Run(name, func(t *testing.T) {
			first, second := started(t, f.file, f.deliver(t, secret)), started(t, f.file, f.deliver(t, secret))
			if first == nil || second == nil {
				t.Fatal("a signed push starts nothing")
			}
			if want := "environment-" + f.revision[:12]; first.Name != want || second.Name != want ||
				first.GenerateName != "" {
				t.Errorf("names %s and %s, want %s both times", first.Name, second.Name, want)
			}
			got := map[string]string{}
			for _, p := range first.Spec.Params {
				got[p.Name] = p.Value.StringVal
			}
			want := map[string]string{"git-url": f.url, "git-branch": "main", "git-revision": f.revision}
			if !maps.Equal(got, want) {
				t.Errorf("parameters %v, want %v", got, want)
			}
		})
	}
}

func TestNothingStarts(t *testing.T) {
	const zeros = "0000000000000000000000000000000000000000"
	for name, f := range forges {
		t.Run(name, func(t *testing.T) {
			deliveries := map[string]delivery{
				"wrong secret":       f.deliver(t, "another secret"),
				"no signature":       f.deliver(t, ""),
				"another repository": f.deliver(t, secret, `"OWNER/REPOSITORY"`, `"someone/REPOSITORY"`, `"OWNER"`, `"SOMEONE"`),
				"another branch": f.deliver(t, secret, `"ref": "refs/heads/main"`, `"ref": "refs/heads/topic"`,
					`"branch", "name": "main"`, `"branch", "name": "topic"`, `"id": "refs/heads/main"`, `"id": "refs/heads/topic"`),
				"a tag": f.deliver(t, secret, `"ref": "refs/heads/main"`, `"ref": "refs/tags/main"`,
					`"branch", "name": "main"`, `"tag", "name": "main"`, `"id": "refs/heads/main"`, `"id": "refs/tags/main"`),
				"a branch that was deleted": f.deliver(t, secret, `"after": "`+f.revision, `"after": "`+zeros,
					`"new": {"type": "branch", "name": "main", "target": {"hash": "`+f.revision+`"}}`, `"new": null`,
					`"type": "UPDATE"`, `"type": "DELETE"`),
			}
			changed := f.deliver(t, secret)
			changed.body = strings.Replace(changed.body, f.revision[:8], "deadbeef", 1)
			if f.file != "gitlab.yaml" { // which signs nothing
				deliveries["changed on its way"] = changed
			}
			for _, event := range []string{"pull_request", "Merge Request Hook", "pullrequest:created", "pr:opened"} {
				request := f.deliver(t, secret)
				for header := range f.headers {
					request.header.Set(header, event)
				}
				deliveries["event "+event] = request
			}
			for what, d := range deliveries {
				if run := started(t, f.file, d); run != nil {
					t.Errorf("%s starts %s, want nothing", what, run.Name)
				}
			}
		})
	}
}

// TestOtherForges start nothing with the Trigger of one, even with the secret that they share.
func TestOtherForges(t *testing.T) {
	for name, f := range forges {
		for other, of := range forges {
			if of.file == f.file {
				continue
			}
			if run := started(t, f.file, of.deliver(t, secret)); run != nil {
				t.Errorf("a push to %s starts %s with the Trigger of %s", other, run.Name, name)
			}
		}
	}
}

// TestPipelinesAsCode reads the sample as Tekton does.
func TestPipelinesAsCode(t *testing.T) {
	run := &pipeline.PipelineRun{}
	if err := yaml.UnmarshalStrict(documents(t, "pipelines-as-code/environment.yaml")[0], run); err != nil {
		t.Fatal(err)
	}
	run.SetDefaults(t.Context())
	if err := run.Validate(t.Context()); err != nil {
		t.Fatal(err)
	}
}
