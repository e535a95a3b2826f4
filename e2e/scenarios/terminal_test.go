package scenarios

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	tekton "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/serin-cd/serin/e2e/trial"
)

// built is the program tkn-canary, which all scenarios share.
var built = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "scenarios-") // not serin-*: the sandbox's own test, beside this one, looks for such
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "tkn-canary")
	made := exec.Command("go", "build", "-ldflags=-w", "-o", file, "./cmd/tkn-canary")
	made.Dir = filepath.Join("..", "..") // of another module
	if text, err := made.CombinedOutput(); err != nil {
		_ = os.RemoveAll(dir)
		return "", errors.New(string(text))
	}
	atEnd = append(atEnd, func() error { return os.RemoveAll(dir) })
	return file, nil
})

// tkn runs tkn-canary in the application's namespace; it must end with an exit code.
func (p *play) tkn(code int, args ...string) string {
	p.Helper()
	program, err := built()
	if err != nil {
		p.Fatal(err)
	}
	args = append(args, "--namespace", p.app.Namespace)
	if args[0] != "import" {
		args = append(args, "--kubeconfig", p.app.Sandbox.Kubeconfig, "--context", p.app.Sandbox.Context)
	}
	cmd := exec.CommandContext(p.Context(), program, args...)
	var told strings.Builder
	cmd.Stderr = &told
	text, err := cmd.Output()
	ended := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		ended = exit.ExitCode()
	} else if err != nil {
		p.Fatal(err)
	}
	if ended != code {
		p.Fatalf("tkn canary %s: exit %d, want %d\n%s%s", strings.Join(args, " "), ended, code, text, told.String())
	}
	return string(text) + told.String()
}

// chart and environment are the article's, at a shorter interval.
const (
	chart = `canary:
  enabled: false
  progressDeadlineSeconds: 60
  canaryAnalysis:
    interval: "1m"
    threshold: 5
    maxWeight: 60
    stepWeight: 20
    metrics:
      requestSuccessRate: {threshold: 99, interval: "1m"}
      requestDuration: {threshold: 1000, interval: "1m"}
  host: acme.com
`
	environment = `shop:
  canary:
    enabled: true
    canaryAnalysis: {interval: 15s}
    host: HOST
`
)

// TestFromTheTerminal imports the article's values, and releases with what comes of them.
func TestFromTheTerminal(t *testing.T) {
	p := deploy(t)
	dir := t.TempDir()
	values, env := filepath.Join(dir, "values.yaml"), filepath.Join(dir, "env.yaml")
	for file, text := range map[string]string{
		values: chart, env: strings.Replace(environment, "HOST", p.app.Host, 1),
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	imported := p.tkn(0, "import", values, "--environment", env, "--app", "shop", "--param", "gateways=public",
		"--param", "prometheus-url="+p.app.Sandbox.PodPrometheus)
	p.apply(imported)
	first := p.tkn(0, "watch", "shop")
	p.wantText(first, `shop-1  prepare begins`, `shop-1  ended initialized: `)
	p.eventually("the gateway knows the route", func(trial.State) bool { return p.app.Reached(p.Context()) })
	p.load(60)

	second := p.tkn(0, "start", "shop", "--last", "--image", p.app.Image(trial.V2), "--watch")
	p.wantText(second, `(?s)weight 20 %.*weight 40 %.*weight 60 %.*promoting.*ended promoted: every stage passed`,
		`stage-20 Succeeded: pass, `)
	p.serves(trial.V2)
	p.nothingLost()
	p.load(100)
	p.wantText(p.tkn(0, "status"), `shop +app:2.0.0 +- +0 % +promoted `)
	p.tkn(0, "start", "shop", "--last", "--image", p.app.Image(trial.Errors), "--keep-failed", "10m")
	p.wantText(p.tkn(0, "logs", "shop", "--follow"), `(?s)prepare prepare-canary \| .*stage-20 analyze-metrics \| .*`+
		`cell closed.*finish rollback \| .*finish report \| `)
	p.wantText(p.tkn(3, "watch", "shop"), `ended rolled-back: `, `stage-20 StepFailed: fail, (worse|hard-failure): `)
	p.wantText(p.tkn(0, "status", "shop"), `shop +app:2.0.0 +- +0 % +rolled-back `, `stage-20 .* fail, `,
		`The pods of the canary that failed stay up for 9m`)
	p.wantText(p.tkn(0, "explain", "shop"), `Stage 1 of 1, weight 20 %.*: fail, (worse|hard-failure)`,
		`What would have changed it:\n +- with \d+ requests? of the canary that failed fewer`,
		`What to do: look at the canary`)
	p.wantText(p.tkn(0, "explain", "shop", "--run", promoted(p.tkn(0, "history", "shop")), "--stage", "1"),
		`Stage 1 of 3, weight 20 %.*: pass, `,
		`with \d+ requests? of the canary that failed more, the stage would not have passed`)
	p.wantText(p.tkn(0, "logs", "shop", "--task", "finish"), `^finish rollback \| `)
	p.wantText(p.tkn(2, "start", "shop", "--param", "weights=1"), `has no parameter weights: the nearest known key is `)
	p.serves(trial.V2)

	p.stop()
	p.load(100)
	p.wantText(p.tkn(0, "rollback", "shop", "--reason", "nobody likes it", "--watch"),
		`(?s)promoting.*ended promoted: released without analysis by .*: nobody likes it`)
	p.serves(trial.V1)
	p.nothingLost()
}

// promoted is the name of a run that was.
func promoted(history string) string {
	if found := regexp.MustCompile(`shop +(\S+) .* promoted `).FindStringSubmatch(history); found != nil {
		return found[1]
	}
	return ""
}

// wantText wants a text to match patterns.
func (p *play) wantText(text string, patterns ...string) {
	p.Helper()
	for _, want := range patterns {
		if !regexp.MustCompile(want).MatchString(text) {
			p.Errorf("no %q in\n%s", want, text)
		}
	}
}

// apply makes a Pipeline and its run.
func (p *play) apply(text string) {
	p.Helper()
	ctx := context.WithoutCancel(p.Context())
	for _, document := range strings.Split(text, "\n---\n") {
		var kind metav1.TypeMeta
		if err := yaml.Unmarshal([]byte(document), &kind); err != nil {
			p.Fatal(err)
		}
		var err error
		switch kind.Kind {
		case "Pipeline":
			var o tekton.Pipeline
			if err = yaml.UnmarshalStrict([]byte(document), &o); err == nil {
				_, err = p.app.Tekton.Pipelines(p.app.Namespace).Create(ctx, &o, metav1.CreateOptions{})
			}
		case "PipelineRun":
			var o tekton.PipelineRun
			if err = yaml.UnmarshalStrict([]byte(document), &o); err == nil {
				_, err = p.app.Tekton.PipelineRuns(p.app.Namespace).Create(ctx, &o, metav1.CreateOptions{})
			}
		}
		if err != nil {
			p.Fatal(err)
		}
	}
}
