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
	"github.com/serin-cd/serin/e2e/tty"
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
	p.known(200) // else no latency is judged, and none shown

	shown := p.onTerminal(0, "start", "shop", "--last", "--image", p.app.Image(trial.V2), "--watch")
	p.wantText(shown.seen, `serves app:1.0.0 +canary app:2.0.0`, `weight █+░+ +20 %`, `● stage-20 +\d+s +passes in \d+s`,
		`(?s)canary +[1-9]\d* +0 \(0.00 %\) +[≤>] \d+ ms\s+primary +[1-9]\d* +0 \(0.00 %\) +[≤>] \d+ ms`,
		`blame +.*, fails at 100`, `● promote`, `Advance shop.* canary weight 60`, `q leaves, the run goes on`)
	p.wantText(shown.left, `promoted: every stage passed`, `✔ stage-60 .* pass `, `serves app:2.0.0`)
	p.wantText(shown.raw, `\x1b\[[0-9;]*3[1-7]m`)
	p.serves(trial.V2)
	p.nothingLost()
	p.load(100)
	p.wantText(p.tkn(0, "status"), `shop +app:2.0.0 +- +0 % +promoted `)
	started := p.tkn(0, "start", "shop", "--last", "--image", p.app.Image(trial.Errors), "--keep-failed", "10m")
	p.wantText(started, `follow it with tkn canary watch shop`)
	left := p.leaves(regexp.MustCompile(`stage-20`), "watch", "shop")
	p.wantText(left.left, `q leaves, the run goes on`)
	p.wantText(left.raw, `you left before it ended, and it goes on: tkn canary watch shop -n `)
	if regexp.MustCompile(`\x1b\[[0-9;]*3[1-7]m`).MatchString(left.raw) {
		p.Error("it is coloured in spite of NO_COLOR")
	}
	p.wantText(p.tkn(0, "logs", "shop", "--follow"), `(?s)prepare prepare-canary \| .*stage-20 analyze-metrics \| .*`+
		`cell closed.*finish report \| `, `finish rollback \| `)
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
	p.wantText(p.tkn(2, "start", "shop", "--param", "intervall=1m"), `has no parameter intervall: the nearest known key is interval`)
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

// shown is what a terminal showed.
type shown struct {
	seen string // all pictures, one after the other
	left string // what stays
	raw  string // what the program wrote
}

// onTerminal runs tkn-canary on a terminal of 80 columns and 24 rows.
func (p *play) onTerminal(code int, args ...string) shown {
	p.Helper()
	return p.typing(code, nil, nil, args...)
}

// leaves runs tkn-canary on a terminal that wants no colours, and types q when a text is there.
func (p *play) leaves(at *regexp.Regexp, args ...string) shown {
	p.Helper()
	return p.typing(1, at, []string{"NO_COLOR=1"}, args...)
}

func (p *play) typing(code int, until *regexp.Regexp, env []string, args ...string) shown {
	p.Helper()
	program, err := built()
	if err != nil {
		p.Fatal(err)
	}
	cmd := exec.CommandContext(p.Context(), program, append(args, "--namespace", p.app.Namespace,
		"--kubeconfig", p.app.Sandbox.Kubeconfig, "--context", p.app.Sandbox.Context)...)
	terminal, err := tty.Start(p.Context(), cmd, env...)
	if err != nil {
		p.Fatal(err)
	}
	var s shown
	full := false
	for picture := range terminal.Pictures {
		s.raw += picture.Written
		s.left, full = picture.Text, picture.Full
		s.seen += s.left + "\n"
		if until != nil && until.MatchString(s.left) {
			until = nil
			if err := terminal.Type("q"); err != nil {
				p.Fatal(err)
			}
		}
	}
	if cmd.ProcessState.ExitCode() != code {
		p.Fatalf("tkn canary %s: exit %d, want %d\n%s", strings.Join(args, " "), cmd.ProcessState.ExitCode(), code,
			s.left)
	}
	if full {
		p.Errorf("tkn canary %s: it leaves the terminal as it drew it", strings.Join(args, " "))
	}
	return s
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
