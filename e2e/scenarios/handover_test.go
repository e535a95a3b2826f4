package scenarios

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/serin-cd/serin/e2e/load"
	"github.com/serin-cd/serin/e2e/trial"
	"github.com/serin-cd/serin/pkg/release/handover"
	"github.com/serin-cd/serin/pkg/task/run"
)

// canary is Flagger's for the scenario's application.
const canary = `
apiVersion: flagger.app/v1beta1
kind: Canary
metadata: {name: shop}
spec:
  targetRef: {apiVersion: apps/v1, kind: Deployment, name: shop}
  service: {port: 80, targetPort: http, hosts: [HOST], gateways: [public, mesh], timeout: 10s}
  analysis:
    interval: 10s
    threshold: 5
    stepWeights: [20, 40, 60]
    metrics: [{name: request-success-rate, thresholdRange: {min: 99}, interval: 1m}]
`

// TestFromFlaggerAndBack has an application that Flagger has bootstrapped, under load: Serin takes it over, releases it
// once, and gives it back to Flagger, which goes on with it.
func TestFromFlaggerAndBack(t *testing.T) {
	if testing.Short() {
		t.Skip("needs a sandbox, which -short leaves out")
	}
	if _, err := installed(t).Client.Discovery().ServerResourcesForGroupVersion("flagger.app/v1beta1"); err != nil {
		t.Skip("needs Flagger: SERIN_SANDBOX of a sandbox that is up with --flagger")
	}
	const busy = 350 // requests a second, of a sandbox that the scenario has to itself
	rate := 40
	if os.Getenv("SERIN_SANDBOX") != "" {
		rate = busy
	}
	p := deploy(t)
	if err := p.app.Apply(t.Context(), strings.Replace(canary, "HOST", p.app.Host, 1)); err != nil {
		t.Fatal(err)
	}
	p.phase("Initialized")
	p.eventually("the gateway knows the route", func(trial.State) bool { return p.app.Reached(p.Context()) })
	sent := p.counted(rate)

	file := filepath.Join(t.TempDir(), "shop.yaml")
	told := p.tkn(0, "adopt", "shop", "--save", file)
	p.atRest("the adoption")
	if _, err := p.canary(); !apierrors.IsNotFound(err) {
		t.Errorf("reading the Canary after the adoption: %v, want it gone\n%s", err, told)
	}
	if text := p.tkn(0, "import", "-f", file, "-o", "table"); !strings.Contains(text, "weights 20,40,60") {
		t.Errorf("the saved Canary is imported as:\n%s", text)
	}
	p.ends(p.start("same", nil), run.Unchanged, true)
	p.push(trial.V2)
	p.ends(p.start("second", nil), run.Promoted, true)
	p.serves(trial.V2)

	told = p.tkn(0, "eject", "shop", "--to", "flagger", "--apply")
	p.phase("Initialized")
	s := p.state()
	if s.Serves != trial.V2.Image() || s.Apex != "shop-primary" || s.Target != 0 || s.Record != nil {
		t.Errorf("with Flagger again: %+v, want version 2 served by the primary, and no record\n%s", s, told)
	}
	p.unmarked()
	if rate == busy { // Flagger goes on checking meanwhile
		p.eventually("50,000 requests were sent", func(trial.State) bool { return sent.Load() >= 50_000 })
	}
	p.nothingLost()
	t.Logf("%d requests", sent.Load())
	p.push(trial.V1)
	p.eventually("Flagger has begun its next release", func(s trial.State) bool { return s.Weight == 20 })
}

// counted is load that tells how many requests were sent.
func (p *play) counted(rate int) *atomic.Int64 {
	sent := &atomic.Int64{}
	p.stop = sync.OnceValue(p.app.Load(context.WithoutCancel(p.Context()), rate,
		func(s load.Second) { sent.Add(int64(s.Requests)) }))
	return sent
}

// canary reads Flagger's.
func (p *play) canary() (*unstructured.Unstructured, error) {
	return p.app.Objects.Resource(handover.Canaries).Namespace(p.app.Namespace).Get(p.Context(), "shop",
		metav1.GetOptions{})
}

// phase waits until Flagger's Canary is in one.
func (p *play) phase(want string) {
	p.Helper()
	err := p.app.Eventually(p.Context(), 4*time.Minute, "the Canary is "+want, func(context.Context) (bool, error) {
		c, err := p.canary()
		if err != nil {
			return false, err
		}
		got, _, _ := unstructured.NestedString(c.Object, "status", "phase")
		return got == want, fmt.Errorf("phase %q", got)
	})
	if err != nil {
		p.Fatal(err)
	}
}

// unmarked wants no object to have a mark of Serin's.
func (p *play) unmarked() {
	p.Helper()
	all, err := p.app.Kubectl(p.Context(), "", "get", "deployments,services,virtualservices,destinationrules,leases,"+
		"configmaps", "-o", `jsonpath={range .items[*]}{.kind} {.metadata.name} {.metadata.labels} {.metadata.annotations}{"\n"}{end}`)
	if err != nil {
		p.Fatal(err)
	}
	for line := range strings.Lines(all) {
		if strings.Contains(line, "serin.dev/") {
			p.Errorf("a mark of Serin's: %s", line)
		}
	}
}

// TestEjectUnderLoad gives an application back to its Deployment, which nobody notices, by the gateway or by the
// Service.
func TestEjectUnderLoad(t *testing.T) {
	p := deploy(t)
	url := p.nodePort()
	told := p.tkn(0, "adopt", "shop", "--hosts", p.app.Host, "--gateways", "public")
	if !strings.Contains(told, "- make Deployment shop-primary with 2 pods") {
		t.Errorf("adopt tells of the first release:\n%s", told)
	}
	p.first(40)
	p.push(trial.V2)
	p.ends(p.start("second", nil), run.Promoted, true)

	ctx, cancel := context.WithCancel(t.Context())
	inside := make(chan *load.Report)
	go func() {
		report, err := load.Run(ctx, load.Options{URL: url, Rate: 20})
		if err != nil {
			t.Error(err)
		}
		inside <- report
	}()
	told = p.tkn(0, "eject", "shop")
	s := p.state()
	if s.Serves != "" || s.Apex != "shop" || s.Target != 2 || s.Canaries != 2 || s.Record != nil {
		t.Errorf("ejected: %+v, want 2 pods of the Deployment to serve\n%s", s, told)
	}
	if d, err := p.app.Deployment(t.Context(), "shop"); err != nil ||
		d.Spec.Template.Spec.Containers[0].Image != trial.V2.Image() {
		t.Errorf("the Deployment: %v (%v), want version 2", d, err)
	}
	p.unmarked()
	p.eventually("the primary's pods are gone", func(trial.State) bool {
		text, err := p.app.Kubectl(p.Context(), "", "get", "pods", "-l", "app=shop-primary", "-o", "name")
		return err == nil && text == ""
	})
	cancel()
	if through := (<-inside).Total; through.Failed > 0 || through.Requests < 100 {
		t.Errorf("callers of the Service: %d of %d requests failed, want 0 of at least 100", through.Failed,
			through.Requests)
	}
	p.nothingLost()
	if text := p.tkn(0, "eject", "shop"); !strings.Contains(text, "there is nothing of Serin's") {
		t.Errorf("ejected again:\n%s", text)
	}
}
