package scenarios

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/serin-cd/serin/e2e/trial"
	"github.com/serin-cd/serin/pkg/task/run"
)

// rejected plays a bad version and returns the reason that the run gives.
func (p *play) rejected(version trial.Version, params map[string]string) (reason string, result trial.Result) {
	p.Helper()
	before := p.primary()
	p.push(version)
	result = p.ends(p.start("second", params), run.RolledBack, false)
	p.serves(trial.V1)
	if after := p.primary(); after != before {
		p.Errorf("the primary was changed: generation %d, was %d", after, before)
	}
	return result.Results["reason"], result
}

// primary is the generation of the primary, which any change of its spec raises.
func (p *play) primary() int64 {
	p.Helper()
	d, err := p.app.Deployment(p.Context(), "shop-primary")
	if err != nil {
		p.Fatal(err)
	}
	return d.Generation
}

func (p *play) wantReason(got, pattern string) {
	p.Helper()
	if !regexp.MustCompile(pattern).MatchString(got) {
		p.Errorf("reason %q, want it to match %q", got, pattern)
	}
}

func (p *play) wantExit(result trial.Result, task, step string, code int32) {
	p.Helper()
	if got, ok := result.Tasks[task].Exits[step]; !ok || got != code {
		p.Errorf("%s of %s ended with exit code %d, want %d: %+v", step, task, got, code, result.Tasks[task])
	}
}

func TestEveryThirdAnswerAnError(t *testing.T) {
	p := released(t, 150)
	reason, result := p.rejected(trial.Errors, nil)
	p.wantReason(reason,
		`^threshold: 5 of 5 checks failed, last: request-success-rate 6\d(\.\d+)? %, want at least 99 \(\d+ requests in 15s\)`)
	p.wantExit(result, "stage-20", "analyze-metrics", 3)
	if _, ran := result.Tasks["stage-40"]; ran {
		t.Errorf("stage-40 ran, want it skipped")
	}
	p.nothingLost(trial.Errors)
	events, err := p.app.Events(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	all := strings.Join(events, "\n")
	for _, want := range []string{"Halt shop." + p.app.Namespace + " advancement success rate 6",
		"Rolling back shop." + p.app.Namespace + " failed checks threshold reached 5",
		"Canary failed! Scaling down shop." + p.app.Namespace} {
		if !strings.Contains(all, want) {
			t.Errorf("event %q is missing in:\n%s", want, all)
		}
	}
}

func TestSlowAnswers(t *testing.T) {
	p := released(t, 30)
	reason, result := p.rejected(trial.Slow, nil)
	p.wantReason(reason, `^threshold: 5 of 5 checks failed, last: request-duration \d+ ms, want at most 1000`)
	p.wantExit(result, "stage-20", "analyze-metrics", 3)
	p.nothingLost()
}

func TestNoTraffic(t *testing.T) {
	p := released(t, 0)
	reason, result := p.rejected(trial.V2, nil)
	p.wantReason(reason,
		`^no-values: request-success-rate had no values in 15s \(istio_requests_total of shop, 0 requests\), 5 checks`)
	p.wantExit(result, "stage-20", "analyze-metrics", 4)
	if verdict := result.Tasks["stage-20"].Results["verdict"]; verdict != "inconclusive" {
		t.Errorf("verdict %q, want inconclusive", verdict)
	}
}

func TestEveryAnswerAnError(t *testing.T) {
	p := released(t, 30)
	reason, _ := p.rejected(trial.Broken, nil)
	p.wantReason(reason, `^threshold: 5 of 5 checks failed, last: request-success-rate 0 %`)
	p.nothingLost(trial.Broken)
}

func TestPodsNeverReady(t *testing.T) {
	p := released(t, 30)
	widest := p.widest()
	reason, result := p.rejected(trial.Unready, map[string]string{"progress-deadline": "20s"})
	p.wantReason(reason, `Deployment shop is not ready after 20s without progress: .* 0 available`)
	p.wantExit(result, "prepare", "prepare-canary", 3)
	if w := widest(); w != 0 {
		t.Errorf("the canary had %d %% of the traffic, want none", w)
	}
	p.nothingLost()
}

// widest follows the canary's share until the returned function is called, which returns the largest.
func (p *play) widest() func() int64 {
	ctx, cancel := context.WithCancel(p.Context())
	most := make(chan int64)
	go func() {
		widest := int64(0)
		for ctx.Err() == nil {
			if s, err := p.app.State(ctx); err == nil {
				widest = max(widest, s.Weight)
			}
			select {
			case <-ctx.Done():
			case <-time.After(200 * time.Millisecond):
			}
		}
		most <- widest
	}()
	return func() int64 { cancel(); return <-most }
}

func TestCrashesAtWeight40(t *testing.T) {
	p := released(t, 30)
	p.push(trial.V2)
	// a stage that outlasts what a busy machine needs to crash two pods
	second := p.start("second", map[string]string{"interval": "45s"})
	p.eventually("the canary has 40 %", func(s trial.State) bool { return s.Weight == 40 })
	crashed := time.Now()
	crash := func() { // one that is back at once is a failed check, no more
		if err := p.app.Crash(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	crash()
	p.eventually("the canary has no traffic", func(s trial.State) bool {
		if s.Weight > 0 {
			crash()
		}
		return s.Weight == 0
	})
	if took := time.Since(crashed); took > 20*time.Second {
		t.Errorf("traffic was taken back %s after the crash, want within 20s", took)
	}
	result := p.ends(second, run.RolledBack, false)
	p.wantReason(result.Results["reason"], `^(unavailable: no pod of the canary is available|restarts: )`)
	p.wantExit(result, "stage-40", "analyze-metrics", 3)
	p.serves(trial.V1)
}

func TestThirdRevisionDuringStage40(t *testing.T) {
	p := released(t, 50)
	p.push(trial.V2)
	second := p.start("second", nil)
	p.eventually("the canary has 40 %", func(s trial.State) bool { return s.Weight == 40 })
	pushed := time.Now()
	p.push(trial.V3)
	p.eventually("the canary has no traffic", func(s trial.State) bool { return s.Weight == 0 })
	noticed := time.Since(pushed)
	result := p.ends(second, run.RolledBack, false)
	t.Logf("noticed after %s", noticed)
	if noticed > 10*time.Second { // the next check would be later: a watch has to notice
		t.Errorf("noticed after %s, want within 10s", noticed)
	}
	p.wantReason(result.Results["reason"],
		`^target-changed: Deployment shop went from revision [0-9a-f]{12} to [0-9a-f]{12}`)
	p.serves(trial.V1)
	p.nothingLost()
	for _, s := range p.stop().Seconds {
		if n := s.Versions[string(trial.V3)].Requests; n > 0 && s.From.After(pushed.Add(noticed+2*time.Second)) {
			t.Errorf("%d requests went to the third revision at %s, after it was noticed", n, s.From)
		}
	}
}

func TestTaskThatHangsWithoutTimeoutsOfTheRun(t *testing.T) {
	p := released(t, 30)
	pipeline, err := p.app.Kubectl(t.Context(), "", "get", "pipeline", "canary", "-o", "yaml")
	if err != nil {
		t.Fatal(err)
	}
	// the Pipeline's own timeout of a stage, but shorter
	changed := regexp.MustCompile(`(?m)^(\s+timeout: )11m30s$`).ReplaceAllString(pipeline, "${1}25s")
	if changed == pipeline {
		t.Fatal("the Pipeline canary has no stage with timeout 11m30s")
	}
	if err := p.app.Apply(t.Context(),
		regexp.MustCompile(`(?m)^\s+(resourceVersion|uid|managedFields|creationTimestamp):.*\n`).ReplaceAllString(changed, "")); err != nil {
		t.Fatal(err)
	}
	p.push(trial.V2)
	// as `tkn pipeline start canary` makes it: no timeouts
	manifest := fmt.Sprintf(`
apiVersion: tekton.dev/v1
kind: PipelineRun
metadata: {name: second}
spec:
  pipelineRef: {name: canary}
  taskRunTemplate: {serviceAccountName: serin}
  params: [{name: app, value: shop}, {name: hosts, value: %s}, {name: gateways, value: public}, {name: interval, value: 20m}, {name: judge, value: classic}]
`, p.app.Host)
	if err := p.app.Apply(t.Context(), manifest); err != nil {
		t.Fatal(err)
	}
	result := p.ends(&trial.Run{App: p.app, Name: "second"}, run.RolledBack, false)
	if !result.Tasks["finish"].Succeeded {
		t.Errorf("finish: %+v, want it to have run", result.Tasks["finish"])
	}
	p.serves(trial.V1)
	p.nothingLost()
}
