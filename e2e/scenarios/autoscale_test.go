package scenarios

import (
	"fmt"
	"slices"
	"testing"

	autoscaling "k8s.io/api/autoscaling/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serin-cd/serin/e2e/trial"
	"github.com/serin-cd/serin/pkg/task/run"
)

// hungry is how much of a processor each answer uses.
var hungry = map[string]string{"CPU_TIME": "2ms"}

// TestLoadTriplesInAStage has an application with an autoscaler that grows by what metrics-server says. In the middle
// of a stage there are three times as many requests.
func TestLoadTriplesInAStage(t *testing.T) {
	if testing.Short() {
		t.Skip("needs a sandbox, which -short leaves out")
	}
	if _, err := installed(t).Client.Discovery().ServerResourcesForGroupVersion("metrics.k8s.io/v1beta1"); err != nil {
		t.Skip("needs metrics-server: SERIN_SANDBOX of a sandbox that is up with --metrics-server")
	}
	p := deploy(t)
	p.behave(trial.V1, hungry)
	if err := p.app.Apply(t.Context(), p.app.Autoscaler(2, 6, "40m")); err != nil {
		t.Fatal(err)
	}
	p.first(20)
	p.eventually("the primary's autoscaler knows its use of processors", func(trial.State) bool {
		return knows(p.autoscaler("shop-primary"))
	})

	p.behave(trial.V2, hungry)
	second := p.startWith("second", map[string]string{"time-box": "60s", "deadline": "3m"})
	p.eventually("stage 40", func(s trial.State) bool { return s.Weight == 40 })
	before := p.autoscaler("shop-primary").Status.CurrentReplicas
	stop := p.direct(p.app.Host)
	result := p.ends(second, run.Promoted, true)
	for name, task := range result.Tasks {
		if task.Results["verdict"] == "fail" {
			t.Errorf("%s: verdict fail (%s), want none", name, task.Results["reason"])
		}
	}
	p.serves(trial.V2)
	if after := p.autoscaler("shop-primary").Status.CurrentReplicas; before != 2 || after <= before {
		t.Errorf("the primary had %d pods before the load tripled and %d after, want 2 and more", before, after)
	}
	p.eventually("the target's autoscaler rests", func(trial.State) bool { return rests(p.autoscaler("shop")) })
	p.atRest("the target's autoscaler has seen the end of the run")
	p.nothingLost()
	if report := stop(); report.Total.Failed > 0 {
		t.Errorf("%d of %d requests that came on top failed, want none", report.Total.Failed, report.Total.Requests)
	}
}

// autoscaler reads one of that name.
func (p *play) autoscaler(name string) *autoscaling.HorizontalPodAutoscaler {
	p.Helper()
	h, err := p.app.Client.AutoscalingV2().HorizontalPodAutoscalers(p.app.Namespace).Get(p.Context(), name,
		metav1.GetOptions{})
	if err != nil {
		p.Fatal(fmt.Errorf("reading autoscaler %s: %w", name, err))
	}
	return h
}

// rests tells whether an autoscaler leaves its Deployment alone, as it does with one of no pods.
func rests(h *autoscaling.HorizontalPodAutoscaler) bool {
	return slices.ContainsFunc(h.Status.Conditions, func(c autoscaling.HorizontalPodAutoscalerCondition) bool {
		return c.Type == autoscaling.ScalingActive && c.Reason == "ScalingDisabled"
	})
}

// knows tells whether an autoscaler has the figures that it grows by.
func knows(h *autoscaling.HorizontalPodAutoscaler) bool {
	for _, m := range h.Status.CurrentMetrics {
		if m.Resource != nil && m.Resource.Current.AverageValue != nil {
			return true
		}
	}
	return false
}
