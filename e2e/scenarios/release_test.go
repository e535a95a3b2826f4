package scenarios

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/serin-cd/serin/e2e/load"
	"github.com/serin-cd/serin/e2e/trial"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/task/parameter"
	"github.com/serin-cd/serin/pkg/task/run"
)

func TestFirstReleaseServesThroughout(t *testing.T) {
	p := deploy(t)
	url := p.nodePort()
	ctx, cancel := context.WithCancel(t.Context())
	inside := make(chan *load.Report)
	var failed []load.Answer
	go func() {
		report, err := load.Run(ctx, load.Options{URL: url, Rate: 40, EachAnswer: func(a load.Answer) {
			if a.Failed() {
				failed = append(failed, a)
			}
		}})
		if err != nil {
			t.Error(err)
		}
		inside <- report
	}()
	first := p.start("first", nil)
	p.eventually("the gateway knows the route", func(trial.State) bool { return p.app.Reached(p.Context()) })
	p.load(40)
	p.ends(first, run.Initialized, true)
	cancel()
	if through := (<-inside).Total; through.Failed > 0 || through.Requests < 100 {
		t.Errorf("callers of the apex Service: %d of %d requests failed, want 0 of at least 100; the first: %+v",
			through.Failed, through.Requests, failed[:min(1, len(failed))])
	}
	p.nothingLost()
	p.serves(trial.V1)
}

// nodePort opens the apex Service on the node, for callers who do not come through the gateway.
func (p *play) nodePort() string {
	p.Helper()
	if err := p.app.Patch(p.Context(), kube.Services, "shop", types.MergePatchType,
		`{"spec":{"type":"NodePort"}}`); err != nil {
		p.Fatal(err)
	}
	apex, err := p.app.Client.CoreV1().Services(p.app.Namespace).Get(p.Context(), "shop", metav1.GetOptions{})
	if err != nil {
		p.Fatal(err)
	}
	url := fmt.Sprintf("http://%s:%d", p.app.Sandbox.NodeIP, apex.Spec.Ports[0].NodePort)
	err = p.app.Eventually(p.Context(), time.Minute, "the node port answers", func(ctx context.Context) (bool, error) {
		report, err := load.Run(ctx, load.Options{URL: url, Rate: 1, Duration: time.Second})
		return err == nil && report.Total.Requests > 0 && report.Total.Failed == 0, err
	})
	if err != nil {
		p.Fatal(err)
	}
	return url
}

func TestFirstReleaseThatCrashedIsCompleted(t *testing.T) {
	p := deploy(t)
	p.start("first", nil)
	err := p.app.Eventually(t.Context(), time.Minute, "the primary is made", func(ctx context.Context) (bool, error) {
		_, err := p.app.Deployment(ctx, "shop-primary")
		return err == nil, err
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.app.Kubectl(t.Context(), "", "delete", "pipelinerun", "first", "--wait=false"); err != nil {
		t.Fatal(err)
	}
	if _, err := p.app.Kubectl(t.Context(), "", "delete", "pods", "-l", "tekton.dev/pipelineRun=first",
		"--grace-period=0", "--force"); err != nil {
		t.Fatal(err)
	}
	second := p.start("second", nil)
	p.eventually("the gateway knows the route", func(trial.State) bool { return p.app.Reached(p.Context()) })
	p.load(30)
	p.ends(second, run.Initialized, true)
	p.serves(trial.V1)
}

func TestPromotion(t *testing.T) {
	p := released(t, 150)
	p.janitor(true) // which leaves a run alone that somebody works on
	p.push(trial.V2)
	p.ends(p.start("second", nil), run.Promoted, true)
	p.serves(trial.V2)
	p.nothingLost()
	p.shares(20, 40, 60)
	p.events(
		"Initialization done! shop.NS",
		"New revision detected! Scaling up shop.NS",
		"Starting canary analysis for shop.NS",
		"Advance shop.NS canary weight 20",
		"Advance shop.NS canary weight 40",
		"Advance shop.NS canary weight 60",
		"Copying shop.NS template spec to shop-primary.NS",
		"Routing all traffic to primary",
		"Promotion completed! Scaling down shop.NS",
	)
}

// shares compares what clients saw at each stage with its weight: within 4 points.
func (p *play) shares(weights ...parameter.Weight) {
	p.Helper()
	stages := p.state().Record.Stages
	if len(stages) != len(weights) {
		p.Fatalf("the record has stages %v, want %v", stages, weights)
	}
	for i, stage := range stages {
		// the route's time has whole seconds, proxies take a moment, and no stage is shorter than its interval and its
		// settling
		from, to := stage.At.Add(4*time.Second), stage.At.Add(19*time.Second)
		total, canary := 0, 0
		for _, s := range p.stop().Seconds {
			if !s.From.Before(from) && s.From.Before(to) {
				total += s.Requests
				canary += s.Versions[string(trial.V2)].Requests
			}
		}
		share := 100 * float64(canary) / float64(max(total, 1))
		p.Logf("weight %d: clients saw %.1f %% of %d requests", weights[i], share, total)
		if stage.Weight != weights[i] || math.Abs(share-float64(weights[i])) > 4 {
			p.Errorf("stage %d: weight %d, clients saw %.1f %%, want %d within 4 points", i+1, stage.Weight, share,
				weights[i])
		}
	}
}

// events compares the target's events with these, where NS stands for the namespace.
func (p *play) events(want ...string) {
	p.Helper()
	got, err := p.app.Events(p.Context())
	if err != nil {
		p.Fatal(err)
	}
	for i := range want {
		want[i] = strings.ReplaceAll(want[i], "NS", p.app.Namespace)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		p.Errorf("events (-want +got):\n%s", diff)
	}
}

func TestUnchangedRevisionShiftsNothing(t *testing.T) {
	p := released(t, 30)
	if err := p.app.Scale(t.Context(), 2); err != nil { // as a Helm upgrade does
		t.Fatal(err)
	}
	before, err := p.app.Route(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	result := p.ends(p.start("second", nil), run.Unchanged, true)
	after, err := p.app.Route(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if before.GetResourceVersion() != after.GetResourceVersion() {
		t.Errorf("the VirtualService was written, want it untouched")
	}
	if _, ran := result.Tasks["stage-20"]; ran {
		t.Errorf("stage-20 ran, want it skipped")
	}
	p.nothingLost()
}

func TestSecondRunRightAfterTheFirst(t *testing.T) {
	p := released(t, 30)
	p.push(trial.V2)
	p.ends(p.start("second", nil), run.Promoted, true)
	p.push(trial.V3)
	p.ends(p.start("third", nil), run.Promoted, true)
	p.serves(trial.V3)
	p.nothingLost()
}

func TestRunBesideAnother(t *testing.T) {
	p := released(t, 30)
	p.push(trial.V2)
	second := p.start("second", nil)
	p.eventually("the canary has traffic", func(s trial.State) bool { return s.Weight == 20 })
	result, err := p.start("third", nil).Wait(t.Context(), 3*time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if result.Succeeded || result.Tasks["prepare"].Exits["acquire-lease"] != 1 {
		t.Errorf("a run beside another: %+v, want acquire-lease to fail with exit 1", result)
	}
	p.ends(second, run.Promoted, true)
	p.serves(trial.V2)
	p.nothingLost()
}

func TestImageAsParameter(t *testing.T) {
	p := released(t, 30)
	p.ends(p.start("second", map[string]string{"image": trial.V2.Image()}), run.Promoted, true)
	p.serves(trial.V2)
	p.nothingLost()
}

func TestCompactPipeline(t *testing.T) {
	p := released(t, 30)
	p.push(trial.V2)
	second, err := p.app.Start(t.Context(), "canary-compact", "second", map[string]string{"judge": "classic"})
	if err != nil {
		t.Fatal(err)
	}
	p.ends(second, run.Promoted, true)
	p.serves(trial.V2)
	p.push(trial.Errors)
	third, err := p.app.Start(t.Context(), "canary-compact", "third", map[string]string{"judge": "classic"})
	if err != nil {
		t.Fatal(err)
	}
	p.ends(third, run.RolledBack, false)
	p.serves(trial.V2)
	p.nothingLost(trial.Errors)
}

// foreign is a VirtualService that belongs to somebody else but for two weights.
const foreign = `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: shop
  labels: {team: web}
  annotations: {example.test/owner: "web, since 2019"}
spec:
  hosts: [HOST, shop]
  gateways: [public, mesh]
  http:
  - name: private
    match: [{uri: {prefix: /private}, headers: {x-user: {exact: somebody}}}]
    route: [{destination: {host: other.elsewhere.svc.cluster.local, port: {number: 8080}}, weight: 100}]
    timeout: 3s
  - name: everyone
    timeout: 15s
    retries: {attempts: 2, perTryTimeout: 5s, retryOn: connect-failure}
    headers: {response: {set: {x-served-by: shop}}}
    corsPolicy: {allowOrigins: [{exact: "https://example.test"}], allowMethods: [GET], maxAge: 24h}
    route:
    - destination: {host: shop-primary}
      weight: 100
      headers: {response: {set: {x-arm: primary}}}
    - destination: {host: shop-canary.NS.svc.cluster.local}
      weight: 0
`

func TestForeignPartsOfTheRouteAreKept(t *testing.T) {
	p := deploy(t)
	manifest := strings.NewReplacer("HOST", p.app.Host, "NS", p.app.Namespace).Replace(foreign)
	if err := p.app.Apply(t.Context(), manifest); err != nil {
		t.Fatal(err)
	}
	before := p.rest()
	p.load(30)
	p.ends(p.start("first", nil), run.Initialized, true)
	p.push(trial.V2)
	p.ends(p.start("second", nil), run.Promoted, true)
	if diff := cmp.Diff(before, p.rest()); diff != "" {
		t.Errorf("VirtualService without weights and record (-before +after):\n%s", diff)
	}
}

// rest is the VirtualService without its weights, its record, and what the server keeps, as JSON.
func (p *play) rest() string {
	p.Helper()
	vs, err := p.app.Route(p.Context())
	if err != nil {
		p.Fatal(err)
	}
	metadata := map[string]any{"labels": vs.GetLabels()}
	annotations := vs.GetAnnotations()
	delete(annotations, "serin.dev/run")
	metadata["annotations"] = annotations
	routes, _, _ := unstructured.NestedSlice(vs.Object, "spec", "http")
	everyone := routes[1].(map[string]any)
	for _, d := range everyone["route"].([]any) {
		delete(d.(map[string]any), "weight")
	}
	if err := unstructured.SetNestedSlice(vs.Object, routes, "spec", "http"); err != nil {
		p.Fatal(err)
	}
	text, err := json.MarshalIndent(map[string]any{"metadata": metadata, "spec": vs.Object["spec"]}, "", " ")
	if err != nil {
		p.Fatal(err)
	}
	return string(text)
}
