package scenarios

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/serin-cd/serin/e2e/load"
	"github.com/serin-cd/serin/e2e/trial"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	prom "github.com/serin-cd/serin/pkg/judge/prometheus"
	"github.com/serin-cd/serin/pkg/task/run"
)

// behave gives the target an environment, which is a new revision, and so a version of its own.
func (p *play) behave(version trial.Version, env map[string]string) {
	p.Helper()
	list := []map[string]string{}
	for name, value := range env {
		list = append(list, map[string]string{"name": name, "value": value})
	}
	text, err := json.Marshal(list)
	if err != nil {
		p.Fatal(err)
	}
	patch := fmt.Sprintf(`[{"op":"replace","path":"/spec/template/spec/containers/0/image","value":%q},{"op":"add","path":"/spec/template/spec/containers/0/env","value":%s}]`,
		version.Image(), text)
	if err := p.app.Patch(p.Context(), kube.Deployments, "shop", types.JSONPatchType, patch); err != nil {
		p.Fatal(err)
	}
}

// turn changes how the pods of these labels behave while they run, all at one moment.
func (p *play) turn(behaviour string, apps ...string) {
	p.Helper()
	pods, err := p.app.Client.CoreV1().Pods(p.app.Namespace).List(p.Context(),
		metav1.ListOptions{LabelSelector: "app in (" + strings.Join(apps, ",") + ")"})
	if err != nil {
		p.Fatal(err)
	}
	var all errgroup.Group
	for _, pod := range pods.Items {
		if pod.DeletionTimestamp != nil || pod.Status.Phase != corev1.PodRunning {
			continue
		}
		all.Go(func() error {
			return p.app.Client.CoreV1().RESTClient().Post().Namespace(p.app.Namespace).Resource("pods").Name(pod.Name +
				":8080").
				SubResource("proxy").Suffix("behaviour").Body([]byte(behaviour)).Do(p.Context()).Error()
		})
	}
	if err := all.Wait(); err != nil {
		p.Fatal(err)
	}
}

func TestSequentialThirdOfAnswersFails(t *testing.T) {
	p := released(t, 150)
	p.push(trial.Errors)
	result := p.ends(p.startWith("second", nil), run.RolledBack, false)
	p.wantReason(result.Results["reason"], `^(worse|hard-failure): canary \d+/\d+`)
	p.wantExit(result, "stage-20", "analyze-metrics", 3)
	p.serves(trial.V1)
	p.nothingLost(trial.Errors)
	first, last := p.failures(trial.Errors)
	t.Logf("failing answers from %s to %s: %s", first.Format("15:04:05"), last.Format("15:04:05"), last.Sub(first))
	// 30 s from the first scrape that saw one, 5 s to a scrape, and what other scenarios cost
	if exposed := last.Sub(first); exposed > time.Minute {
		t.Errorf("clients got failing answers for %s, want at most a minute", exposed)
	}
}

// failures are the seconds in which the first and the last answer of a version failed.
func (p *play) failures(v trial.Version) (first, last time.Time) {
	for _, s := range p.stop().Seconds {
		if s.Versions[string(v)].Failed == 0 {
			continue
		}
		if first.IsZero() {
			first = s.From
		}
		last = s.From
	}
	return first, last
}

func TestSequentialHealthyIsPromoted(t *testing.T) {
	p := released(t, 60)
	p.push(trial.V2)
	p.ends(p.startWith("second", nil), run.Promoted, true)
	p.serves(trial.V2)
	p.nothingLost()
}

func TestSequentialOneInTwentyFails(t *testing.T) {
	p := released(t, 100)
	p.behave(trial.V2, map[string]string{"FAIL_EVERY": "20"})
	result := p.ends(p.startWith("second", nil), run.RolledBack, false)
	p.wantReason(result.Results["reason"], `^worse: canary \d+/\d+`)
	p.serves(trial.V1)
}

func TestSequentialBothFailAlike(t *testing.T) {
	p := released(t, 60)
	p.turn(`{"failEvery": 50}`, "shop-primary")
	p.behave(trial.V2, map[string]string{"FAIL_EVERY": "50"})
	p.ends(p.startWith("second", nil), run.Promoted, true)
	p.serves(trial.V2)
}

func TestSequentialFewRequests(t *testing.T) {
	p := released(t, 2)
	p.push(trial.V2)
	result, err := p.startWith("second", map[string]string{"deadline": "90s"}).Wait(t.Context(), 8*time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	for name, task := range result.Tasks {
		if task.Results["verdict"] == "fail" {
			t.Errorf("%s: verdict fail (%s), want a pass or inconclusive for a healthy canary", name,
				task.Results["reason"])
		}
	}
}

func TestSequentialSlowWithEqualErrors(t *testing.T) {
	p := released(t, 60)
	p.known(200)
	p.behave(trial.V2, map[string]string{"DELAY": "300ms"})
	result := p.ends(p.startWith("second", map[string]string{"warm-up": "10s"}), run.RolledBack, false)
	p.wantReason(result.Results["reason"], `^slower: `)
	p.serves(trial.V1)
	p.nothingLost()
}

func TestSequentialBadAfterAWhile(t *testing.T) {
	p := released(t, 100)
	p.behave(trial.V2, map[string]string{"FAIL_EVERY": "3", "FAIL_AFTER": "50s"})
	result := p.ends(p.startWith("second", nil), run.RolledBack, false)
	p.wantReason(result.Results["reason"], `^(worse|hard-failure): `)
	p.serves(trial.V1)
}

func TestSequentialSharedIncident(t *testing.T) {
	p := released(t, 60)
	p.push(trial.V2)
	second := p.startWith("second", nil)
	// else its first answers are compared with the primary's before the incident
	p.eventually("the canary has had 20 % for two scrapes", func(s trial.State) bool {
		return s.Weight == 20 && time.Since(s.Record.Stages[0].At) > 11*time.Second
	})
	p.turn(`{"failEvery": 1}`, "shop-primary", "shop")
	p.pause(30 * time.Second)
	p.turn(`{"failEvery": 0}`, "shop-primary", "shop")
	p.ends(second, run.Promoted, true)
	p.serves(trial.V2)
}

// known waits until Prometheus has counted so many requests of the primary: the judge limits the canary's latency only
// if it knows the primary's from before.
func (p *play) known(requests int) {
	p.Helper()
	client, err := prom.New(prom.Config{URL: p.app.Sandbox.Prometheus})
	if err != nil {
		p.Fatal(err)
	}
	counted := fmt.Sprintf(
		`sum(istio_requests_total{destination_workload="shop-primary",destination_workload_namespace=%q}) >= %d`,
		p.app.Namespace, requests)
	p.eventually(fmt.Sprintf("Prometheus has %d requests of the primary", requests), func(trial.State) bool {
		answer, err := client.Query(p.Context(), counted, time.Time{})
		return err == nil && answer.String() != ""
	})
}

// pause lets the incident last.
func (p *play) pause(d time.Duration) {
	ctx, cancel := context.WithTimeout(p.Context(), d)
	defer cancel()
	<-ctx.Done()
}

func TestSequentialRouteThatIsNotObeyed(t *testing.T) {
	p := released(t, 60)
	// a rule of its own takes most requests past the split
	patch := `[{"op":"add","path":"/spec/http/0","value":{"name":"direct","match":[{"uri":{"prefix":"/direct"}}],"route":[{"destination":{"host":"shop-primary"}}]}}]`
	if err := p.app.Patch(t.Context(), trial.VirtualServices, "shop", types.JSONPatchType, patch); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		if _, err := load.Run(ctx, load.Options{URL: p.app.Sandbox.Gateway + "/direct", Host: p.app.Host,
			Rate: 200}); err != nil {
			t.Error(err)
		}
	}()
	p.push(trial.V2)
	// the share of the traffic counts from 30 s after the weight was set: no stage may pass before
	second := p.startWith("second", map[string]string{"interval": "60s", "time-box": "90s", "deadline": "100s"})
	result := p.ends(second, run.RolledBack, false)
	p.wantReason(result.Results["reason"], `^traffic-not-shifted: canary got \d`)
	p.wantExit(result, "stage-20", "analyze-metrics", 4)
	p.serves(trial.V1)
}
